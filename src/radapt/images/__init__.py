"""Images: files of every usual format become volumes with a place in the patient, volumes become planes of 8-bit grey
or colour by a declared recipe, and planes are kept on disk so that nothing is decoded twice. Masks take the same way,
and label maps the way back to the file's own grid."""

from radapt.images.checks import Remark, image_problems, mask_problems, same_grid
from radapt.images.intensity import CT_WINDOWS_HU
from radapt.images.placement import Placement
from radapt.images.readers import read
from radapt.images.recipe import Recipe
from radapt.images.slices import SliceCache
from radapt.images.volume import Volume

__all__ = [
    "CT_WINDOWS_HU",
    "Placement",
    "Recipe",
    "Remark",
    "SliceCache",
    "Volume",
    "image_problems",
    "mask_problems",
    "read",
    "same_grid",
]
