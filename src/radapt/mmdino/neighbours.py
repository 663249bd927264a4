"""How well labels of other patients tell a sample's own: the quickest question one can ask of features."""

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from radapt.errors import UsageError

NEIGHBOURS = 5


def knn_accuracy(features: Tensor, labels: Tensor, patients: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Balanced accuracy of the nearest neighbours by cosine among other patients, leaving out one patient at a time.

    `features` (n, D); `labels` (n,) of classes, -1 unknown, or (n, F) of findings, 0 or 1, NaN unknown; `patients` (n,)
    int64, equal for samples of one patient. At most `neighbours` labelled samples of others vote, each by its
    similarity; fewer where there are fewer. A class counts as much as any other, so that chance is 1 / classes whatever
    their sizes; findings are so many questions of two classes, whose accuracies are averaged. NaN where no question
    has two classes or no sample has a labelled one of another patient. Features that are not finite count as zero.

    Raises UsageError for lengths that do not fit.
    """
    if not len(features) == len(labels) == len(patients):
        raise UsageError(f"{len(features)} features, {len(labels)} labels and {len(patients)} patients do not fit.")
    asked = _questions(labels)  # (Q, n)
    if not asked.numel() or int(asked.max()) < 0:
        return float("nan")
    votes = _votes(features, asked, patients, neighbours)  # (Q, n, A)
    answered = (votes.sum(-1) > 0) & (asked >= 0)
    right = (votes.argmax(-1) == asked) & answered
    truth = one_hot(asked.clamp(min=0), votes.shape[-1]) * answered[..., None]  # (Q, n, A)
    counts = truth.sum(1)  # (Q, A)
    recalls = (truth * right[..., None]).sum(1) / counts.clamp(min=1)
    known = counts > 0
    open_ = known.sum(1) > 1  # questions with a choice
    if not bool(open_.any()):
        return float("nan")
    return float(((recalls * known).sum(1) / known.sum(1).clamp(min=1))[open_].mean())


def chance(labels: Tensor) -> float:
    """The balanced accuracy of guessing, by the classes that occur; 0.5 for findings. NaN without a choice."""
    if labels.ndim == 2:
        return 0.5
    classes = len(labels[labels >= 0].unique())
    return 1 / classes if classes > 1 else float("nan")


def _questions(labels: Tensor) -> Tensor:
    """int64 (Q, n) of answers from 0, -1 unknown: one question for classes, one per finding."""
    if labels.ndim == 1:
        return labels.long()[None]
    return torch.where(labels.isfinite(), labels, -1.0).long().T


def _votes(features: Tensor, asked: Tensor, patients: Tensor, neighbours: int) -> Tensor:
    """(Q, n, A): what others say of each sample, in weights."""
    unit = normalize(torch.nan_to_num(features.float(), 0.0, 0.0, 0.0), dim=1)
    similar = 1 + unit @ unit.T  # (n, n), from 0 to 2
    own = patients[:, None] == patients
    usable = ~own & (asked >= 0)[:, None]  # (Q, n, n): whose labels may speak
    weights, chosen = torch.where(usable, similar, -1.0).topk(min(neighbours, len(features)), dim=2)
    said = asked[:, None].expand(-1, len(features), -1).gather(2, chosen)  # (Q, n, k)
    spoken = one_hot(said.clamp(min=0), max(int(asked.max()) + 1, 2))
    # A tiny weight even for the opposite direction: it is a vote all the same.
    return (spoken * (weights.clamp(min=1e-6) * (weights >= 0))[..., None]).sum(2)
