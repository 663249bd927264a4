"""Files of many frames that give one position for all of them: slices of a stack, or one slice many times."""

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
"""Tags by which frames of one place differ, and their functional groups."""

SLICEWISE = ("SliceVector", "SliceLocationVector", "PageNumberVector", "FrameLabelVector")
"""What FrameIncrementPointer may name in a file whose frames are slices."""


def stacked(frames: list[DicomFrame]) -> list[DicomFrame]:
    """The frames of one file, each at a place of its own where the file gives the first one's position only.

    They follow each other in stored order along the slice normal (row × column direction), SpacingBetweenSlices
    apart, else SliceThickness, else 1 mm; a negative SpacingBetweenSlices runs against the normal (PS3.3 C.8.4.15,
    NM Reconstruction). Frames that the file counts by anything but slices keep their one position, for `arrange`
    to refuse.
    """
    first, orientation = frames[0].position_mm, frames[0].orientation
    own = any(group.get("PlanePositionSequence") for frame in frames for group in frame.groups)
    if len(frames) == 1 or own or first is None or orientation is None or counted_by(frames):
        return frames
    normal = np.cross(orientation[:3], orientation[3:])
    step = normal / max(float(np.linalg.norm(normal)), 1e-6) * frames[0].thickness_mm
    if (frames[0].slice_step_mm or 0) < 0:
        step = -step
    return [replace(frame, placed_mm=first + place * step) for place, frame in enumerate(frames)]


def counted_by(frames: Sequence[DicomFrame]) -> list[str]:
    """The tags that say why the frames of one file are not the slices of one stack in stored order; else none."""
    from pydicom.datadict import keyword_for_tag

    header = frames[0].header
    pointers = [keyword_for_tag(tag) for tag in _several(header.get("FrameIncrementPointer"))]
    found = [name for name in pointers if name and name not in SLICEWISE]
    if int(header.get("NumberOfTemporalPositions") or 1) > 1:
        found.append("NumberOfTemporalPositions")
    found += [tag for tag, group in REPEATING.items() if len({str(frame.get(tag, group)) for frame in frames}) > 1]
    places = [frame.get("InStackPositionNumber", "FrameContentSequence") for frame in frames]
    if all(place is not None for place in places) and set(np.diff(np.asarray(places, int))) not in ({1}, {-1}):
        found.append("InStackPositionNumber")
    return found


def _several(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, Sequence) else [value]
