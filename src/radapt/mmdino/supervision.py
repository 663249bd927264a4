"""The supervised loss, in batches in which most cases have no label."""

from torch import Tensor

from radapt.errors import UsageError
from radapt.mmdino.centring import check_temperature
from radapt.mmdino.label_encoding import log_chances, truths

LABEL_SMOOTHING = 0.1
"""MM-DINOv2 (after Szegedy et al. 2016)."""

PROTOTYPE_TEMPERATURE = 0.1
"""MM-DINOv2: the temperature of its student."""


def supervised_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    weights: Tensor | None = None,
    smoothing: float = LABEL_SMOOTHING,
    share: float = 1.0,
) -> Tensor:
    """Cross-entropy over the labelled cases of a batch; () float32, their sum / (B · share).

    B cases; `logits` (B, outputs), or (S, B, outputs) of S crops, over which it averages. `labels`: class indices int64
    (B,) with -1 for unlabelled, for a softmax (with one output 1, 0 and -1, for a sigmoid); or findings float (B, F)
    with NaN for unknown, for F sigmoids, over which it averages. For class imbalance, give logits that are
    `label_encoding.adjusted` by the cohort's shares.

    `share` is the labelled share of the training cases, a constant: the loss then averages to that of the labelled
    cases over many batches, and stays a plain sum over cases, so that gradient accumulation changes nothing. With 1,
    unlabelled cases count as zero: the loss times the labelled share of the batch.

    `weights` (c,) multiply the loss of each class, as published, including the part of the target that smoothing gives
    to other classes. `smoothing` takes this share from each target and spreads it over all answers.

    Without a label in the batch: exactly 0, with zero gradients. With one labelled class: finite, and minimal at the
    smoothed target. Raises UsageError for labels and shapes that do not fit and numbers out of range.
    """
    crops = logits if logits.ndim == 3 else logits[None]  # (S, B, outputs)
    if crops.ndim != 3 or not crops.shape[0] or not crops.shape[1] or crops.shape[1] != len(labels):
        raise UsageError(
            f"Logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not fit: expected (B, outputs) or "
            "(S, B, outputs), and (B,) or (B, outputs), of at least one case."
        )
    if not 0 <= smoothing < 1 or not 0 < share <= 1:
        raise UsageError(f"Smoothing must be in [0, 1) and share in (0, 1], not {smoothing!r} and {share!r}.")
    answers, known = truths(labels.to(crops.device), crops.shape[2])  # (B, Q, A), (B, Q)
    answers = answers * (1 - smoothing) + smoothing / answers.shape[2]
    if weights is not None:
        answers = _weighted(answers, weights)
    findings = labels.is_floating_point() or crops.shape[2] == 1
    logs = log_chances(crops, "findings" if findings else "classes").mean(0)  # (S, B, Q, A) -> (B, Q, A)
    crossed = -(answers * logs).sum(2)  # (B, Q)
    return (crossed * known).mean() / share


def prototype_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = PROTOTYPE_TEMPERATURE,
    weights: Tensor | None = None,
    smoothing: float = LABEL_SMOOTHING,
) -> Tensor:
    """The published loss, for a projection head whose prototypes are the classes; () float32.

    `logits` (S, B, K) are the student's for all its crops, without temperature. MM-DINOv2 multiplies the mean over
    labelled cases by the labelled share of the batch and by 0.5. This includes the share (unlabelled cases count as
    zero) and not the 0.5. The published `weights` are those of the batch, in which an absent class outweighs all
    others; `share_weights` applies the same formula to the cohort. Everything else as in `supervised_loss`.
    """
    check_temperature(temperature)
    return supervised_loss(logits.float() / temperature, labels, weights=weights, smoothing=smoothing)


def share_weights(shares: Tensor) -> Tensor:
    """Class weights (c,) float32 from the cohort's `shares` (c,): −log of each, the published formula on all patients.

    Unlike those of a batch, they are the same in every step, and bounded with `label_encoding.shares`.
    """
    return -shares.float().log()


def _weighted(answers: Tensor, weights: Tensor) -> Tensor:
    if answers.shape[1] != 1 or weights.shape != answers.shape[2:]:
        raise UsageError(f"Expected a weight for each of {answers.shape[2]} classes, got {tuple(weights.shape)}.")
    return answers * weights.to(answers)
