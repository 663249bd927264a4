"""The candidates of a table: their scores, or their predictions for the same cases."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cli.auditing.columns import Named
from radapt.cli.table_rows import as_numbers, numbers_of, refuse_rows
from radapt.errors import DataError, UsageError

_TRUTHS = {
    "0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "no": 0, "yes": 1, "negative": 0, "positive": 1,
}  # fmt: skip

_UNKNOWN = ("", "nan", "na", "n/a", "none", "null", "-", "?")
_VAL, _TEST = ("val", "valid", "validation", "dev"), ("test",)
_OF = "of "  # before the name of a candidate, which may be that of another column
_NO_CANDIDATES = ("age", "sex", "site", "fold", "seed", "index", "hospital", "scanner", "cell")


@dataclass(frozen=True)
class Scores:
    """Test scores (K,) of the candidates `names`, and val scores, None if there are none."""

    names: list[str]
    test: np.ndarray
    val: np.ndarray | None


@dataclass(frozen=True)
class Predictions:
    """Of one set: truth (N,), probabilities (K, N) of the candidates `names`, patients (N,)."""

    names: list[str]
    truth: np.ndarray
    probabilities: np.ndarray
    patients: np.ndarray
    left_out: int = 0


def read_scores(table: pd.DataFrame, rows: list[int], named: Named, file: Path) -> Scores:
    """A row per candidate. Raises DataError for a candidate named twice, and a score that is none or not in 0 to 1."""
    if named.test is None:
        raise UsageError(
            f"{file} has neither a column of test scores (name it with --test COLUMN) nor one of the truth of each "
            f"case (--truth COLUMN). Its columns: {', '.join(table.columns)}."
        )
    if named.candidate is None:
        names = pd.Series([f"line {row}" for row in rows])
    else:
        names = table[named.candidate].str.strip()
        refuse_rows(names == "", rows, file, f"names no candidate in column {named.candidate!r}")
        refuse_rows(names.duplicated(), rows, file, "names a candidate that an earlier row names")
    test, val = (_scores(table[name], rows, file) if name else None for name in (named.test, named.val))
    assert test is not None
    return Scores(list(names), test, val)


def _scores(column: pd.Series, rows: list[int], file: Path) -> np.ndarray:
    numbers = numbers_of(column, rows, file)
    refuse_rows(numbers.isna(), rows, file, f"has no score in column {column.name!r}; delete the row")
    wrong = (numbers < 0) | (numbers > 1)
    refuse_rows(wrong, rows, file, f"has a score outside 0 to 1 in column {column.name!r}; give AUROC or a proportion")
    return numbers.to_numpy()


def read_predictions(
    table: pd.DataFrame, rows: list[int], named: Named, file: Path
) -> tuple[Predictions, Predictions | None]:
    """The predictions for test, and for val if a column says which case is in which set."""
    if named.truth is None:
        raise UsageError(f"{file} has no column of the truth. Name it with --truth COLUMN.")
    cells = table.assign(**{named.truth: table[named.truth].str.strip().str.casefold()})
    known = ~cells[named.truth].isin(_UNKNOWN)
    odd = known & ~cells[named.truth].isin(list(_TRUTHS))
    refuse_rows(odd, rows, file, f"has a truth in column {named.truth!r} that is not 0 or 1")
    in_set = _sets(cells, rows, named, file)
    wide = _wide(cells, rows, named, file)
    wide = wide.assign(set=in_set).loc[known.to_numpy()] if not _is_long(named) else _pivot(wide, in_set, known)
    test = _predictions(wide[wide["set"] == "test"], file)
    if not (wide["set"] == "val").any():
        return test, None
    val = _predictions(wide[wide["set"] == "val"], file)
    both = sorted(set(test.patients) & set(val.patients))
    if both:
        raise DataError(f"{file}: patient {both[0]!r} is in val and in test; {len(both)} such.")
    return test, val


def _is_long(named: Named) -> bool:
    return not named.columns and named.candidate is not None and named.probability is not None


def _sets(table: pd.DataFrame, rows: list[int], named: Named, file: Path) -> pd.Series:
    if named.split is None:
        return pd.Series("test", index=table.index)
    words = table[named.split].str.strip().str.casefold()
    refuse_rows(words == "", rows, file, f"names no set in column {named.split!r}; expected val or test")
    in_set = words.map({**dict.fromkeys(_VAL, "val"), **dict.fromkeys(_TEST, "test")}).fillna("other")
    if not (in_set == "test").any():
        raise DataError(f"{file}: no row is of test in column {named.split!r}; it has {', '.join(sorted(set(words)))}.")
    return in_set


def _wide(table: pd.DataFrame, rows: list[int], named: Named, file: Path) -> pd.DataFrame:
    """Columns truth, case, patient, and one per candidate; of a long table `candidate` and `probability`."""
    assert named.truth is not None
    case = table[named.case].str.strip() if named.case else pd.Series([f"line {row}" for row in rows])
    refuse_rows(case == "", rows, file, f"names no case in column {named.case!r}")
    patient = table[named.patient].str.strip() if named.patient else case
    refuse_rows(patient == "", rows, file, f"names no patient in column {named.patient!r}")
    fixed = pd.DataFrame({"truth": table[named.truth].map(_TRUTHS), "case": case, "patient": patient})
    if _is_long(named):
        assert named.candidate is not None
        assert named.probability is not None
        if named.case is None:
            raise UsageError(f"{file} has a row per case and candidate, but no case. Name its column with --case.")
        name = table[named.candidate].str.strip()
        refuse_rows(name == "", rows, file, f"names no candidate in column {named.candidate!r}")
        twice = pd.DataFrame({"case": case, "name": name}).duplicated()
        refuse_rows(twice, rows, file, "has a case and candidate that an earlier row has")
        return fixed.assign(name=name, probability=numbers_of(table[named.probability], rows, file), row=rows)
    refuse_rows(case.duplicated(), rows, file, "names a case that an earlier row names; expected one row per case")
    columns = list(named.columns) or _candidate_columns(table, named)
    if not columns:
        raise UsageError(f"{file} has no column of a candidate's probabilities. Name each with --column COLUMN.")
    return fixed.assign(**{_OF + name: numbers_of(table[name], rows, file) for name in columns})


def _candidate_columns(table: pd.DataFrame, named: Named) -> list[str]:
    """All other columns of numbers, but for those that usually describe the patient."""
    roles = {named.truth, named.case, named.patient, named.split}
    others = [name for name in table.columns if name not in roles and name.casefold() not in _NO_CANDIDATES]
    return [name for name in others if np.isfinite(as_numbers(table[name])[0]).any()]


def _pivot(long: pd.DataFrame, in_set: pd.Series, known: pd.Series) -> pd.DataFrame:
    """One row per case of a table with a row per case and candidate."""
    long = long.assign(set=in_set).loc[known.to_numpy()]
    fixed = long.groupby("case", sort=True)[["truth", "patient", "set"]]
    for column, count in fixed.nunique().items():
        if (count > 1).any():
            case = count.index[count > 1][0]
            raise DataError(f"Case {case!r} has more than one {column}; expected the same in all its rows.")
    order = list(dict.fromkeys(long["name"]))
    # Not pivot_table, which would take means.
    spread = long.set_index(["case", "name"])["probability"].unstack()[order]  # noqa: PD010
    return fixed.first().join(spread.add_prefix(_OF)).reset_index()


def _predictions(wide: pd.DataFrame, file: Path) -> Predictions:
    columns = [column for column in wide.columns if column.startswith(_OF)]
    wide = wide.sort_values("case", kind="stable")
    scores = wide[columns].to_numpy(dtype=np.float64)
    whole = np.isfinite(scores).all(axis=1)
    if not whole.any():
        raise DataError(f"{file}: no case has a probability of every candidate; drop the candidates that lack most.")
    truth = wide["truth"].to_numpy(dtype=np.int64)[whole]
    patients = wide["patient"].to_numpy(dtype=object)[whole]
    return Predictions(
        [column.removeprefix(_OF) for column in columns], truth, scores[whole].T, patients, int((~whole).sum())
    )
