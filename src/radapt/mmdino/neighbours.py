"""kNN accuracy between patients: a quick measure of how well features separate labels."""

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from radapt.errors import UsageError

NEIGHBOURS = 5


def knn_accuracy(features: Tensor, labels: Tensor, patients: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Balanced accuracy of a kNN classifier by cosine similarity, leaving out one patient at a time.

    `features` (n, D); `labels` (n,) of classes, -1 unknown, or (n, F) of findings, 0 or 1, NaN unknown; `patients` (n,)
    int64, equal for samples of one patient. The `neighbours` nearest labelled samples of other patients vote, weighted
    by similarity; fewer where there are fewer. All classes count equally, so that chance level is 1 / classes whatever
    their sizes; the accuracies of findings are averaged. NaN where no label has two classes or no sample has a labelled
    sample of another patient. Features that are not finite count as zero.

    Raises UsageError for lengths that do not fit.
    """
    if not len(features) == len(labels) == len(patients):
        raise UsageError(f"{len(features)} features, {len(labels)} labels and {len(patients)} patients do not fit.")
    truths = _questions(labels)  # (Q, n)
    if not truths.numel() or int(truths.max()) < 0:
        return float("nan")
    votes = _votes(features, truths, patients, neighbours)  # (Q, n, A)
    scored = (votes.sum(-1) > 0) & (truths >= 0)
    correct = (votes.argmax(-1) == truths) & scored
    truth = one_hot(truths.clamp(min=0), votes.shape[-1]) * scored[..., None]  # (Q, n, A)
    counts = truth.sum(1)  # (Q, A)
    recalls = (truth * correct[..., None]).sum(1) / counts.clamp(min=1)
    occurs = counts > 0
    defined = occurs.sum(1) > 1  # questions with two classes or more
    if not bool(defined.any()):
        return float("nan")
    return float(((recalls * occurs).sum(1) / occurs.sum(1).clamp(min=1))[defined].mean())


def chance(labels: Tensor) -> float:
    """Balanced accuracy at chance level for the classes that occur; 0.5 for findings. NaN with fewer than two
    classes."""
    if labels.ndim == 2:
        return 0.5
    classes = len(labels[labels >= 0].unique())
    return 1 / classes if classes > 1 else float("nan")


def _questions(labels: Tensor) -> Tensor:
    """int64 (Q, n) of answers from 0, -1 unknown: one question for classes, one per finding."""
    if labels.ndim == 1:
        return labels.long()[None]
    return torch.where(labels.isfinite(), labels, -1.0).long().T


def _votes(features: Tensor, truths: Tensor, patients: Tensor, neighbours: int) -> Tensor:
    """(Q, n, A): the summed weights of the votes for each answer."""
    unit = normalize(torch.nan_to_num(features.float(), 0.0, 0.0, 0.0), dim=1)
    similarity = 1 + unit @ unit.T  # (n, n), from 0 to 2
    same_patient = patients[:, None] == patients
    allowed = ~same_patient & (truths >= 0)[:, None]  # (Q, n, n)
    weights, chosen = torch.where(allowed, similarity, -1.0).topk(min(neighbours, len(features)), dim=2)
    labels = truths[:, None].expand(-1, len(features), -1).gather(2, chosen)  # (Q, n, k)
    votes = one_hot(labels.clamp(min=0), max(int(truths.max()) + 1, 2))
    # A neighbour in the opposite direction has a tiny weight, and still a vote.
    return (votes * (weights.clamp(min=1e-6) * (weights >= 0))[..., None]).sum(2)
