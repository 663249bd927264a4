"""The targets of a linear model: values with weights, and constant predictions for outputs that cannot be learned.

Two classes become one logit, more become a softmax over the classes of the training set, and every finding with both a
positive and a negative case becomes a logit of its own, in which unknown cases have weight 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

ClassWeight = Literal["none", "balanced"]
Link = Literal["sigmoid", "softmax"]


@dataclass(frozen=True)
class Targets:
    """The targets of n training cases.

    `values` and `weights` are float64 (n, c). With the `sigmoid` link each column is a binary problem of its own;
    with `softmax` a row is one-hot and its weights are equal. `learned` are the outputs of the c columns, `constant`
    (outputs,) the predictions of the others: 0 for a class without a training case, the smoothed prior
    (positives + 1) / (known + 2) for a finding with only positive or only negative training cases.
    """

    link: Link
    values: np.ndarray
    weights: np.ndarray
    learned: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, outputs: int, class_weight: ClassWeight = "none") -> "Targets":
        """`labels` (n,) class indices, or (n, F) findings with NaN unknown; every row labelled."""
        make = _of_findings if labels.ndim == 2 else _of_classes
        return make(labels, outputs, class_weight)

    @classmethod
    def from_encoding(cls, encoding: Mapping[str, Any]) -> "Targets":
        """Targets without cases, which define the outputs of the logits, from `encoding`."""
        none = np.zeros((0, 0))
        return cls(encoding["link"], none, none, np.asarray(encoding["learned"]), np.asarray(encoding["constant"]))

    @property
    def encoding(self) -> dict[str, Any]:
        """The outputs of the logits, JSON-like."""
        return {"link": self.link, "learned": self.learned.tolist(), "constant": self.constant.tolist()}

    @property
    def totals(self) -> np.ndarray:
        """(c,) summed weight of each column's cases: n_p of the objective."""
        return np.maximum(self.weights.sum(0), np.finfo(float).tiny)

    @property
    def prior_logits(self) -> np.ndarray:
        """(c,) logits of each column's share of the weighted cases: a start for training."""
        prior = np.clip((self.weights * self.values).sum(0) / self.totals, 1e-6, 1 - 1e-6)
        return np.log(prior) if self.link == "softmax" else np.log(prior / (1 - prior))

    @property
    def curvature(self) -> np.ndarray:
        """(c,) variance of each column's outcome, the curvature of its loss at the prior."""
        prior = (self.weights * self.values).sum(0) / self.totals
        return np.maximum(prior * (1 - prior), 1e-4)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """float64 logits of the columns (n, c) -> probabilities (n, outputs). A row does not depend on the others."""
        if self.link == "sigmoid":
            return self.answer(0.5 * (1 + np.tanh(logits / 2)))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return self.answer(shifted / shifted.sum(axis=1, keepdims=True))

    def answer(self, probabilities: np.ndarray) -> np.ndarray:
        """(..., c) probabilities of the columns -> (..., outputs)."""
        full = np.empty((*probabilities.shape[:-1], len(self.constant)))
        full[...] = self.constant
        if len(self.learned) == 2 and probabilities.shape[-1] == 1:
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=-1)
        full[..., self.learned] = probabilities
        return full

    def notes(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Notes for the reader on outputs that could not be learned."""
        absent = np.setdiff1d(np.arange(len(outputs)), self.learned)
        return tuple(
            f"Nothing to learn about {outputs[output]!r} in training; predicted as {self.constant[output]:.4g}."
            for output in absent
        )


def _of_classes(labels: np.ndarray, outputs: int, class_weight: ClassWeight) -> Targets:
    present, position, counts = np.unique(labels, return_inverse=True, return_counts=True)
    one_hot = np.eye(len(present))[position]
    weight = np.ones(len(labels))
    if class_weight == "balanced":
        weight = (len(labels) / (len(present) * counts))[position]
    if len(present) == 2:
        return Targets("sigmoid", one_hot[:, 1:], weight[:, None], present, np.zeros(outputs))
    weights = np.repeat(weight[:, None], len(present), axis=1)
    return Targets("softmax", one_hot, weights, present, np.zeros(outputs))


def _of_findings(labels: np.ndarray, outputs: int, class_weight: ClassWeight) -> Targets:
    known = np.isfinite(labels)
    positives = (labels == 1).sum(0)
    negatives = known.sum(0) - positives
    learned = np.flatnonzero((positives > 0) & (negatives > 0))
    constant = (positives + 1) / (known.sum(0) + 2)
    values = np.nan_to_num(labels[:, learned].astype(np.float64))
    weights = known[:, learned].astype(np.float64)
    if class_weight == "balanced":
        half = (positives + negatives)[learned] / 2
        weights *= np.where(values == 1, half / positives[learned], half / negatives[learned])
    return Targets("sigmoid", values, weights, learned, constant)
