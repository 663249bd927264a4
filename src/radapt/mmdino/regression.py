"""The classifier that is deployed, fitted to vectors of cases: logistic regression, its strength chosen on val."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from radapt.mmdino.answers import LinearAnswer
from radapt.mmdino.questions import Kind

STRENGTHS = np.logspace(-6, 2, 17)
"""Inverse strengths of the penalty to choose among, on standardised vectors. The published grid has 45 from 1e-6 to
1e5; beyond 100 a few dozen patients are learned by heart."""


def fit_logistic(
    vectors: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    held_out: np.ndarray,
    kind: Kind,
    prior: np.ndarray,
    blocks: Sequence[int] = (),
) -> tuple[LinearAnswer, dict[str, Any]]:
    """Fit on the rows that are not `held_out` (n,) bool, choose by the log loss of those that are, and fit no more.

    `vectors` (n, D); `targets` (n,) class indices, or (n, F) findings with NaN; `weights` (n,) of each row; `prior`
    (outputs,). A class or finding that training has one answer of only gets that answer by its prior. Without anything
    held out the strength 1, scikit-learn's default, is taken. Returns what was chosen, too.

    `blocks` are how many columns of a vector belong together, in order. The penalty then weighs blocks alike and not
    columns: a few numbers that say how much was marked are not drowned by hundreds of a token.
    """
    mean, deviation = _scale(vectors[~held_out])
    if blocks:  # columns of a block have a variance of W / (blocks · size), so that all together keep that of W columns
        deviation = deviation * np.repeat(np.sqrt(np.multiply(blocks, len(blocks)) / sum(blocks)), blocks)
    x = (vectors - mean) / deviation
    columns = [targets] if kind == "classes" else list(targets.T)
    losses = np.zeros(len(STRENGTHS))
    fitted: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in STRENGTHS]
    for number, column in enumerate(columns):
        known = column >= 0  # also False for NaN
        outputs = len(prior) if kind == "classes" else 1
        fit, val = known & ~held_out, known & held_out
        for place, strength in enumerate(STRENGTHS):
            weight, bias = _fitted(x[fit], column[fit].astype(int), weights[fit], strength, outputs,
                                   prior if kind == "classes" else prior[number : number + 1])  # fmt: skip
            losses[place] += _log_loss(x[val] @ weight.T + bias, column[val].astype(int), weights[val])
            fitted[place].append((weight, bias))
    best = int(np.argmin(losses)) if held_out.any() else int(np.argmin(np.abs(np.log(STRENGTHS))))
    weight = np.concatenate([each for each, _ in fitted[best]]) / deviation
    bias = np.concatenate([each for _, each in fitted[best]]) - weight @ mean
    chosen = {"strength": float(STRENGTHS[best]), "held_out": int(held_out.sum()), "log_loss": float(losses[best])}
    return LinearAnswer(kind, weight, bias, prior), chosen


def _scale(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns that vary by less than a ten-thousandth of their mean keep their scale: that may be rounding."""
    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    return mean, np.where(deviation > 1e-4 * np.abs(mean), deviation, 1.0)


def _fitted(
    x: np.ndarray, target: np.ndarray, weights: np.ndarray, strength: float, outputs: int, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight (outputs, D) and bias (outputs,) of one question."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    known = np.unique(target)
    odds = np.log(prior) if outputs > 1 else np.log(prior / (1 - prior))
    if len(known) < 2:
        return np.zeros((outputs, x.shape[1])), odds
    model = LogisticRegression(C=strength, max_iter=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, target, sample_weight=weights)
    if outputs == 1:
        return model.coef_, model.intercept_
    weight, bias = np.zeros((outputs, x.shape[1])), odds - 10.0  # classes that training lacks: next to impossible
    if len(known) == 2:  # scikit-learn keeps the difference of two classes only
        weight[known[0]], weight[known[1]] = -model.coef_[0] / 2, model.coef_[0] / 2
        bias[known[0]], bias[known[1]] = -model.intercept_[0] / 2, model.intercept_[0] / 2
    else:
        weight[known], bias[known] = model.coef_, model.intercept_
    return weight, bias


def _log_loss(logits: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    if not len(target):
        return 0.0
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return float(-(logs[np.arange(len(target)), target] * weights).sum() / weights.sum())
