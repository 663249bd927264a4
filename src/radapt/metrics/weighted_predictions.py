"""The predictions of one task under many sets of patients' weights, sorted and added up once for all metrics."""

from functools import cached_property

import numpy as np

from radapt.metrics.calibration import BINS, bin_of, brier_scores, confidence, log_losses
from radapt.metrics.ranking import RankedTotals, Ranking
from radapt.metrics.weighted import Tally, ratio


def most_probable(probabilities: np.ndarray) -> np.ndarray:
    """Decisions: (n, C) -> (n,) the class of highest probability, the first of equals; (n,) of a finding -> above
    0.5."""
    return (probabilities > 0.5).astype(np.int64) if probabilities.ndim == 1 else probabilities.argmax(axis=1)


class TaskPredictions:
    """Predictions of a task with C classes, or of one finding, for any weights of the patients.

    `truth` (n,) class indices; `probabilities` (n, C) decides by the highest, the first of equals; (n,) is the
    probability of a finding and decides for it above 0.5; `decisions` (n,) class indices decide otherwise. `unit` (n,)
    is the patient of each case. Confusion matrix, log-loss, Brier score and calibration gaps are slots of a single
    tally.
    """

    def __init__(
        self,
        truth: np.ndarray,
        probabilities: np.ndarray,
        unit: np.ndarray,
        units: int,
        decisions: np.ndarray | None = None,
    ) -> None:
        self.truth, self.probabilities = truth, probabilities
        single = probabilities.ndim == 1
        self.classes = 2 if single else probabilities.shape[1]
        called = most_probable(probabilities) if decisions is None else decisions
        stated, came_true = confidence(truth, probabilities)
        cells = self.classes**2
        parts = [
            (truth * self.classes + called, np.ones(len(truth))),
            (np.full(len(truth), cells), log_losses(truth, probabilities)),
            (np.full(len(truth), cells + 1), brier_scores(truth, probabilities)),
            (cells + 2 + bin_of(stated), stated - came_true),
        ]
        slot, amount = (np.concatenate(column) for column in zip(*parts, strict=True))
        self.tally = Tally(slot, amount, np.tile(unit, len(parts)), slots=cells + 2 + BINS, units=units)
        columns = [probabilities] if single else list(probabilities.T)
        positives = [truth == 1] if single else [truth == index for index in range(self.classes)]
        self.outputs = list(zip(positives, columns, strict=True))
        self.unit, self.units = unit, units

    @cached_property
    def rankings(self) -> list[Ranking]:
        """Of each output; sorted when a metric first asks for them."""
        return [Ranking(positive, score, self.unit, self.units) for positive, score in self.outputs]

    def under(self, weights: np.ndarray) -> "WeightedPredictions":
        """The predictions with each column of `weights` (U, R) as the weights of the patients."""
        return WeightedPredictions(self, weights)

    def of_totals(self, totals: np.ndarray) -> "WeightedPredictions":
        """Predictions whose `tally` came to `totals` (K, R): for metrics that need nothing else."""
        return WeightedPredictions(self, np.zeros((self.units, 0)), totals)


class WeightedPredictions:
    """What a metric is computed from: the predictions of a task under R sets of weights of the patients.

    A task has C classes; one finding counts as two, absence and presence, and has a single output, its presence.
    """

    def __init__(self, task: TaskPredictions, weights: np.ndarray, totals: np.ndarray | None = None) -> None:
        self._task, self._weights, self._given = task, weights, totals

    @property
    def truth(self) -> np.ndarray:
        """(n,) class indices, or 0 and 1."""
        return self._task.truth

    @property
    def probabilities(self) -> np.ndarray:
        """(n, C), or (n,) of a finding."""
        return self._task.probabilities

    @property
    def outputs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each output the cases (n,) that are positive and their probabilities (n,)."""
        return [(positive.astype(np.int64), score) for positive, score in self._task.outputs]

    @cached_property
    def case_weights(self) -> np.ndarray:
        """(n, R) weight of each case: that of its patient."""
        return self._weights[self._task.unit]

    @cached_property
    def confusion(self) -> np.ndarray:
        """(R, C, C) weight of the cases by true class (row) and predicted class (column)."""
        cells = self._task.classes**2
        return self._totals[:cells].T.reshape(-1, self._task.classes, self._task.classes)

    @property
    def log_loss(self) -> np.ndarray:
        """(R,) mean log-loss in nats."""
        return ratio(self._totals[self._task.classes**2], self._weight)

    @property
    def brier(self) -> np.ndarray:
        """(R,) mean Brier score."""
        return ratio(self._totals[self._task.classes**2 + 1], self._weight)

    @property
    def calibration_error(self) -> np.ndarray:
        """(R,) expected calibration error."""
        return ratio(np.abs(self._totals[self._task.classes**2 + 2 :]).sum(axis=0), self._weight)

    @property
    def auroc(self) -> np.ndarray:
        """(R, outputs) area under the ROC curve of each output against the rest."""
        return np.stack([totals.area() for totals in self._ranked], axis=-1)

    @property
    def average_precision(self) -> np.ndarray:
        """(R, outputs) average precision of each output against the rest."""
        return np.stack([totals.average_precision() for totals in self._ranked], axis=-1)

    @cached_property
    def _totals(self) -> np.ndarray:
        return self._task.tally.totals(self._weights) if self._given is None else self._given

    @cached_property
    def _weight(self) -> np.ndarray:
        return np.asarray(self._totals[: self._task.classes**2].sum(axis=0))

    @cached_property
    def _ranked(self) -> list[RankedTotals]:
        return [ranking.totals(self._weights) for ranking in self._task.rankings]
