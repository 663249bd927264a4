"""The segmentation loss: soft Dice plus cross-entropy, per sample."""

from collections.abc import Sequence

import torch
from torch import Tensor

from radapt.errors import UsageError

SMOOTH_PX = 1.0
"""Added to numerator and denominator of the Dice: one pixel, so that a sample without a label has a Dice of
1 / (1 + false positives) instead of 0 / 0, and a lesion of a dozen pixels still dominates its own score."""


def dice_ce(
    logits: Tensor,
    labels: Tensor,
    ignore: int | None = None,
    *,
    weights: Tensor | None = None,
    dice_share: float = 0.5,
    smooth_px: float = SMOOTH_PX,
) -> Tensor:
    """Twice the mean, weighted by `dice_share`, of a soft Dice loss and a cross-entropy; () float32.

    `logits` (B, K, *S) of K - 1 labels and the background, `labels` (B, *S) int64 in 0…K - 1, 0 the background, or
    `ignore` where the label is unknown. Both terms are means over samples, so that micro-batches accumulate to the
    gradient of the whole batch. With the default share the loss is Dice loss + cross-entropy, as in nnU-Net and in
    MONAI's DiceCELoss.

    Dice (Milletari et al. 2016, with plain sums below): per sample and label, over softmax probabilities,
    without the background. A label that is absent from a sample counts: its Dice is
    smooth / (predicted pixels + smooth), 1 where nothing is predicted. A batch of empty masks thus has a finite loss,
    which false positives raise.

    Cross-entropy: the mean over a sample's labelled pixels, each times the weight of its class. `weights` (K,) correct
    class imbalance; give those of the training set (`balanced_weights`), never those of the batch, where a label that
    happens to be rare would get a huge weight. A sample without labelled pixels adds zero.

    Raises UsageError for shapes that do not fit, labels outside 0…K - 1 (checked on a CPU only, as the check would
    stall a GPU), and a share outside [0, 1].
    """
    _check(logits, labels, ignore, weights, dice_share)
    classes = logits.shape[1]
    scores = logits.flatten(2).float()  # (B, K, *S) -> (B, K, N); half precision cannot sum so many numbers
    truth = labels.flatten(1)  # (B, *S) -> (B, N)
    known = None if ignore is None else truth != ignore
    if known is not None:
        truth = truth.where(known, 0)
    logs = torch.log_softmax(scores, dim=1)
    entropy = -logs.gather(1, truth[:, None])[:, 0]  # (B, N)
    if weights is not None:
        entropy = entropy * weights.to(entropy)[truth]
    one_hot = (truth[:, None] == torch.arange(classes, device=truth.device)[:, None]).to(logs.dtype)  # (B, K, N)
    probabilities = logs.exp()
    if known is None:
        cross_entropy = entropy.mean(1)
    else:
        cross_entropy = (entropy * known).sum(1) / known.sum(1).clamp(min=1)
        one_hot, probabilities = one_hot * known[:, None], probabilities * known[:, None]
    overlap = (probabilities * one_hot).sum(2)[:, 1:]  # (B, K - 1)
    sizes = probabilities.sum(2)[:, 1:] + one_hot.sum(2)[:, 1:]
    dice = (2 * overlap + smooth_px) / (sizes + smooth_px)
    return 2 * (dice_share * (1 - dice).mean() + (1 - dice_share) * cross_entropy.mean())


def balanced_weights(pixels: Sequence[int], strongest: float = 10.0) -> Tensor:
    """Class weights (K,) for the cross-entropy: inverse square roots of the training set's `pixels` of each label.

    The mean weight of a training pixel is 1. The square root is the usual compromise (Mahajan et al. 2018): with plain
    inverses a lesion of a few pixels would outweigh everything else. No label weighs more than `strongest` times the
    lightest one; a label that training lacks weighs as much as the heaviest, as it cannot be learned.
    """
    counts = torch.as_tensor(list(pixels), dtype=torch.float64)
    if not counts.sum():
        return torch.ones(len(counts))
    raw = counts.clamp(min=1).rsqrt()
    raw = raw.clamp(max=strongest * raw[counts > 0].min())
    raw = torch.where(counts > 0, raw, raw[counts > 0].max())
    return (raw * counts.sum() / (raw * counts).sum()).float()


def _check(logits: Tensor, labels: Tensor, ignore: int | None, weights: Tensor | None, dice_share: float) -> None:
    if logits.ndim < 3 or logits.shape[1] < 2 or labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise UsageError(
            f"Logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not fit: expected (B, K, *S) with at "
            "least two classes, the background among them, and (B, *S)."
        )
    if weights is not None and weights.shape != (logits.shape[1],):
        raise UsageError(f"Expected a weight for each of {logits.shape[1]} classes, got {tuple(weights.shape)}.")
    if not 0 <= dice_share <= 1:
        raise UsageError(f"The share of the Dice loss must be from 0 to 1, not {dice_share!r}.")
    if labels.device.type == "cpu":
        known = labels if ignore is None else labels[labels != ignore]
        if known.numel() and not (int(known.min()) >= 0 and int(known.max()) < logits.shape[1]):
            raise UsageError(
                f"Labels run from {int(known.min())} to {int(known.max())}; expected 0 to {logits.shape[1] - 1}."
            )
