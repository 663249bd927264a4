"""From predictions to a table of metrics with confidence intervals by patient."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from radapt.errors import DataError
from radapt.metrics.bootstrap import CHUNK, Numbers, Range, metric_interval, replicates
from radapt.metrics.metric import metric_name
from radapt.metrics.panel import MultiLabel, SingleLabel
from radapt.metrics.registry import METRICS, in_order
from radapt.metrics.validation import Predictions, checked
from radapt.metrics.weighted_predictions import most_probable

RESAMPLES = 2000
COLUMNS = ("metric", "value", "ci_low", "ci_high", "n_patients", "n_scored", "n_unscored", "n_undefined")

Panel = SingleLabel | MultiLabel


def score(
    truth: np.ndarray,
    probabilities: np.ndarray,
    patients: Sequence[object] | np.ndarray,
    *,
    task: str,
    outputs: Sequence[str],
    ordered: bool = False,
    decisions: np.ndarray | None = None,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Every classification metric, one row each, with its 95 % bootstrap interval by patient (see `metric_interval`).

    `truth` is (N,) class indices with -1 for unlabelled, or for `task` 'multilabel' (N, F) with 1, 0 and NaN for
    unknown. `probabilities` is (N, C), both columns also for 'binary', or (N, F). `patients` (N,) names each case's
    patient. `outputs` names the columns. `ordered` adds the quadratic kappa of a single-label task.

    Rows: auroc, average_precision, balanced_accuracy, mcc, f1, accuracy, log_loss, brier, ece [, quadratic_kappa],
    then auroc, average_precision, sensitivity, specificity and f1 of each output as `<metric>:<output>`, a class
    against the rest. For a binary task auroc and average_precision take the second class as positive; otherwise they,
    and always f1 and balanced_accuracy, are means over the outputs with both kinds of truth; with several findings
    every metric is a mean over findings. The prediction is the class of highest probability, ties to the first; a
    finding is predicted above 0.5. `decisions` (N,) class indices, or (N, F) of 0 and 1, are the predictions instead;
    where they differ in a case with known truth, the metrics of decisions follow once more for the most probable class,
    as `<metric> (argmax)` and `<metric> (argmax):<output>`.

    Columns: metric, value, ci_low, ci_high, n_patients (patients with a scored case), n_scored and n_unscored (cases),
    n_undefined (outputs that a mean leaves out because the truth lacks positives or negatives; 1 for an undefined
    metric of one output or of all). An undefined metric is NaN with n_scored 0. The interval is NaN if the metric is,
    with fewer than two patients, with `resamples` 0, and if the metric is undefined in more than half of the
    replicates. The same `rng` state gives the same table.

    Raises DataError for shapes that do not fit, NaN predictions, and truth or probabilities out of range.
    """
    outputs = [str(name) for name in outputs]
    if len(set(outputs)) != len(outputs) or not outputs:
        raise DataError(f"Expected at least one output, each with a different name; got {outputs}.")
    if resamples < 0:
        raise DataError(f"The number of resamples must be 0 or more; got {resamples}.")
    given = checked(truth, probabilities, patients, task, len(outputs), decisions)
    panel = panel_of(given, task, outputs, ordered)
    table, _ = scored(given, panel, replicates_of(panel.numbers, given, rng, resamples))
    return table


def replicates_of(
    numbers: Callable[[np.ndarray], Numbers],
    given: Predictions,
    rng: np.random.Generator,
    resamples: int,
) -> Numbers:
    """Every metric that `numbers` computes, in `resamples` draws of the patients; none with fewer than two patients."""
    confusion = given.probabilities.shape[1] ** 2 if given.truth.ndim == 1 else 1  # findings are taken one by one
    chunk = max(1, CHUNK // max(len(given.truth), confusion))
    return replicates(numbers, given.units, rng, resamples if given.units > 1 else 0, chunk)


def scored(given: Predictions, panel: Panel, drawn: Mapping[str, np.ndarray]) -> tuple[pd.DataFrame, dict[str, float]]:
    """The table of `score` from the replicates `drawn`, and every value by its name."""
    values = {name: float(value[0]) for name, value in panel.numbers(np.ones((given.units, 1))).items()}
    rows = [row_of(name, value, drawn.get(name), given, panel) for name, value in values.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS)), values


def range_of(name: str) -> Range:
    """The range of a row of `score`."""
    metric = METRICS[metric_name(name)]
    return Range(metric.low, np.inf if metric.high is None else metric.high)


def panel_of(
    given: Predictions, task: str, outputs: Sequence[str], ordered: bool, *, both: bool | None = None,
    only: Collection[str] | None = None,
) -> Panel:  # fmt: skip
    """Every metric of the task, as a function of patients' weights.

    `both`: metrics of decisions once more for the most probable class; None: where decisions differ from it. `only`
    names the metrics to compute; None: all.
    """
    ranked = ordered and task != "multilabel"
    metrics = [metric for metric in in_order() if ranked or not metric.ordered_only]
    metrics = [metric for metric in metrics if only is None or metric.name in only]
    kind = MultiLabel if task == "multilabel" else SingleLabel
    return kind(given, outputs, metrics, both=decides_otherwise(given) if both is None else both)


def decides_otherwise(given: Predictions) -> bool:
    """Whether a case with known truth was decided otherwise than by the highest probability."""
    if given.decisions is None:
        return False
    plain = given.probabilities > 0.5 if given.truth.ndim == 2 else most_probable(given.probabilities)
    return bool((given.decisions != plain)[given.known].any())


def row_of(
    name: str,
    value: float,
    drawn: np.ndarray | None,
    given: Predictions,
    panel: Panel,
    range_: Range | None = None,
) -> tuple[str, float, float, float, int, int, int, int]:
    """A metric with its interval from its replicates `drawn` (R,), and its counts: the values of `COLUMNS`.

    `range_` is that of the value, None: of the metric.
    """
    undefined = np.isnan(value)
    entered = np.zeros(len(given.truth), dtype=bool) if undefined else panel.entered(name)
    patients = len(np.unique(given.unit[entered]))
    # A single patient drawn again and again never varies: an interval of zero width would claim certainty.
    low, high = (np.nan, np.nan)
    if drawn is not None and patients > 1:
        low, high = metric_interval(value, drawn, patients, range_ or range_of(name), panel.fewest(name))
    scored = int(entered.sum())
    left_out = max(panel.left_out(name), int(undefined))
    return name, value, low, high, patients, scored, len(entered) - scored, left_out
