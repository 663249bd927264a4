"""The slice order and the affine of DICOM frames from their positions, or the reason why they are not one volume."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from radapt.errors import DataError, counted
from radapt.images.dicom.frames import DISTINGUISHING, DicomFrame
from radapt.images.dicom.stack import counted_by

COSINE_TOLERANCE = 1e-3
"""Direction cosines that differ by less are the same orientation: 0.05°, more than header rounding."""

SPACING_TOLERANCE = 1e-3
"""Pixel spacings that differ by a smaller fraction are the same."""

SAME_POSITION_MM = 0.01
"""Frames closer than this along the normal lie at the same position."""

GAP_TOLERANCE = 0.05
"""Distances between slices may differ from their median by this fraction, which covers rounded positions."""

DRIFT_TOLERANCE_MM = 0.5
"""How far a slice may lie from the straight line through the first and the last."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def check_alike(frames: Sequence[DicomFrame], where: str) -> None:
    """Raise a DataError that names the frame with another size, colour, orientation or spacing."""
    _same(where, "size", frames, [" × ".join(str(number) for number in frame.size[:2]) for frame in frames])
    _same(where, "colour", frames, [str(frame.header.get("PhotometricInterpretation")) for frame in frames])
    spacings = np.asarray([frame.spacing_mm for frame in frames])
    _close(where, "pixel spacing", frames, spacings, SPACING_TOLERANCE * np.median(spacings))
    located = [frame.position_mm is not None and frame.orientation is not None for frame in frames]
    _same(where, "position", frames, ["given" if has_position else "not given" for has_position in located])
    if all(located):
        cosines = np.asarray([frame.orientation for frame in frames])
        _close(where, "orientation", frames, cosines, COSINE_TOLERANCE)


def arrange(frames: Sequence[DicomFrame], where: str) -> tuple[list[int], np.ndarray]:
    """The order of `frames` along the slice normal, and the affine (4, 4) from (column, row, slice) to RAS mm.

    The order comes from the positions alone, never from file names or instance numbers. The slice axis of the affine
    follows the positions, so a tilted gantry gives an exact sheared affine and nothing is resampled. Raises DataError
    for duplicate positions, missing slices, uneven gaps, and slices that do not lie on one line.
    """
    row, column, normal = _directions(frames[0], where)
    positions = np.asarray([frame.position_mm for frame in frames])  # (n, 3)
    distances = positions @ normal
    order = [int(index) for index in np.argsort(distances, kind="stable")]
    ordered = [frames[index] for index in order]
    if len(frames) > 1:
        _check_gaps(ordered, distances[order], where)
        step = (positions[order[-1]] - positions[order[0]]) / (len(frames) - 1)
        _check_line(ordered, positions[order], step, where)
    else:
        step = normal * frames[0].thickness_mm
    between_rows, between_columns = frames[0].spacing_mm
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ np.stack([row * between_columns, column * between_rows, step], axis=1)
    affine[:3, 3] = LPS_TO_RAS @ positions[order[0]]
    return order, affine


def _directions(frame: DicomFrame, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cosines = np.asarray(frame.orientation)
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm([row, column], axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(row @ column) > 0.01:
        raise DataError(f"{where}: the orientation {cosines.tolist()} is not two perpendicular directions.")
    normal = np.cross(row, column)
    return row / lengths[0], column / lengths[1], normal / np.linalg.norm(normal)


def _check_gaps(ordered: Sequence[DicomFrame], distances: np.ndarray, where: str) -> None:
    gaps = np.diff(distances)
    if gaps.min() < SAME_POSITION_MM:
        raise DataError(_duplicates(ordered, gaps, where))
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # of two gaps the smaller: the larger one misses a slice
    worst = int(np.abs(gaps - usual).argmax())
    if abs(gaps[worst] - usual) <= GAP_TOLERANCE * usual:
        return
    missing = round(gaps[worst] / usual) - 1
    between = f"between {ordered[worst].name} and {ordered[worst + 1].name}"
    if missing >= 1 and abs(gaps[worst] / usual - missing - 1) < 0.1:
        noun = "slice is" if missing == 1 else "slices are"
        raise DataError(
            f"{where}: {missing} {noun} missing {between} ({gaps[worst]:.2f} mm apart, the others {usual:.2f} mm). "
            "Export the whole series again."
        )
    raise DataError(
        f"{where}: slices are not evenly spaced, {gaps.min():.2f} to {gaps.max():.2f} mm, the largest difference "
        f"{between}. Export a series with even spacing, or convert it to NIfTI by resampling."
    )


def _duplicates(ordered: Sequence[DicomFrame], gaps: np.ndarray, where: str) -> str:
    at = int(gaps.argmin())
    first, second = ordered[at], ordered[at + 1]
    count = int((gaps < SAME_POSITION_MM).sum())
    start = f"{where}: {first.name} and {second.name} lie at the same position ({counted(count, 'such pair')}). "
    if first.path != second.path and first.header.get("SOPInstanceUID") == second.header.get("SOPInstanceUID"):
        return start + "They are the same image twice. Remove one copy."
    if first.path == second.path:
        frames_of_file = sorted((frame for frame in ordered if frame.path == first.path), key=lambda frame: frame.index)
        tags = counted_by(frames_of_file)
        reason = f"The file counts its frames by {', '.join(tags)}. " if tags else ""
        return (
            f"{start}{reason}Save each time point, echo or reconstruction as a file of its own, or convert the file to "
            "NIfTI, for example with dcm2niix, and name one volume as FILE.nii.gz::channels[0]."
        )
    differing = [tag for tag in DISTINGUISHING if first.header.get(tag) != second.header.get(tag)]
    reason = f"They differ in {', '.join(differing)}. " if differing else ""
    return start + reason + "Put each echo, time point or reconstruction into a folder of its own."


def _check_line(ordered: Sequence[DicomFrame], positions: np.ndarray, step: np.ndarray, where: str) -> None:
    line = positions[0] + np.arange(len(positions))[:, None] * step
    drift = np.linalg.norm(positions - line, axis=1)
    worst = int(drift.argmax())
    if drift[worst] > max(DRIFT_TOLERANCE_MM, GAP_TOLERANCE * float(np.linalg.norm(step))):
        raise DataError(
            f"{where}: {ordered[worst].name} lies {drift[worst]:.1f} mm off the line through the other slices. "
            "Shifted or radial slices are not one volume; choose another series."
        )


def _same(where: str, what: str, frames: Sequence[DicomFrame], values: Sequence[str]) -> None:
    (usual, count), *others = Counter(values).most_common()
    if others:
        odd = next(frame for frame, value in zip(frames, values, strict=True) if value != usual)
        value = values[list(frames).index(odd)]
        raise DataError(
            f"{where} is not one volume: {odd.name} has {what} {value}, {count} of {len(frames)} images have {usual}. "
            "Put each series into a folder of its own."
        )


def _close(where: str, what: str, frames: Sequence[DicomFrame], values: np.ndarray, tolerance: float) -> None:
    usual = np.median(values, axis=0)
    difference = np.abs(values - usual).max(axis=1)
    if difference.max() > tolerance:
        odd = int(difference.argmax())
        raise DataError(
            f"{where} is not one volume: {frames[odd].name} has {what} {np.round(values[odd], 4).tolist()}, "
            f"others have {np.round(usual, 4).tolist()}. Put each series into a folder of its own (scouts apart)."
        )
