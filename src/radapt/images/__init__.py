"""Images: files of the usual formats become volumes with a geometry, volumes become 8-bit planes by a declared recipe,
and the slice cache keeps planes on disk so that nothing is decoded twice. Masks follow the same path, and label maps
return to the grid of the file."""

from radapt.images.aligned import AlignedSliceCache, MaskFacts
from radapt.images.intensity_limits import CT_WINDOWS_HU
from radapt.images.masks import read_mask
from radapt.images.placement import Placement
from radapt.images.plausibility import Remark, image_problems, mask_labels_problem, mask_problems, same_grid
from radapt.images.readers import read
from radapt.images.recipe import Recipe
from radapt.images.resample import grids_problem, resampled
from radapt.images.slice_cache import SliceCache
from radapt.images.volume import Volume
from radapt.images.writers import ending_for, write_labels, write_shares

__all__ = [
    "CT_WINDOWS_HU",
    "AlignedSliceCache",
    "MaskFacts",
    "Placement",
    "Recipe",
    "Remark",
    "SliceCache",
    "Volume",
    "ending_for",
    "grids_problem",
    "image_problems",
    "mask_labels_problem",
    "mask_problems",
    "read",
    "read_mask",
    "resampled",
    "same_grid",
    "write_labels",
    "write_shares",
]
