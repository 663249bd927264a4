"""kNN classifiers: DINO's weighted vote for classes, ML-kNN for findings; every k from one search.

Counts for all k are cumulative sums over neighbours in order of similarity, read off at each k.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from radapt.probes.neighbours import Gallery

SMOOTHING = 1.0
"""s of Zhang & Zhou 2007: Laplace smoothing of priors and likelihoods."""

_BLOCK_VALUES = 4 << 20


def class_votes(
    gallery: Gallery, labels: np.ndarray, classes: int, queries: np.ndarray, ks: Sequence[int], temperature: float
) -> np.ndarray:
    """Probabilities (|ks|, n, classes): the k nearest vote for their class with weight exp(similarity / temperature).

    Caron et al. 2021 (DINO, knn_classifier), where the temperature is 0.07. `labels` (gallery,) class indices.
    """
    voted = one_hot(torch.from_numpy(labels), classes).double()  # (gallery, C)
    out = np.empty((len(ks), len(queries), classes))
    at = torch.tensor(ks) - 1
    for place, similarity, index in gallery.nearest(queries, max(ks)):
        # Dividing all weights of a case by its largest changes no share and keeps small temperatures finite.
        weight = ((similarity - similarity[:, :1]) / temperature).exp()  # (q, k)
        total = weight.cumsum(1)[:, at]
        for c in range(classes):
            share = (weight * voted[index, c]).cumsum(1)[:, at] / total
            out[:, place, c] = share.T.numpy()
    return out


@dataclass(frozen=True)
class FindingTables:
    """ML-kNN (Zhang & Zhou, Pattern Recognition 2007) for F findings and every k.

    For a case, j counts its k nearest training cases that have the finding; one whose finding is unknown is
    among the k but not counted. `likelihood` holds P(j | finding present) and P(j | absent) from training cases
    with the finding known, each counted among the training cases of other patients (the paper has one case
    per patient, and leaves out the case itself). `prior` is P(present).
    """

    gallery: Gallery
    present: Tensor  # (n, F) bool
    prior: Tensor  # (F,)
    likelihood: Tensor  # (2, |ks|, F, k_max + 1): absent, present
    ks: tuple[int, ...]

    @classmethod
    def fit(cls, gallery: Gallery, findings: np.ndarray, ks: Sequence[int]) -> "FindingTables":
        """`findings` (gallery, F) of 1, 0 and NaN."""
        known = torch.from_numpy(np.isfinite(findings))
        present = torch.from_numpy(findings == 1)
        prior = (SMOOTHING + present.double().sum(0)) / (2 * SMOOTHING + known.sum(0))
        most, f = max(ks), findings.shape[1]
        shape = (2, len(ks), f, most + 1)
        cell = torch.arange(len(ks) * f).view(len(ks), 1, f) * (most + 1)
        histogram = torch.zeros(2 * len(ks) * f * (most + 1), dtype=torch.float64)
        for place, similarity, index in gallery.nearest_others(most):
            counts = _count(present, similarity, index, ks)  # (|ks|, q, F)
            slot = present[place] * (len(ks) * f * (most + 1)) + cell + counts
            histogram += torch.bincount(slot[:, known[place]].flatten(), minlength=len(histogram))
        histogram = histogram.view(shape)
        possible = torch.tensor(ks)[:, None, None] + 1  # j can be 0 … k
        likelihood = (SMOOTHING + histogram) / (SMOOTHING * possible + histogram.sum(-1, keepdim=True))
        return cls(gallery, present, prior, likelihood, tuple(ks))

    def predict(self, queries: np.ndarray) -> np.ndarray:
        """Probabilities (|ks|, n, F)."""
        out = np.empty((len(self.ks), len(queries), len(self.prior)))
        for place, similarity, index in self.gallery.nearest(queries, max(self.ks)):
            counts = _count(self.present, similarity, index, self.ks).transpose(1, 2)  # (|ks|, F, q)
            absent, present = self.likelihood.gather(3, counts.expand(2, *counts.shape)).transpose(2, 3)
            yes = self.prior * present
            out[:, place] = (yes / (yes + (1 - self.prior) * absent)).numpy()
        return out


def _count(present: Tensor, similarity: Tensor, index: Tensor, ks: Sequence[int]) -> Tensor:
    """How many of the first k neighbours have each finding: (n, F), (q, k), (q, k) -> (|ks|, q, F) int64."""
    at = torch.tensor(ks) - 1
    real = similarity > -torch.inf
    step = max(1, _BLOCK_VALUES // (index.shape[1] * present.shape[1]))
    parts = [
        (present[index[i : i + step]] & real[i : i + step, :, None]).cumsum(1, dtype=torch.int16)[:, at]
        for i in range(0, len(index), step)
    ]
    return torch.cat(parts).transpose(0, 1).long()
