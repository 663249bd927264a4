"""Pairs the cases of another tool with the test cases of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.cli.foreign.given import DECISION, PATIENT, PROBABILITY, TRUTH, GivenResults
from radapt.errors import DataError, suggest
from radapt.metrics.segmentation import NUMBERS
from radapt.metrics.segmentation_summary import MEASURED_ELSEWHERE, UNLABELLED
from radapt.reports.formatting import counted

_KEYS = ("case", "patient", "site", "split", "fold")


@dataclass(frozen=True)
class Matched:
    """Predictions of another tool as a cell of the run stores them, for the test cases that it has results of.

    `metrics` are the rows of the scores that follow from them, None: all. The other fields count cases.
    """

    predictions: pd.DataFrame
    metrics: tuple[str, ...] | None
    missing: int  # labelled test cases of the run that the file lacks
    elsewhere: int  # cases of the file that are no labelled test case of the run
    incomplete: int  # cases left out because the file lacks a number of theirs

    @property
    def sentence(self) -> str:
        """What was paired and what was not."""
        n = self.predictions["case"].nunique()
        parts = [f"{n} of {counted(n + self.missing + self.incomplete, 'test case')} paired"]
        if self.missing:
            parts.append(f"{self.missing} not in the file")
        if self.incomplete:
            parts.append(f"{self.incomplete} left out for want of a number")
        if self.elsewhere:
            parts.append(f"{counted(self.elsewhere, 'case')} of the file not in the test set")
        return "; ".join(parts)


def match_label_maps(given: GivenResults, own: pd.DataFrame, mask_labels: Mapping[str, str]) -> Matched:
    """`own` are predictions of a cell of the run: a row per test case and structure, with `outcome`.

    A number may be missing only of a structure that the case lacks. Raises DataError for a structure that the cohort
    does not have, and without a case in common.
    """
    structures = list(dict.fromkeys(own["label"].astype(str)))
    columns = {column: _measure_and_structure(column, structures, mask_labels) for column in given.numbers}
    labelled = own[own["outcome"] != UNLABELLED]
    common = _common(given, labelled)
    rows = labelled[labelled["case"].isin(common)].reset_index(drop=True)
    for name in NUMBERS:
        rows[name] = np.nan
    lacking = np.zeros(len(rows), dtype=bool)
    for column, (measure, structure) in columns.items():
        at = (rows["label"].astype(str) == structure).to_numpy()
        numbers = given.table[column].reindex(rows.loc[at, "case"]).to_numpy(dtype=np.float64)
        rows.loc[at, measure] = numbers
        lacking[at] |= np.isnan(numbers) & rows.loc[at, "outcome"].isin(("both", "missed")).to_numpy()
    incomplete = set(rows.loc[lacking, "case"])
    rows = rows[~rows["case"].isin(incomplete)].assign(outcome=MEASURED_ELSEWHERE).reset_index(drop=True)
    if not len(rows):
        raise DataError(f"None of {counted(len(common), 'test case')} has all numbers in the file.")
    measured = set(columns.values())
    metrics = [f"{measure}:{structure}" for measure, structure in sorted(measured)]
    means = {measure for measure, _ in measured if all((measure, name) in measured for name in structures)}
    return _matched(given, labelled, common, rows, (*sorted(means), *metrics), len(incomplete))


def match_predictions(given: GivenResults, own: pd.DataFrame, outputs: Sequence[str]) -> Matched:
    """`own` are predictions of a cell of the run: a row per test case, with `truth` or `truth_<finding>`.

    Raises DataError for a truth that is another one in the file, missing probabilities, and without a case in common.
    """
    findings = TRUTH not in own
    named = [f"{TRUTH}_{name}" for name in outputs]
    labelled = own[own[named].notna().any(axis=1)] if findings else own[own[TRUTH].isin(outputs)]
    common = _common(given, labelled)
    rows = labelled[labelled["case"].isin(common)].reset_index(drop=True)
    table = _probabilities(given, outputs, findings).reindex(rows["case"]).reset_index(drop=True)
    whole = table.notna().all(axis=1).to_numpy()
    rows, table = rows[whole].reset_index(drop=True), table[whole].reset_index(drop=True)
    if not len(rows):
        raise DataError(f"None of {counted(len(common), 'test case')} has a probability in the file.")
    words = given.table.reindex(rows["case"]).reset_index(drop=True)
    for name in named if findings else [TRUTH]:
        if name in words:
            _refuse_other_truth(words[name], rows[name], rows["case"])
    predictions = pd.concat([rows[[name for name in (*_KEYS, TRUTH, *named) if name in rows]], table], axis=1)
    if findings:
        for name in outputs:
            predictions[f"{DECISION}_{name}"] = (table[f"p_{name}"] > 0.5).astype(int)
    else:
        decided = words[DECISION].str.strip() if DECISION in words else None
        if decided is not None and not decided.isin(outputs).all():
            odd = decided[~decided.isin(outputs)].iloc[0]
            raise DataError(f"{DECISION} {odd!r} is no class of the cohort. {suggest(str(odd), outputs)}")
        most = table.to_numpy().argmax(axis=1)
        predictions[DECISION] = np.array(outputs, dtype=object)[most] if decided is None else decided
    return _matched(given, labelled, common, predictions, None, int((~whole).sum()))


def _matched(
    given: GivenResults, labelled: pd.DataFrame, common: set[str], predictions: pd.DataFrame,
    metrics: tuple[str, ...] | None, incomplete: int,
) -> Matched:  # fmt: skip
    _refuse_other_patients(given, predictions)
    own = set(labelled["case"])
    return Matched(predictions, metrics, len(own - common), len(given.table) - len(common), incomplete)


def _common(given: GivenResults, labelled: pd.DataFrame) -> set[str]:
    """The cases that are in both. Raises DataError if there are none."""
    own = set(labelled["case"].astype(str))
    common = own & set(given.table.index)
    if not common:
        raise DataError(
            f"No case of the file is a labelled test case of the run: the file has {sorted(given.table.index)[:3]}, "
            f"the run {sorted(own)[:3]}. Name the column with the run's cases: --column case=COLUMN."
        )
    return common


def _measure_and_structure(column: str, structures: Sequence[str], mask_labels: Mapping[str, str]) -> tuple[str, str]:
    measure, _, name = column.partition(":")
    if not name and len(structures) == 1:
        return measure, structures[0]
    structure = mask_labels.get(name, name)
    if structure not in structures:
        raise DataError(f"{column!r} is of no structure of the cohort. {suggest(structure, structures)}")
    return measure, structure


def _probabilities(given: GivenResults, outputs: Sequence[str], findings: bool) -> pd.DataFrame:
    wanted = [f"p_{name}" for name in outputs]
    table = given.table
    if len(outputs) == 2 and not findings:
        one = next((name for name in (PROBABILITY, wanted[1]) if name in table), None)
        if one is not None and wanted[0] not in table:
            return pd.DataFrame({wanted[0]: 1 - table[one], wanted[1]: table[one]})
    if lacking := [name for name in wanted if name not in table]:
        raise DataError(f"The file has no column {lacking[0]!r}. {suggest(lacking[0], given.numbers)}")
    return table[wanted]


def _refuse_other_truth(given: pd.Series, own: pd.Series, cases: pd.Series) -> None:
    said = given.fillna("").astype(str).str.strip()
    plain = own.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    wrong = np.flatnonzero((said != "") & (said != plain))
    if len(wrong):
        at = wrong[0]
        raise DataError(
            f"The truth of case {cases[at]!r} is {said[at]!r} in the file and {plain[at]!r} in the run "
            f"({counted(len(wrong), 'case')}). Give the results of the same task, with the run's names of the classes."
        )


def _refuse_other_patients(given: GivenResults, predictions: pd.DataFrame) -> None:
    """The file may call patients otherwise, but must put the same cases together."""
    if PATIENT not in given.table:
        return
    cases = predictions.drop_duplicates("case")
    named = given.table[PATIENT].reindex(cases["case"]).to_numpy()
    pairs = pd.DataFrame({"run": cases["patient"].to_numpy(), "file": named}).drop_duplicates()
    for one, other in (("run", "file"), ("file", "run")):
        if (twice := pairs[one].duplicated()).any():
            patient = pairs.loc[twice, one].iloc[0]
            raise DataError(
                f"The cases of patient {patient!r} of the {one} are of several patients of the {other}; expected the "
                "same patients in both."
            )
