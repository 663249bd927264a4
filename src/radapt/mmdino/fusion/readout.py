"""The readout of a fusion: from the tokens inside the predicted lesion of each sequence to an answer.

Masks teach the network patch by patch where the lesion is, which takes few patients. What a patient has is one answer
for each of them, and of a hundred answers a converged, penalised regression learns more than a network does
(docs/adaptation.md). So each sequence has an expert, a logistic regression on the mean of its tokens inside the lesion,
and one more joins what the experts say of cases that they did not learn from: stacked generalisation (Wolpert, Neural
Networks 1992;5:241). A sequence that is missing says nothing.

n cases; M sequences, P patches and one CLS token of each, D numbers in a token; K outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from radapt.mmdino.fusion.token_network import FusionShape
from radapt.mmdino.label_encoding import Kind
from radapt.mmdino.regression import log_loss, solved
from radapt.protocols.choice import InnerFolds

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths of the penalty that an expert chooses among, on standardised tokens."""

JOINED = (1e-3, 1e-2, 1e-1, 1.0)
"""The same of the regression that joins experts."""

OUTSIDE = 1e-3
"""Weight of a patch without any lesion, relative to one full of it, so that a mean is defined without a lesion too."""


class Readout(nn.Module):
    """Logits of cases from the vectors of their sequences. All are 0, equal chances, until it is fitted."""

    weight: Tensor
    bias: Tensor
    offset: Tensor

    def __init__(self, shape: FusionShape) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(shape.sequences, shape.outputs, shape.token, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(shape.sequences, shape.outputs, dtype=torch.float64))
        self.register_buffer("offset", torch.zeros(shape.outputs, dtype=torch.float64))

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """float64 (K,) of one case: `vectors` (M, D) float64, of which those `present` (M,) are read."""
        each = (self.weight @ vectors[..., None])[..., 0] + self.bias  # (M, K)
        return self.offset + torch.where(present[:, None], each, 0.0).sum(0)

    def take(self, fitted: "FittedReadout") -> None:
        """Become what was fitted."""
        for name in ("weight", "bias", "offset"):
            getattr(self, name).copy_(torch.from_numpy(getattr(fitted, name)))


def lesion_vectors(tokens: Tensor, lesions: Tensor, visible: Tensor) -> Tensor:
    """float64 (M, D) of one case: the mean over slices and patches of its patch tokens (B, M, 1 + P, D), weighted by
    the `lesions` (B, M, P) predicted there, in [0, 1], in the mean over the sequences that are `visible` (M,); 0 for
    those that are not. Without lesion labels, `lesions` of 0, all patches weigh alike."""
    patches = tokens[:, visible, 1:].double()
    weights = lesions[:, visible].double().mean(1) + OUTSIDE  # (B, P)
    vectors = tokens.new_zeros(tokens.shape[1], tokens.shape[-1], dtype=torch.float64)
    vectors[visible] = torch.einsum("bp,bmpd->md", weights, patches) / weights.sum()
    return vectors


@dataclass(frozen=True, eq=False)
class FittedReadout:
    """See `Readout`. `strengths` (M, questions): of each expert; NaN where there was nothing to learn from."""

    weight: np.ndarray
    bias: np.ndarray
    offset: np.ndarray
    strengths: np.ndarray


def fit_readout(
    vectors: np.ndarray, present: np.ndarray, targets: np.ndarray, folds: InnerFolds, kind: Kind, outputs: int
) -> FittedReadout:
    """Fit to the cases of a cohort of N that `folds` hold: `vectors` (N, M, D), `present` (N, M), `targets` (N,) of
    classes or (N, F) of findings with NaN. Penalties are chosen by the log loss of the inner folds, with classes (or
    the answers of a finding) weighted as if equally frequent. A sequence of which some fold has one class only has no
    say.
    """
    sequences, width = vectors.shape[1:]
    found = FittedReadout(
        np.zeros((sequences, outputs, width)), np.zeros((sequences, outputs)), np.zeros(outputs),
        np.full((sequences, 1 if kind == "classes" else outputs), np.nan),
    )  # fmt: skip
    pairs = [(fold.train, np.intersect1d(fold.held_out, folds.rows)) for fold in folds.repeats[0]]
    questions = (
        [(targets, slice(None))] if kind == "classes" else [(t, slice(f, f + 1)) for f, t in enumerate(targets.T)]
    )
    for number, (answers, own) in enumerate(questions):
        known = np.isin(np.arange(len(answers)), folds.rows) & (answers >= 0)  # also False for NaN
        labels = np.where(known, np.nan_to_num(answers), 0).astype(np.int64)
        said = np.zeros((len(labels), sequences, outputs if kind == "classes" else 1))
        experts: dict[int, _Linear] = {}
        for place in range(sequences):
            has = known & present[:, place]
            expert = _chosen(vectors[:, place], labels, has, pairs, STRENGTHS, said.shape[2])
            if expert is not None:
                experts[place], said[:, place] = expert.linear, np.where(has[:, None], expert.held_out, 0.0)
                found.strengths[place, number] = expert.strength
        spoken = known & present[:, list(experts)].any(axis=1)
        joined = _chosen(said.reshape(len(said), -1), labels, spoken, pairs, JOINED, said.shape[2]) if experts else None
        if joined is None:
            continue
        mixing = joined.linear.weight.reshape(-1, sequences, said.shape[2])  # (K, M, K)
        for place, linear in experts.items():
            found.weight[place, own] = mixing[:, place] @ linear.weight
            found.bias[place, own] = mixing[:, place] @ linear.bias
        found.offset[own] = joined.linear.bias
    return found


@dataclass(frozen=True, eq=False)
class _Linear:
    weight: np.ndarray  # (K, D)
    bias: np.ndarray  # (K,)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weight.T + self.bias


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The regression at the best strength, and what it says (N, K) of cases when it has not learned from them."""

    linear: _Linear
    held_out: np.ndarray
    strength: float


def _chosen(
    x: np.ndarray, labels: np.ndarray, usable: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]],
    strengths: Sequence[float], outputs: int,
) -> _Chosen | None:  # fmt: skip
    """The best of `strengths` by log loss on `x` (N, D); None where some fold has not two classes to learn from."""
    pairs = [(train[usable[train]], held[usable[held]]) for train, held in folds]
    if any(len(np.unique(labels[train])) < 2 for train, _ in pairs):
        return None
    rows = np.flatnonzero(usable)
    weights = _balance(labels[rows])
    losses, answers = [], []
    for strength in strengths:
        said = np.zeros((len(x), outputs))
        for train, held in pairs:
            said[held] = _regression(x, labels, train, strength, outputs)(x[held])
        losses.append(log_loss(said[rows], labels[rows], weights))
        answers.append(said)
    best = int(np.argmin(losses))
    return _Chosen(_regression(x, labels, rows, strengths[best], outputs), answers[best], strengths[best])


def _regression(x: np.ndarray, labels: np.ndarray, rows: np.ndarray, strength: float, outputs: int) -> _Linear:
    """Of columns that are standardised within `rows`, with classes weighted alike."""
    mean, deviation = x[rows].mean(0), x[rows].std(0)
    deviation = np.where(deviation > 1e-9, deviation, 1.0)
    equal = np.full(outputs, 1 / max(outputs, 2))
    weights = _balance(labels[rows])
    weight, bias = solved((x[rows] - mean) / deviation, labels[rows], weights, strength, outputs, equal)
    weight = weight / deviation
    return _Linear(weight, bias - weight @ mean)


def _balance(labels: np.ndarray) -> np.ndarray:
    """Weights (n,) with a mean of 1, whose sum is the same for each class."""
    counts = np.bincount(labels)
    return np.asarray(len(labels) / (np.count_nonzero(counts) * counts[labels]))
