"""Checks that a weight file is complete, and what an unreadable file looks like."""

import tarfile
import zipfile
import zlib
from pathlib import Path

_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)
"""The exceptions of Python's zip reader for archives that are damaged, or of a kind that PyTorch never writes."""


def is_zip(path: Path) -> bool:
    """Whether the file ends as a zip archive does, be it damaged or not."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # raised for an end that claims several disks
        return True


def archive_damage(path: Path) -> str | None:
    """What is wrong with a zip archive of torch.save, or None. Reads it once, in small pieces.

    torch.load does not verify the checksums, so a damaged tensor would be loaded silently. A file saved with
    `torch.serialization.set_crc32_options(False)` has none (0 for every entry) and cannot be checked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.file_size]
            if not any(entry.filename.endswith("data.pkl") for entry in entries):
                return "it is a zip archive without the entry data.pkl that torch.save writes"
            bad = archive.testzip() if any(entry.CRC for entry in entries) else None
    except _BROKEN as error:
        return f"the archive is damaged ({error or type(error).__name__})"
    return None if bad is None else f"its entry {bad} is damaged (the checksum does not fit)"


def looks_like(path: Path) -> str:
    """What a file that PyTorch cannot read looks like, judging by its first bytes."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "it is empty"
    if not any(start):
        return "it begins with zeros, like an incomplete download"
    if start[:1] == b"\x80":
        return "the pickle in it is truncated or damaged"
    if start[8:10] == b'{"':
        return "it is a safetensors file; give it the suffix .safetensors"
    if tarfile.is_tarfile(path):
        return "it is a tar archive; unpack it, or if it is a very old PyTorch file, load and save it with torch"
    text = start.decode("utf-8", errors="replace")
    if all(letter.isprintable() or letter.isspace() for letter in text[:-1]) and "\ufffd" not in text[:-1]:
        return f"it holds text that begins {' '.join(text.split())[:40]!r}"
    return f"it begins with the bytes {start[:4].hex(' ')}, which is not a pickle of tensors"
