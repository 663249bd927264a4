"""The sizes that a header claims, held against the size of the file before anything is allocated or looped over."""

from pathlib import Path

from radapt.errors import DataError

DEFLATE = 1032
"""The highest ratio of DEFLATE: two bits stand for 258 bytes."""

JPEG = 1024
"""Pixels for a byte of JPEG: a block of 64 takes at least half a bit."""

LZW = 1400
"""A code of 12 bits stands for at most 4,096 bytes, and most stand for fewer."""

PACKED = 128
"""Two bytes of run-length coding stand for at most 256."""

OTHER = 20_000
"""For compressions without a known limit, such as JPEG 2000, which code an empty picture in a few hundred bytes."""

SLACK = 1 << 20
"""Bytes that any file may claim."""


def check_claim(path: Path, claimed: int, stored: int, ratio: int, fix: str) -> None:
    """Raise DataError if `claimed` decoded bytes cannot come out of `stored` ones, each of which gives at most
    `ratio`."""
    if claimed > SLACK + stored * ratio:
        raise DataError(
            f"{path} is truncated or damaged: its header claims {claimed:,} bytes of pixels, but what it holds "
            f"({stored:,} bytes) gives at most {stored * ratio:,}. {fix}"
        )
