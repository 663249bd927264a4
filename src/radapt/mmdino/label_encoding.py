"""Classes and findings in one encoding: Q questions with A answers each, of which one is true.

c classes are one question with c answers; F findings are F questions with the answers yes and no. Every loss on labels
and on pseudo-labels is therefore written once. Shapes: B cases; (Q, A) is (1, c) for classes and (F, 2) for findings,
yes first.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from radapt.errors import UsageError, suggest

Kind = Literal["classes", "findings"]
"""`classes`: exactly one is true; logits (…, c) go through a softmax. `findings`: each may be true; logits (…, F) go
through a sigmoid each."""

KINDS: tuple[Kind, ...] = ("classes", "findings")


def log_chances(logits: Tensor, kind: Kind) -> Tensor:
    """Logits (…, outputs) -> log probabilities (…, Q, A) float32."""
    scores = logits.float()
    if check_kind(kind) == "classes":
        return torch.log_softmax(scores, dim=-1)[..., None, :]
    return torch.stack([logsigmoid(scores), logsigmoid(-scores)], dim=-1)


def truths(labels: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
    """Labels -> one-hot answers (B, Q, A) float32 and which questions are answered (B, Q) bool.

    `labels` are whole numbers (B,), class indices with -1 for unlabelled, or with one output 1, 0 and -1; or floats
    (B, F), findings with 1, 0 and NaN for unknown. Raises UsageError for other shapes and values (values are checked
    on a CPU only; elsewhere the check would make the program wait for the device).
    """
    if labels.is_floating_point():
        if labels.ndim != 2 or labels.shape[1] != outputs:
            raise UsageError(f"Expected findings (B, {outputs}), got labels {tuple(labels.shape)}.")
        known = ~labels.isnan()
        yes = labels.nan_to_num(0.0).float()
        if labels.device.type == "cpu" and not bool(((yes == 0) | (yes == 1)).all()):
            raise UsageError("A finding must be 1, 0 or NaN (unknown); other numbers were given.")
        return torch.stack([yes, 1 - yes], dim=-1), known  # (B, F, 2), (B, F)
    if labels.ndim != 1:
        raise UsageError(f"Expected class indices (B,), got labels {tuple(labels.shape)}.")
    classes = max(outputs, 2)  # one output: its classes are no (0) and yes (1)
    if labels.device.type == "cpu" and len(labels) and not (int(labels.min()) >= -1 and int(labels.max()) < classes):
        raise UsageError(f"Labels run from {int(labels.min())} to {int(labels.max())}; expected -1 to {classes - 1}.")
    known = labels >= 0
    answers = one_hot(labels.clamp(min=0).long(), classes).float()  # (B, c)
    return (answers.flip(1) if outputs == 1 else answers)[:, None], known[:, None]


def shares(labels: np.ndarray, outputs: int, *, pseudo_count: float = 1.0) -> np.ndarray:
    """float64 (outputs,): the share of each class or finding among the labelled cases of a cohort.

    `labels` (n,) class indices with -1 for unlabelled, or (n, F) findings with NaN for unknown, of the training cases.
    `pseudo_count` is added to the count of each answer (1: Laplace's rule of succession), so that no share is 0: a
    class without a training case may still occur. Without any label, equal shares.

    Raises UsageError for labels out of range or of another shape, and a pseudo-count that is not positive.
    """
    given = np.asarray(labels)
    if not pseudo_count > 0:
        raise UsageError(
            f"The pseudo-count must be positive, not {pseudo_count!r}: logits cannot be adjusted by a share of 0."
        )
    if given.ndim == 2 and given.shape[1] == outputs:
        positive, known = (given == 1).sum(0), np.isfinite(given).sum(0)
        return (positive + pseudo_count) / (known + 2 * pseudo_count)
    if given.ndim != 1 or (len(given) and (given.min() < -1 or given.max() >= outputs)):
        raise UsageError(f"Expected class indices (n,) from -1 to {outputs - 1}, or findings (n, {outputs}).")
    counts = np.bincount(given[given >= 0].astype(np.int64), minlength=outputs) + pseudo_count
    return counts / counts.sum()


def adjusted(logits: Tensor, shares: Tensor, kind: Kind = "classes", strength: float = 1.0) -> Tensor:
    """Logits (…, outputs) + strength · log of the prior odds that `shares` (outputs,) give each class or finding.

    Logit adjustment (Menon et al. 2021, with their default strength). A classifier trained with adjusted logits has
    unadjusted logits that rank classes as if all were equally frequent, which suits balanced accuracy and hospitals
    with other frequencies, and rare classes are not ignored. The adjusted logits are the prediction for patients like
    the cohort's. Shares are the cohort's, never a batch's. Strength 0 changes nothing. Returns float32.

    Raises UsageError unless there is a share strictly between 0 and 1 for each output.
    """
    if shares.shape != logits.shape[-1:] or not bool(((shares > 0) & (shares < 1)).all()):
        raise UsageError(
            f"Expected a share between 0 and 1 for each of {logits.shape[-1]} outputs, got {shares.tolist()}."
        )
    prior = shares.to(logits.device, torch.float32)
    return logits.float() + strength * (prior.log() if check_kind(kind) == "classes" else torch.logit(prior))


def check_kind(kind: Kind) -> Kind:
    """`kind`. Raises UsageError for an unknown one."""
    if kind not in KINDS:
        raise UsageError(f"There is no kind of labels {kind!r}. {suggest(kind, KINDS)}")
    return kind
