"""Reads the per-case results of another tool: a table, or the summary.json of nnU-Net."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radapt.cli.table_rows import numbers_of, read_rows, refuse_rows, require_column
from radapt.errors import DataError, UsageError
from radapt.parsing.json import read_json

CASE, PATIENT, TRUTH, DECISION, LABEL, PROBABILITY = "case", "patient", "truth", "decision", "label", "probability"
MEASURES = ("dice", "iou", "nsd", "hd95_mm", "assd_mm", "volume_error_ml")
"""The numbers of a segmented case that another tool can give; those of a structure as `dice:<structure>`."""

_SHARES = ("dice", "iou", "nsd")
_OF_SUMMARY = {"Dice": "dice", "IoU": "iou", "Jaccard": "iou"}
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".tif")


@dataclass(frozen=True)
class GivenResults:
    """A row per case, by the name of the case. Columns: numbers, NaN where a case has none, and words.

    `numbers` names the columns `<measure>` or `<measure>:<structure>`, or those of probabilities, `p_<output>` or
    `probability`. Words are `patient`, `truth` and `decision`, if there.
    """

    table: pd.DataFrame
    numbers: tuple[str, ...]

    @property
    def aim(self) -> str:
        return "segmentation" if _measure(self.numbers[0]) else "classification"


def read_results(file: Path, columns: Sequence[str] = ()) -> GivenResults:
    """The results in `file`. `columns` are words `NAME=COLUMN`: the column of the table that holds what NAME says.

    Raises UsageError for a name or column that is not there, and DataError for a case that is named twice, a number
    that is none or out of its range, and a file without numbers.
    """
    if file.suffix.lower() == ".json":
        if columns:
            raise UsageError(f"{file} is a JSON file, which has no columns; leave out --column.")
        return _summary(file)
    table, rows = read_rows(file, "a table (CSV, TSV or parquet) or the summary.json of nnU-Net")
    for name, column in _renamed(columns).items():
        require_column(table, column, file)
        table = table.drop(columns=[name] if name in table and name != column else []).rename(columns={column: name})
    require_column(table, CASE, file)
    table[CASE] = table[CASE].str.strip()
    refuse_rows(table[CASE] == "", rows, file, "names no case")
    numbers = [name for name in map(str, table) if _measure(name) or name.startswith("p_") or name == PROBABILITY]
    if not numbers or len({bool(_measure(name)) for name in numbers}) > 1:
        raise DataError(
            f"{file} has the columns {', '.join(map(str, table.columns))}. Expected measures of segmented cases "
            f"({', '.join(MEASURES)}; of a structure dice:NAME) or probabilities (p_<class>). Name a column with "
            "--column, such as --column dice:tumour=DSC."
        )
    for name in numbers:
        table[name] = numbers_of(table[name], rows, file)
        refuse_rows(_out_of_range(name, table[name]), rows, file, f"has a {name} out of its range")
    if LABEL in table and _measure(numbers[0]):
        table, numbers = _side_by_side(table, rows, numbers, file)
    else:
        refuse_rows(table[CASE].duplicated(), rows, file, "names a case that an earlier row names")
    words = [name for name in map(str, table) if name in (PATIENT, TRUTH, DECISION) or name.startswith(f"{TRUTH}_")]
    return GivenResults(table.set_index(CASE)[[*words, *numbers]], tuple(numbers))


def _measure(name: str) -> str:
    """The measure that a column holds, '' if it holds none."""
    family = str(name).partition(":")[0]
    return family if family in MEASURES else ""


def _renamed(columns: Sequence[str]) -> dict[str, str]:
    found = {}
    for words in columns:
        name, equal, column = (part.strip() for part in words.partition("="))
        known = _measure(name) or name in (CASE, PATIENT, TRUTH, DECISION, LABEL, PROBABILITY)
        if not (equal and column and (known or name.startswith(("p_", f"{TRUTH}_")))):
            raise UsageError(
                f"--column {words!r} is not NAME=COLUMN with a NAME of {', '.join((CASE, PATIENT, LABEL, *MEASURES))}, "
                f"MEASURE:STRUCTURE, {TRUTH}, {DECISION}, {PROBABILITY} or p_CLASS."
            )
        found[name] = column
    return found


def _out_of_range(name: str, numbers: pd.Series) -> pd.Series:
    measure = _measure(name)
    if measure == "volume_error_ml":
        return pd.Series(False, numbers.index)
    return (numbers < 0) | ((numbers > 1) if measure in (*_SHARES, "") else False)


def _side_by_side(
    table: pd.DataFrame, rows: list[int], numbers: Sequence[str], file: Path
) -> tuple[pd.DataFrame, list[str]]:
    """From a row per case and structure to a row per case."""
    table[LABEL] = table[LABEL].str.strip()
    twice = table[[CASE, LABEL]].duplicated()
    refuse_rows(twice, rows, file, "names a case and a structure that an earlier row names")
    wide = pd.concat(
        [own.set_index(CASE)[list(numbers)].add_suffix(f":{label}") for label, own in table.groupby(LABEL)], axis=1
    )
    wide.index.name, names = CASE, [str(name) for name in wide]
    if PATIENT in table:
        wide[PATIENT] = table.groupby(CASE)[PATIENT].first()
    return wide.reset_index(), names


def _summary(file: Path) -> GivenResults:
    """summary.json of nnU-Net, version 2 (`metric_per_case`) or 1 (`results: all`)."""
    try:
        content = read_json(file)
    except FileNotFoundError:
        raise UsageError(f"There is no file {file}.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    by_case: dict[str, dict[str, float]] = {}
    for entry in _entries(content):
        case, numbers = _of_entry(entry)
        if case in by_case:
            raise DataError(f"{file} names case {case!r} twice.")
        by_case[case] = numbers
    table = pd.DataFrame.from_dict(by_case, orient="index", dtype=float)
    if not len(table.columns):
        raise DataError(f"{file} holds no Dice of a case. Expected the summary.json that nnU-Net writes.")
    table.index.name = CASE
    return GivenResults(table, tuple(table.columns))


def _entries(content: object) -> list[Mapping[str, object]]:
    if not isinstance(content, dict):
        return []
    older = content.get("results")
    listed = content.get("metric_per_case") or (older.get("all") if isinstance(older, dict) else None)
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _of_entry(entry: Mapping[str, object]) -> tuple[str, dict[str, float]]:
    name = Path(str(entry.get("prediction_file") or entry.get("test") or "").replace("\\", "/")).name
    case = next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)
    metrics = entry.get("metrics", entry)
    of_labels = metrics.items() if isinstance(metrics, dict) else ()
    numbers = {
        f"{_OF_SUMMARY[metric]}:{label}": float("nan") if value is None else float(value)
        for label, measured in of_labels
        if isinstance(measured, dict) and label != "0"
        for metric, value in measured.items()
        if metric in _OF_SUMMARY
    }
    return case, numbers
