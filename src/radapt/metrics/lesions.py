"""Lesion-wise detection: structures counted one by one, as a reader would."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Lesions:
    """How many connected components the truth has, how many of them the prediction touches, how many the prediction
    has, and how many of those touch nothing of the truth."""

    truth: int
    found: int
    predicted: int
    false: int


def count_lesions(truth: np.ndarray, predicted: np.ndarray) -> Lesions:
    """Compare the connected components of two boolean masks of one shape, 2D or 3D.

    Voxels that share a face, an edge or a corner belong together (8 neighbours in 2D, 26 in 3D). A lesion is found
    if the prediction overlaps it in at least one voxel; a predicted component is false if it overlaps no lesion. One
    predicted component may find several lesions, and several may find one.
    """
    touching = np.ones((3,) * truth.ndim, dtype=bool)
    lesions, number = ndimage.label(truth, touching)
    drawn, drawings = ndimage.label(predicted, touching)
    both = truth & predicted
    found = np.count_nonzero(np.bincount(lesions[both], minlength=1))
    hits = np.count_nonzero(np.bincount(drawn[both], minlength=1))
    return Lesions(int(number), int(found), int(drawings), int(drawings) - int(hits))
