"""What a report says of a segment: its volume and its longest diameter."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from radapt.deploy.dicom.source import DicomSource
from radapt.images.volume import Volume


@dataclass(frozen=True)
class SegmentSize:
    """`volume_ml` counts voxels. `longest_mm` is the longest diameter of one connected region within one slice.

    An absent segment has a volume of 0 and `longest_mm` None. `volume_ml` is None for images without position, whose
    slices have no known distance, and both are None without PixelSpacing.
    """

    value: int
    volume_ml: float | None
    longest_mm: float | None


def segment_sizes(source: DicomSource, mask: Volume, values: Iterable[int]) -> list[SegmentSize]:
    """The size of each label of `mask` on the grid of `source`. Raises DataError for a mask on another grid."""
    planes = source.planes(mask)
    sizes = []
    for value in values:
        inside = planes == value
        volume = None if source.voxel_ml is None else float(inside.sum()) * source.voxel_ml
        longest = None if source.pixel_mm is None else _longest_mm(inside, source.pixel_mm)
        sizes.append(SegmentSize(value, volume, longest))
    return sizes


def _longest_mm(inside: np.ndarray, spacing_mm: tuple[float, float]) -> float | None:
    """Over the slices (n, rows, columns), between the outer corners of pixels, as a ruler on the screen measures."""
    from scipy import ndimage

    longest = 0.0
    for plane in inside[inside.any(axis=(1, 2))]:
        regions, _ = ndimage.label(plane, structure=np.ones((3, 3)))
        for number, box in enumerate(ndimage.find_objects(regions), start=1):
            height, width = ((side.stop - side.start) * mm for side, mm in zip(box, spacing_mm, strict=True))
            if np.hypot(height, width) > longest:
                longest = max(longest, _diameter_mm(regions[box] == number, spacing_mm))
    return longest or None


def _diameter_mm(region: np.ndarray, spacing_mm: tuple[float, float]) -> float:
    """The longest distance between corners of the pixels of a region (rows, columns)."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    rows = np.flatnonzero(region.any(axis=1))
    # Only the first and the last pixel of a row can be corners of the hull.
    first, last = region[rows].argmax(axis=1), region.shape[1] - region[rows, ::-1].argmax(axis=1)
    down, across = np.concatenate([rows, rows, rows + 1, rows + 1]), np.concatenate([first, last, first, last])
    corners = np.stack([down, across], axis=1) * spacing_mm
    return float(pdist(corners[ConvexHull(corners).vertices]).max())
