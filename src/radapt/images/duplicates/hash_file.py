"""Perceptual hashes of many pictures in a file of their own, to be given away without the pictures.

A Parquet table with a row per plane: `picture` (its number), `plane`, `hash` (`SIZE` bytes) and
`version` of the hash. It holds no name, path or pixel; who has a picture can tell whether it is among them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from radapt.durable import write_parquet
from radapt.errors import DataError
from radapt.images.duplicates.hashes import SIZE, VERSION

COLUMNS = ("picture", "plane", "hash", "version")


def write_hashes(path: Path, pictures: Mapping[int, np.ndarray]) -> None:
    """Write the hashes int8 (n, SIZE) of each picture, by its number."""
    rows = [
        (number, plane, one.tobytes(), VERSION) for number, own in pictures.items() for plane, one in enumerate(own)
    ]
    write_parquet(path, pd.DataFrame(rows, columns=list(COLUMNS)))


def is_hash_file(path: Path) -> bool:
    """Whether the file is a Parquet table with the columns of `write_hashes`."""
    from pyarrow.parquet import read_schema

    try:
        return set(COLUMNS) <= set(read_schema(path).names)
    except (OSError, ValueError):  # pyarrow's errors are of these kinds
        return False


def read_hashes(path: Path) -> dict[int, np.ndarray]:
    """The hashes int8 (n, SIZE) of each picture, by its number.

    Raises DataError for a damaged file, one without pictures, and hashes of another version of radapt.
    """
    try:
        table = pd.read_parquet(path)
        pictures = dict(_pictures(table)) if set(table["version"]) <= {VERSION} else None
    except Exception as error:  # of a damaged file pyarrow and pandas raise a dozen kinds
        raise DataError(f"{path} holds no hashes that can be read ({type(error).__name__}). Write it again.") from error
    if pictures is None:
        raise DataError(
            f"{path} holds hashes of another version; expected version {VERSION}. Ask for a file that `radapt hashes` "
            "of this version wrote."
        )
    if not pictures:
        raise DataError(f"{path} holds no pictures.")
    return pictures


def _pictures(table: pd.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
    for number, rows in table.sort_values(["picture", "plane"], kind="stable").groupby("picture"):
        yield int(str(number)), np.frombuffer(b"".join(rows["hash"]), dtype=np.int8).reshape(len(rows), SIZE)
