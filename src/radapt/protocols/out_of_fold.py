"""Answers for cases that a model was trained with, by models of inner folds that were not."""

from dataclasses import dataclass

import numpy as np

from radapt.protocols.fitted import Model


@dataclass(frozen=True, eq=False)
class OutOfFold(Model):
    """The final model, but for the cases of train and val the mean of what models said that had not seen their
    patients.

    `learned` are the labelled cases that choices were made with; `rows` (n,), in order, those and the unlabelled val
    cases of the same patients, with their `probabilities` (n, outputs). The final model answers for all other cases.
    """

    final: Model
    learned: np.ndarray
    rows: np.ndarray
    probabilities: np.ndarray

    def predict(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), self.probabilities.shape[1]))
        place = np.searchsorted(self.rows, rows)
        stored = np.append(self.rows, -1)[place] == rows
        found[stored] = self.probabilities[place[stored]]
        if not stored.all():
            found[~stored] = self.final.predict(rows[~stored])
        return found
