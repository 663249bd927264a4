"""Every number of a classification, as one function from patients' weights to values.

The point estimate is that function at weight 1, a bootstrap replicate the same function at the weights drawn;
so an interval can never be of another number than the one it stands beside.
"""

from collections.abc import Sequence

import numpy as np

from radapt.metrics import confusion
from radapt.metrics.bootstrap import Numbers
from radapt.metrics.calibration import BINS, bin_of, brier_scores, confidence, log_losses
from radapt.metrics.ranking import Ranking
from radapt.metrics.validation import Predictions
from radapt.metrics.weighted import Tally, ratio

OVERALL = (
    "auroc", "average_precision", "balanced_accuracy", "mcc", "f1", "accuracy", "log_loss", "brier", "ece",
)  # fmt: skip
PER_OUTPUT = ("auroc", "average_precision", "sensitivity", "specificity", "f1")
_NEED_BOTH = ("auroc", "average_precision", "balanced_accuracy", "mcc", "f1")


class Question:
    """One question with C possible answers: decisions and losses, for any weights of the patients.

    `probabilities` (n, C) decides by the highest, the first of equals; (n,) is the probability of yes and
    decides yes above 0.5. Confusion matrix, log-loss, Brier and calibration gaps are slots of a single tally.
    """

    def __init__(self, truth: np.ndarray, probabilities: np.ndarray, unit: np.ndarray, units: int) -> None:
        single = probabilities.ndim == 1
        self.classes = 2 if single else probabilities.shape[1]
        called = (probabilities > 0.5).astype(np.int64) if single else probabilities.argmax(axis=1)
        stated, came_true = confidence(truth, probabilities)
        cells = self.classes**2
        parts = [
            (truth * self.classes + called, np.ones(len(truth))),
            (np.full(len(truth), cells), log_losses(truth, probabilities)),
            (np.full(len(truth), cells + 1), brier_scores(truth, probabilities)),
            (cells + 2 + bin_of(stated), stated - came_true),
        ]
        slot, amount = (np.concatenate(column) for column in zip(*parts, strict=True))
        self._tally = Tally(slot, amount, np.tile(unit, len(parts)), slots=cells + 2 + BINS, units=units)

    def numbers(self, weights: np.ndarray) -> tuple[np.ndarray, Numbers]:
        """The confusion matrices (R, C, C) and the mean losses (R,) under each column of `weights` (U, R)."""
        totals = self._tally.totals(weights)
        cells = self.classes**2
        matrix = totals[:cells].T.reshape(-1, self.classes, self.classes)
        weight = totals[:cells].sum(axis=0)
        gaps = np.abs(totals[cells + 2 :]).sum(axis=0)
        losses = {"log_loss": totals[cells], "brier": totals[cells + 1], "ece": gaps}
        return matrix, {name: ratio(total, weight) for name, total in losses.items()}


class SingleLabel:
    """Every number of a binary or multi-class task, whose classes exclude each other.

    `known` (N,) is where the truth is known; `defined` (C,) the classes with members and non-members in the
    truth.
    """

    def __init__(self, given: Predictions, outputs: Sequence[str], ordered: bool) -> None:
        self.outputs, self.ordered = outputs, ordered
        self.known = given.known
        truth, probabilities = given.truth[self.known], given.probabilities[self.known]
        unit = given.unit[self.known]
        members = np.bincount(truth, minlength=len(outputs))
        self.defined = (members > 0) & (members < len(truth))
        self._question = Question(truth, probabilities, unit, given.units)
        self._rankings = [
            Ranking(truth == index, probabilities[:, index], unit, given.units) for index in range(len(outputs))
        ]

    def numbers(self, weights: np.ndarray) -> Numbers:
        """Every number (R,) under each column of `weights` (U, R)."""
        matrix, numbers = self._question.numbers(weights)
        ranked = np.array([ranking.numbers(weights) for ranking in self._rankings])  # (C, 2, R)
        sensitivity, f1 = confusion.sensitivities(matrix), confusion.f1s(matrix)
        each = {
            "auroc": ranked[:, 0].T,
            "average_precision": ranked[:, 1].T,
            "sensitivity": sensitivity,
            "specificity": confusion.specificities(matrix),
            "f1": f1,
        }
        numbers |= {
            "auroc": self._ranked(each["auroc"]),
            "average_precision": self._ranked(each["average_precision"]),
            "balanced_accuracy": macro(sensitivity, self.defined),
            "mcc": confusion.mcc_of(matrix),
            "f1": macro(f1, self.defined),
            "accuracy": confusion.accuracy_of(matrix),
        }
        if self.ordered:
            numbers["quadratic_kappa"] = confusion.quadratic_kappa_of(matrix)
        return numbers | named(each, self.outputs)

    def entered(self, name: str) -> np.ndarray:
        """(N,) bool: the cases that number `name` is computed from, if it is defined."""
        return self.known

    def left_out(self, name: str) -> int:
        """How many classes the macro number `name` could not average in, for want of truth."""
        macros = ("balanced_accuracy", "f1") if len(self.outputs) == 2 else _NEED_BOTH
        return int((~self.defined).sum()) if name in macros and name != "mcc" else 0

    def _ranked(self, each: np.ndarray) -> np.ndarray:
        # Two classes ask one question: is it the second? Averaging over both would change average precision.
        return each[:, 1] if len(self.outputs) == 2 else macro(each, self.defined)


class MultiLabel:
    """Every number of a task with several findings, each a yes/no question about the cases where it is known.

    `known` (N, F) is where the truth is known; `defined` (F,) the findings with present and absent cases.
    """

    def __init__(self, given: Predictions, outputs: Sequence[str]) -> None:
        self.outputs = outputs
        self.known = given.known
        self._questions, self._rankings = [], []
        for index in range(len(outputs)):
            rows = self.known[:, index]
            truth, score, unit = given.truth[rows, index], given.probabilities[rows, index], given.unit[rows]
            self._questions.append(Question(truth.astype(np.int64), score, unit, given.units))
            self._rankings.append(Ranking(truth, score, unit, given.units))
        self.defined = (given.truth == 1).any(axis=0) & (given.truth == 0).any(axis=0)

    def numbers(self, weights: np.ndarray) -> Numbers:
        """Every number (R,) under each column of `weights` (U, R): means over findings, then each finding."""
        pairs = zip(self._questions, self._rankings, strict=True)
        findings = [self._finding(question, ranking, weights) for question, ranking in pairs]
        each = {name: np.stack([finding[name] for finding in findings], axis=-1) for name in findings[0]}
        overall = {name: macro(each[name], self._averaged(name)) for name in OVERALL}
        return overall | named({name: each[name] for name in PER_OUTPUT}, self.outputs)

    def entered(self, name: str) -> np.ndarray:
        """(N,) bool: the cases that number `name` is computed from, if it is defined."""
        metric, _, output = name.partition(":")
        if output:
            return self.known[:, list(self.outputs).index(output)]
        return np.asarray(self.known[:, self._averaged(metric)].any(axis=1))

    def left_out(self, name: str) -> int:
        """How many findings the macro number `name` could not average in, for want of truth."""
        return 0 if ":" in name else int((~self._averaged(name)).sum())

    def _averaged(self, metric: str) -> np.ndarray:
        return self.defined if metric in _NEED_BOTH else np.asarray(self.known.any(axis=0))

    @staticmethod
    def _finding(question: Question, ranking: Ranking, weights: np.ndarray) -> Numbers:
        matrix, numbers = question.numbers(weights)
        area, precision = ranking.numbers(weights)
        return numbers | {
            "auroc": area,
            "average_precision": precision,
            "sensitivity": confusion.sensitivities(matrix)[:, 1],
            "specificity": confusion.specificities(matrix)[:, 1],
            "f1": confusion.f1s(matrix)[:, 1],
            "balanced_accuracy": confusion.balanced_accuracy_of(matrix),
            "mcc": confusion.mcc_of(matrix),
            "accuracy": confusion.accuracy_of(matrix),
        }


def macro(each: np.ndarray, averaged: np.ndarray) -> np.ndarray:
    """(R,) mean of `each` (R, outputs) over the outputs in `averaged`; NaN if there are none.

    A rare output may lose its patients in a bootstrap replicate; the mean is then over the others, as long as more
    than half of them remain. Which remain depends on the patients drawn and never on the predictions.
    """
    values = each[:, averaged]
    counts = np.count_nonzero(~np.isnan(values), axis=1)
    enough = 2 * counts > values.shape[1]
    return np.where(enough, np.nansum(values, axis=1) / np.maximum(counts, 1), np.nan)


def named(each: Numbers, outputs: Sequence[str]) -> Numbers:
    """Columns (R, outputs) of each metric as single numbers `<metric>:<output>` (R,)."""
    return {f"{metric}:{name}": each[metric][:, i] for metric in PER_OUTPUT for i, name in enumerate(outputs)}
