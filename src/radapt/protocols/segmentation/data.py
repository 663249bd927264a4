"""What segmentation learns from: planes of every modality and of the mask, in the grid of a case's reference image."""

from collections.abc import Callable, Mapping

import numpy as np

from radapt.images import Volume
from radapt.images.placement import Placement
from radapt.protocols.images import ImageProblem


class SegmentationData:
    """The images and masks of a problem, all modalities and the mask of a case on the same planes.

    K labels, M modalities, C colours (1 grey, 3 colour or CT windows), n planes of H × W pixels (the recipe's size).
    Class 0 is background, class k the k-th of `labels`. Nothing is held in memory but what a call returns.
    """

    def __init__(self, problem: ImageProblem) -> None:
        """Look at every mask of train and val once. Raises DataError listing each that cannot be used, and why."""
        raise NotImplementedError

    labels: Mapping[int, str]  # {value in the masks: name}, rising; class k is the k-th
    modalities: tuple[str, ...]

    @property
    def classes(self) -> int:
        """K + 1: background and every label."""
        raise NotImplementedError

    @property
    def colours(self) -> int:
        """C, the same for every case: 3 if any training image has 3."""
        raise NotImplementedError

    @property
    def channels(self) -> int:
        """M × C."""
        raise NotImplementedError

    def rows(self, split: str) -> np.ndarray:
        """Indices of the masked cases of a split (`train`, `val`)."""
        raise NotImplementedError

    def grid(self, row: int) -> Volume:
        """The reference image's shape and affine as stored; every voxel is 0 and none takes memory. Cached on disk."""
        raise NotImplementedError

    def reference(self, row: int) -> Volume:
        """The reference image with its voxels, as stored: decoded at every call."""
        raise NotImplementedError

    def volumes(self, row: int) -> tuple[Volume | None, ...]:
        """Every modality in the grid of `grid(row)`, stored values; None where missing. Decoded at every call."""
        raise NotImplementedError

    def truth(self, row: int) -> Volume:
        """The mask in the grid of `grid(row)`: values of `labels`, 0 background. Decoded at every call."""
        raise NotImplementedError

    def placement(self, row: int) -> Placement:
        """Where the planes of a case lie in its grid."""
        raise NotImplementedError

    def count(self, row: int) -> int:
        """n: how many planes the case has. Cheap."""
        raise NotImplementedError

    def planes(self, row: int, which: np.ndarray | slice | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(uint8 (n, M, C, H, W), present (M,) bool): all planes, or those at `which`; zeros where missing. Cached."""
        raise NotImplementedError

    def mask_planes(self, row: int, which: np.ndarray | slice | None = None) -> np.ndarray:
        """uint8 (n, H, W) class of every pixel (0…K) of the same planes. Cached on disk."""
        raise NotImplementedError

    def pixels(self, row: int) -> np.ndarray:
        """(n, K + 1) int64: how many pixels of each plane have each class, for sampling of planes with foreground."""
        raise NotImplementedError

    def answer(self, row: int, scores: np.ndarray) -> Volume:
        """The label map, values of `labels`, on `grid(row)` of scores float (n, K + 1, h, w) over the planes' canvas.

        h × w may be lower than H × W. Scores are interpolated to the voxels and the highest wins, so probabilities
        or logits both do; the first of equals wins. Planes that the recipe left out are interpolated.
        """
        raise NotImplementedError


def mean_dice(data: SegmentationData, rows: np.ndarray, segment: Callable[[int], Volume]) -> float:
    """The criterion on val of every segmentation protocol: mean over labels of the mean Dice over cases.

    In the patient's own grid. A label absent from truth and prediction of a case is left out of that mean; NaN if
    nothing is left.
    """
    raise NotImplementedError
