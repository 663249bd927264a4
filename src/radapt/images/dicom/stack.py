"""Multi-frame files with a single position: slices of a stack, or repetitions of one slice."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from radapt.images.dicom.frames import DicomFrame

REPEATING = {
    "TemporalPositionIndex": "FrameContentSequence",
    "TemporalPositionTimeOffset": "TemporalPositionSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
}
"""Tags by which frames at the same position differ, and their functional groups."""

SLICEWISE = ("SliceVector", "SliceLocationVector", "PageNumberVector", "FrameLabelVector")
"""Values of FrameIncrementPointer in files whose frames are slices."""


def stacked(frames: list[DicomFrame]) -> list[DicomFrame]:
    """The frames of one file, with a position for each if the file gives that of the first only.

    They follow in stored order along the slice normal (row × column direction) at SpacingBetweenSlices, else
    SliceThickness, else 1 mm; a negative SpacingBetweenSlices runs against the normal (PS3.3 C.8.4.15, NM
    Reconstruction). Frames that differ by more than the slice keep their single position, which `arrange` refuses.
    """
    first, orientation = frames[0].position_mm, frames[0].orientation
    own = any(group.get("PlanePositionSequence") for frame in frames for group in frame.groups)
    if len(frames) == 1 or own or first is None or orientation is None or counted_by(frames):
        return frames
    normal = np.cross(orientation[:3], orientation[3:])
    step = normal / max(float(np.linalg.norm(normal)), 1e-6) * frames[0].thickness_mm
    if (frames[0].slice_step_mm or 0) < 0:
        step = -step
    return [replace(frame, placed_mm=first + index * step) for index, frame in enumerate(frames)]


def counted_by(frames: Sequence[DicomFrame]) -> list[str]:
    """The tags that show that the frames of a file are not one stack in stored order; empty if they are."""
    from pydicom.datadict import keyword_for_tag

    header = frames[0].header
    pointers = [keyword_for_tag(tag) for tag in _several(header.get("FrameIncrementPointer"))]
    tags = [name for name in pointers if name and name not in SLICEWISE]
    if int(header.get("NumberOfTemporalPositions") or 1) > 1:
        tags.append("NumberOfTemporalPositions")
    tags += [tag for tag, group in REPEATING.items() if len({str(frame.get(tag, group)) for frame in frames}) > 1]
    positions = [frame.get("InStackPositionNumber", "FrameContentSequence") for frame in frames]
    if all(number is not None for number in positions) and set(np.diff(np.asarray(positions, int))) not in ({1}, {-1}):
        tags.append("InStackPositionNumber")
    return tags


def _several(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, Sequence) else [value]
