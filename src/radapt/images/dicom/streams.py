"""The size that a compressed frame claims for itself, which decoders allocate before they look at anything else."""

import struct
from pathlib import Path
from typing import Any

from radapt.errors import DataError
from radapt.images.dicom.frames import FIX

_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG, lossless JPEG and JPEG-LS that precede the size."""

_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""

_J2K_SIZE = b"\xff\x4f\xff\x51"


def check_streams(header: Any, path: Path) -> None:
    """Raise DataError for a compressed frame of another size than the header gives; frames without a recognisable size
    pass."""
    from pydicom.encaps import generate_frames
    from pydicom.uid import RLELossless

    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless or "PixelData" not in header:
        return
    count = max(int(header.get("NumberOfFrames") or 1), 1)
    table = [header.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    offsets = (table[0], table[1]) if all(table) else None
    expected = int(header.Rows), int(header.Columns)
    for number, frame in enumerate(generate_frames(header.PixelData, number_of_frames=count, extended_offsets=offsets)):
        found = stream_size(frame)
        if found is not None and found != expected:
            raise DataError(
                f"{path} is damaged: its frame {number + 1} is compressed with {found[0]} × {found[1]} pixels, the "
                f"header gives {expected[0]} × {expected[1]}. {FIX}"
            )


def stream_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG, JPEG-LS or JPEG 2000 stream; None if it does not give them."""
    if (at := frame.find(_J2K_SIZE, 0, 1024)) >= 0:
        if len(frame) < at + 24:
            return None
        right, bottom, left, top = struct.unpack(">4I", frame[at + 8 : at + 24])
        return bottom - top, right - left
    at = 2
    while frame.startswith(b"\xff\xd8") and at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _START_OF_FRAME:
            rows, columns = struct.unpack(">HH", frame[at + 5 : at + 9])
            return (rows, columns) if rows else None  # 0: given behind the first scan
        (length,) = struct.unpack(">H", frame[at + 2 : at + 4])
        at += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + length
    return None
