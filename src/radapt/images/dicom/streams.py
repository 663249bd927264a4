"""What a compressed frame claims for itself, which decoders believe before they look at anything else."""

import struct
from pathlib import Path
from typing import Any, NamedTuple

from radapt.errors import DataError
from radapt.images.dicom.frames import FIX

_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG, lossless JPEG and JPEG-LS that precede the size."""

_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""

_J2K_SIZE = b"\xff\x4f\xff\x51"


class StreamHeader(NamedTuple):
    """The size of a compressed frame, the bits of a sample, and the samples of a pixel."""

    rows: int
    columns: int
    bits: int
    samples: int

    def __str__(self) -> str:
        return f"{self.rows} × {self.columns} pixels of {self.samples} × {self.bits} bits"


def check_streams(header: Any, path: Path) -> None:
    """Raise DataError for a compressed frame of another size than the header gives, or with more bits; frames whose
    size cannot be recognised pass."""
    from pydicom.encaps import generate_frames
    from pydicom.uid import RLELossless

    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLELossless or "PixelData" not in header:
        return
    count = max(int(header.get("NumberOfFrames") or 1), 1)
    table = [header.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    offsets = (table[0], table[1]) if all(table) else None
    given = StreamHeader(
        int(header.Rows), int(header.Columns), int(header.BitsAllocated), int(header.get("SamplesPerPixel") or 1)
    )
    for number, frame in enumerate(generate_frames(header.PixelData, number_of_frames=count, extended_offsets=offsets)):
        stream = stream_header(frame)
        if stream is not None and (stream._replace(bits=0) != given._replace(bits=0) or stream.bits > given.bits):
            raise DataError(
                f"{path} is damaged: its frame {number + 1} is compressed as {stream}, the header gives {given}. {FIX}"
            )


def stream_header(frame: bytes) -> StreamHeader | None:
    """What a JPEG, JPEG-LS or JPEG 2000 stream says of itself; None if it does not give its size."""
    if (at := frame.find(_J2K_SIZE, 0, 1024)) >= 0:
        if len(frame) < at + 43:
            return None
        right, bottom, left, top = struct.unpack(">4I", frame[at + 8 : at + 24])
        (samples,) = struct.unpack(">H", frame[at + 40 : at + 42])
        return StreamHeader(bottom - top, right - left, (frame[at + 42] & 0x7F) + 1, samples)
    at = 2
    while frame.startswith(b"\xff\xd8") and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _START_OF_FRAME:
            bits, rows, columns, samples = struct.unpack(">BHHB", frame[at + 4 : at + 10])
            return StreamHeader(rows, columns, bits, samples) if rows else None  # 0: given behind the first scan
        (length,) = struct.unpack(">H", frame[at + 2 : at + 4])
        at += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + length
    return None
