"""Lesion-wise detection: connected components of truth and prediction, matched by overlap."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Lesions:
    """Lesions in the truth, how many of them are `found`, lesions predicted, and false positives (`false`)."""

    truth: int
    found: int
    predicted: int
    false: int


def count_lesions(truth: np.ndarray, predicted: np.ndarray) -> Lesions:
    """Compare the connected components of two boolean masks of one shape, 2D or 3D.

    Voxels that share a face, an edge or a corner are connected (8 neighbours in 2D, 26 in 3D). A lesion is found if the
    prediction overlaps it in at least one voxel; a predicted component is false if it overlaps no lesion. One
    predicted component may find several lesions, and several may find the same one.
    """
    neighbourhood = np.ones((3,) * truth.ndim, dtype=bool)
    true_lesions, n_true = ndimage.label(truth, neighbourhood)
    predicted_lesions, n_predicted = ndimage.label(predicted, neighbourhood)
    overlap = truth & predicted
    n_found = np.count_nonzero(np.bincount(true_lesions[overlap]))
    n_hits = np.count_nonzero(np.bincount(predicted_lesions[overlap]))
    return Lesions(int(n_true), int(n_found), int(n_predicted), int(n_predicted) - int(n_hits))
