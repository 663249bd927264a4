"""The classifier that is deployed, fitted to vectors of cases: logistic regression, its strength chosen on val."""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from radapt.mmdino.inference import LinearClassifier
from radapt.mmdino.label_encoding import Kind
from radapt.training.fit_record import Candidate

STRENGTHS = np.logspace(-6, 2, 17)
"""Inverse strengths of the penalty to choose among, on standardised vectors. The published grid has 45 from 1e-6 to
1e5; beyond 100 a few dozen patients are learned by heart."""


@dataclass(frozen=True)
class ClassifierChoice:
    """What a classifier was chosen among: candidates of `strength` and `read`, and which was taken."""

    candidates: tuple[Candidate, ...]
    chosen: int

    @property
    def winner(self) -> Candidate:
        return self.candidates[self.chosen]


def fit_logistic(
    vectors: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    held_out: np.ndarray,
    kind: Kind,
    prior: np.ndarray,
    blocks: Mapping[str, int] | None = None,
) -> tuple[LinearClassifier, ClassifierChoice]:
    """Fit on the rows that are not `held_out` (n,) bool, choose by the log loss of those that are, and fit no more.

    `vectors` (n, D); `targets` (n,) class indices, or (n, F) findings with NaN; `weights` (n,) of each row; `prior`
    (outputs,). A class or finding that training has one answer of only gets that answer by its prior. Without anything
    held out the strength 1, scikit-learn's default, is taken. Returns what was chosen, too.

    `blocks` are how many columns of a vector belong together, by name and in order. The penalty then weighs blocks
    alike and not columns: a few numbers that say how much was marked are not drowned by hundreds of a token. With
    several, what is held out also chooses what is read: all, the first block (the CLS token, as published), or the
    amounts alone, as few labels may not suffice for more. Where the loss is the same, the first of these is taken.
    """
    blocks = blocks or {"CLS": vectors.shape[1]}
    mean, deviation = _scale(vectors[~held_out])
    x = (vectors - mean) / deviation
    found = [
        _path(x * _share(blocks, names), targets, weights, held_out, kind, prior)
        for names in (_readings(blocks) if held_out.any() else [tuple(blocks)])
    ]
    losses = np.asarray([loss for _, loss in found])  # (readings, strengths)
    usual = int(np.argmin(np.abs(np.log(STRENGTHS))))
    reading, best = np.unravel_index(int(np.argmin(losses)), losses.shape) if held_out.any() else (0, usual)
    names = _readings(blocks)[reading]
    weight, bias = found[reading][0][best]
    weight = weight * _share(blocks, names) / deviation
    choice = _choice(blocks, losses, int(reading), int(best), chose=bool(held_out.any()))
    return LinearClassifier(kind, weight, bias - weight @ mean, prior), choice


def _choice(blocks: Mapping[str, int], losses: np.ndarray, reading: int, best: int, *, chose: bool) -> ClassifierChoice:
    """`losses` (readings, strengths). Without a choice the one candidate is what was taken."""
    offers = [(names, strength) for names in _readings(blocks) for strength in STRENGTHS]
    options = [{"strength": float(strength), "read": list(names)} for names, strength in offers]
    chosen = reading * len(STRENGTHS) + best
    if not chose:
        return ClassifierChoice((Candidate(options[chosen]),), 0)
    pairs = zip(options, losses.ravel(), strict=True)
    return ClassifierChoice(tuple(Candidate(option, {"log_loss": float(loss)}) for option, loss in pairs), chosen)


def _readings(blocks: Mapping[str, int]) -> list[tuple[str, ...]]:
    """What may be read of a vector."""
    names = tuple(blocks)
    amounts = tuple(name for name in names if name.startswith("amounts"))
    return [names, names[:1], amounts] if amounts else [names]


def _share(blocks: Mapping[str, int], names: Collection[str]) -> np.ndarray:
    """(D,): what each column is multiplied by: 0 if it is not read, and so that all that are read keep together the
    variance of their number, and blocks have equal parts of it."""
    columns = sum(blocks[name] for name in names)
    each = {name: np.sqrt(columns / (len(names) * blocks[name])) if name in names else 0.0 for name in blocks}
    return np.repeat([each[name] for name in blocks], list(blocks.values()))


def _path(
    x: np.ndarray, targets: np.ndarray, weights: np.ndarray, held_out: np.ndarray, kind: Kind, prior: np.ndarray
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Weight (outputs, D) and bias (outputs,) at each strength, and their losses on what is held out."""
    columns = [targets] if kind == "classes" else list(targets.T)
    losses = np.zeros(len(STRENGTHS))
    fitted: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in STRENGTHS]
    for number, column in enumerate(columns):
        known = column >= 0  # also False for NaN
        outputs = len(prior) if kind == "classes" else 1
        fit, val = known & ~held_out, known & held_out
        for place, strength in enumerate(STRENGTHS):
            weight, bias = solved(x[fit], column[fit].astype(int), weights[fit], strength, outputs,
                                   prior if kind == "classes" else prior[number : number + 1])  # fmt: skip
            losses[place] += log_loss(x[val] @ weight.T + bias, column[val].astype(int), weights[val])
            fitted[place].append((weight, bias))
    return [(np.concatenate([w for w, _ in each]), np.concatenate([b for _, b in each])) for each in fitted], losses


def _scale(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns that vary by less than a ten-thousandth of their mean keep their scale: that may be rounding."""
    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    return mean, np.where(deviation > 1e-4 * np.abs(mean), deviation, 1.0)


def solved(
    x: np.ndarray, target: np.ndarray, weights: np.ndarray, strength: float, outputs: int, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight (outputs, D) and bias (outputs,) of the regression of one question on x (n, D), at one inverse `strength`
    of the penalty; a class without a row is next to impossible. `prior` (outputs,) is given for one answer only."""
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


def log_loss(logits: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean over cases, of logits (n, classes), or (n, 1) of yes against no; 0 without a case."""
    if not len(target):
        return 0.0
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return float(-(logs[np.arange(len(target)), target] * weights).sum() / weights.sum())
