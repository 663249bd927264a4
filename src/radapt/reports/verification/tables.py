"""Stored tables against those computed again."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd

from radapt.reports.verification.fault import CLOSE, Fault


def table_faults(name: str, file: Path, again: pd.DataFrame, without: Sequence[str] = ()) -> list[Fault]:
    """The fault of the stored table `file`, called `name`, if it is not `again` up to rounding; columns `without` are
    not compared."""
    try:
        stored, again = (table.drop(columns=list(without)) for table in (pd.read_parquet(file), _as_stored(again)))
        pd.testing.assert_frame_equal(stored, again, check_dtype=False, rtol=0, atol=CLOSE)
    except AssertionError as error:
        return [Fault(name, f"is not what the predictions give ({' '.join(str(error).split())[:120]})")]
    except Exception as error:  # of a damaged file pyarrow and pandas raise a dozen kinds
        return [Fault(name, f"cannot be read ({type(error).__name__})")]
    return []


def _as_stored(table: pd.DataFrame) -> pd.DataFrame:
    """As it comes back from a file, with the same kinds of missing values."""
    file = BytesIO()
    table.to_parquet(file, index=False)
    return pd.read_parquet(file)


def count_of(table: pd.DataFrame) -> int:
    """How many numbers a table holds."""
    return int(table.select_dtypes("number").size)
