"""Images: files of every usual format become volumes with a place in the patient, volumes become planes of 8-bit grey
or colour by a declared recipe, and planes are kept on disk so that nothing is decoded twice. Masks take the same way,
and label maps the way back to the file's own grid."""

from radapt.images.aligned import AlignedSliceCache, MaskFacts
from radapt.images.intensity import CT_WINDOWS_HU
from radapt.images.masks import read_mask
from radapt.images.placement import Placement
from radapt.images.plausibility import Remark, image_problems, mask_labels_problem, mask_problems, same_grid
from radapt.images.readers import read
from radapt.images.recipe import Recipe
from radapt.images.resample import grids_problem, resampled
from radapt.images.slice_cache import SliceCache
from radapt.images.volume import Volume
from radapt.images.writers import ending_for, write_labels

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
]
