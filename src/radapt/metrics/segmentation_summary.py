"""From the segmentation metrics of every case to those of a test set, with intervals by patient."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.errors import DataError, suggest
from radapt.metrics.bootstrap import CHUNK, Numbers, Range, metric_interval, replicates, units_of
from radapt.metrics.metric import macro
from radapt.metrics.score import COLUMNS, RESAMPLES
from radapt.metrics.segmentation import NUMBERS, OUTCOMES
from radapt.metrics.weighted import Tally, ratio

UNLABELLED = "unlabelled"
"""The outcome of a case without ground truth; all its metrics are NaN."""

MEASURED_ELSEWHERE = "measured elsewhere"
"""The outcome of a case whose numbers come from another tool: what was found or missed is not known."""

Summand = Callable[[pd.DataFrame], pd.Series]


def _mean(number: str) -> tuple[Summand, Summand]:
    return lambda rows: rows[number], lambda rows: rows[number].notna()


def _outcome(*outcomes: str) -> Summand:
    return lambda rows: rows["outcome"].isin(outcomes)


SUMMARY: dict[str, tuple[Summand, Summand]] = {
    "dice": _mean("dice"),
    "iou": _mean("iou"),
    "nsd": _mean("nsd"),
    "hd95_mm": _mean("hd95_mm"),
    "assd_mm": _mean("assd_mm"),
    "volume_error_ml": _mean("volume_error_ml"),
    "volume_error_abs_ml": (lambda rows: rows["volume_error_ml"].abs(), lambda rows: rows["volume_error_ml"].notna()),
    "missed": (_outcome("missed"), _outcome("both", "missed")),
    "false_alarm": (_outcome("false_alarm"), _outcome("false_alarm", "empty")),
    "lesion_sensitivity": (lambda rows: rows["lesions_found"], lambda rows: rows["lesions_truth"]),
    "lesions_false": (lambda rows: rows["lesions_false"], _outcome(*OUTCOMES)),
}
"""Every metric of a test set is a ratio of two sums over its cases: the terms of the numerator and the denominator."""

_RANGES = dict.fromkeys(("hd95_mm", "assd_mm", "volume_error_abs_ml", "lesions_false"), Range(high=np.inf)) | {
    "volume_error_ml": Range(-np.inf, np.inf)
}
"""Of metrics that are no share."""


def summarise(
    cases: pd.DataFrame, *, labels: Sequence[str], rng: np.random.Generator, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Every segmentation metric, one row each, with its 95 % bootstrap interval by patient (see `metric_interval`).

    `cases` has a row per case and label: `case`, `patient`, `label` and the columns of `case_numbers`. Rows of cases
    without ground truth have the outcome 'unlabelled', and those that another tool measured 'measured elsewhere', which
    count only in the numbers that they have. `labels` names the labels, in order.

    Rows, first as the mean over labels, then of each label as `<metric>:<label>`:
    - `dice`, `iou`, `nsd`, `hd95_mm`, `assd_mm`: means over cases. Missed structures and false alarms count, with
      Dice 0 and the diagonal of the image; cases with the label in neither truth nor prediction do not.
    - `volume_error_ml`: mean of predicted − truth (bias); `volume_error_abs_ml`: mean absolute error.
    - `missed`: share of the cases with the structure in which nothing is predicted; `false_alarm`: share of the cases
      without it in which something is.
    - `lesion_sensitivity`: share of all lesions that are found; `lesions_false`: false lesions per labelled case.

    Columns: those of `score`. `n_scored` counts the cases that enter a metric, `n_unscored` the others (unlabelled, or
    the structure present or absent as the metric requires); `n_undefined` the labels that a mean leaves out because
    they have no case, 1 for an undefined metric of one label. A metric without cases is NaN. The same `rng` state gives
    the same table.

    Raises DataError for missing or repeated columns, cases or labels, and for a missing patient.
    """
    return summarised(cases, labels=labels, rng=rng, resamples=resamples)[0]


def summarised(
    cases: pd.DataFrame, *, labels: Sequence[str], rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[pd.DataFrame, dict[str, float], Numbers]:
    """The table of `summarise`, every value by its name, and the replicates (R,) of every metric, if there are any."""
    names = [str(name) for name in labels]
    if resamples < 0:
        raise DataError(f"The number of resamples must be 0 or more; got {resamples}.")
    check_cases(cases, names)
    panel = LabelMapPanel.of(cases, names)
    values = {name: float(value[0]) for name, value in panel.numbers(np.ones((panel.units, 1))).items()}
    drawn = replicates(
        panel.numbers, panel.units, rng, resamples if panel.units > 1 else 0, max(1, CHUNK // len(cases))
    )
    rows = [_row(name, value, drawn.get(name), panel) for name, value in values.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS)), values, drawn


@dataclass(frozen=True, eq=False)
class LabelMapPanel:
    """The terms of every row of `cases` in the two sums of every metric in `names`, each (metrics, N)."""

    names: Sequence[str]
    labels: Sequence[str]
    numerator: np.ndarray
    denominator: np.ndarray
    label: np.ndarray
    case: np.ndarray
    unit: np.ndarray
    units: int

    @classmethod
    def of(
        cls, cases: pd.DataFrame, labels: Sequence[str], metrics: Collection[str] = tuple(SUMMARY)
    ) -> "LabelMapPanel":
        names = [name for name in SUMMARY if name in metrics]
        terms = [[summand(cases).to_numpy(np.float64) for summand in SUMMARY[name]] for name in names]
        denominator = np.nan_to_num(np.array([pair[1] for pair in terms]))
        numerator = np.where(denominator > 0, np.nan_to_num(np.array([pair[0] for pair in terms])), 0.0)
        # Patients without ground truth are not drawn: they would only thin out the replicates.
        unit, _ = units_of(cases["patient"].to_numpy(dtype=object))
        labelled = (cases["outcome"] != UNLABELLED).to_numpy()
        patients, index = np.unique(unit[labelled], return_inverse=True)
        unit = np.zeros(len(cases), dtype=np.int64)
        unit[labelled] = index
        label = pd.Index(labels).get_indexer(pd.Index(cases["label"].astype(str)))
        return cls(
            names, labels, numerator, denominator, label, pd.factorize(cases["case"])[0], unit, max(len(patients), 1)
        )

    def numbers(self, weights: np.ndarray) -> Numbers:
        """Every metric (R,) under each column of `weights` (U, R): means over labels, then each label."""
        return self.numbers_of_sums(self.sums(weights), {name: self.defined(name) for name in self.names})

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """(2, metrics × labels, R) numerators and denominators under each column of `weights` (U, R)."""
        metrics, labels = len(self.numerator), len(self.labels)
        slot = (np.arange(metrics)[:, None] * labels + self.label).ravel()
        unit = np.tile(self.unit, metrics)
        return np.stack(
            [
                Tally(slot, terms.ravel(), unit, slots=metrics * labels, units=self.units).totals(weights)
                for terms in (self.numerator, self.denominator)
            ]
        )

    def numbers_of_sums(self, sums: np.ndarray, defined: Mapping[str, np.ndarray]) -> Numbers:
        """Every metric (R,) from `sums`; means are over the labels (labels,) bool of `defined`."""
        by_label = dict(zip(self.names, ratio(*sums).reshape(len(self.names), len(self.labels), -1), strict=True))
        overall = {name: macro(values.T, defined[name]) for name, values in by_label.items()}
        return overall | {
            f"{name}:{label}": values[k] for name, values in by_label.items() for k, label in enumerate(self.labels)
        }

    def defined(self, name: str) -> np.ndarray:
        """(labels,) bool: the labels with a case that enters the metric `name`."""
        denominator = self.denominator[self.names.index(name)]
        return np.bincount(self.label, weights=denominator, minlength=len(self.labels)) > 0

    def entered(self, name: str) -> np.ndarray:
        """(N,) bool: the rows that the metric `name` is computed from."""
        metric, _, label = name.partition(":")
        rows = self.denominator[self.names.index(metric)] > 0
        return rows & (self.label == self.labels.index(label)) if label else rows


def _row(name: str, value: float, drawn: np.ndarray | None, panel: LabelMapPanel) -> tuple[object, ...]:
    rows = panel.entered(name)
    scored, patients = len(np.unique(panel.case[rows])), len(np.unique(panel.unit[rows]))
    # A single patient drawn again and again never varies: an interval of zero width would claim certainty.
    low, high = (np.nan, np.nan)
    if drawn is not None and patients > 1:
        low, high = metric_interval(value, drawn, patients, _RANGES.get(name.partition(":")[0], Range()))
    left_out = int((~panel.defined(name)).sum()) if ":" not in name else int(np.isnan(value))
    return name, value, low, high, patients, scored, len(np.unique(panel.case)) - scored, left_out


def check_cases(cases: pd.DataFrame, labels: Sequence[str]) -> None:
    """Raises DataError unless `cases` is a table that `summarise` can read, with one row per case and label."""
    if not labels or len(set(labels)) < len(labels):
        raise DataError(f"Expected at least one label, each with a different name; got {list(labels)}.")
    columns = ("case", "patient", "label", *NUMBERS, "outcome")
    if missing := [column for column in columns if column not in cases]:
        raise DataError(f"The table of cases lacks the column(s) {', '.join(missing)}; expected {columns}.")
    if not len(cases):
        raise DataError("There are no cases to summarise.")
    pairs = pd.MultiIndex.from_frame(cases[["case", "label"]].astype(str))
    expected = pd.MultiIndex.from_product([cases["case"].astype(str).unique(), labels])
    if wrong := [*pairs[pairs.duplicated()], *pairs.symmetric_difference(expected)]:
        case, label = wrong[0]
        raise DataError(
            f"Case {case!r} and label {label!r}: {len(cases)} rows do not fit labels {list(labels)}; "
            "expected exactly one row for every case and label."
        )
    known = (*OUTCOMES, UNLABELLED, MEASURED_ELSEWHERE)
    if len(unknown := cases.loc[~cases["outcome"].isin(known), "outcome"]):
        raise DataError(f"Outcome {unknown.iloc[0]!r} is unknown. {suggest(unknown.iloc[0], known)}")
