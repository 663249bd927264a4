"""Lesion attention: what a classifier reads of a slice, with the patches weighted by their probability of a lesion.

Slices without a lesion say little about a patient, and most of a slice with one says little either. From the masks of
training cases a linear layer learns to predict for each patch what a mask marks in it. Its predictions replace the mask
in patients who have none: they weigh the patches of a slice and the slices of a case, as gated attention does (Ilse et
al. 2018), but supervised by masks.

L is the number of lesion labels, the values that masks give a name to; a mask without names has one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits, linear

from radapt.backbones.multimodal_vit.inputs import Encoded, mean_by

_LEAST = 1e-4  # smallest share of lesion, so that the weighted mean over slices is defined

RAREST = 1e-3
"""A label that covers a smaller share of the training crops is treated as if it covered this one. Otherwise a speck in
a single patient would dominate the loss."""


class LesionMaps(NamedTuple):
    """Predictions for the patches of B slices: `logits` (B, L, h, w), and `visible` bool (B, h, w), the places that any
    sequence shows. Elsewhere the logits carry no information."""

    logits: Tensor
    visible: Tensor

    @property
    def any_lesion(self) -> Tensor:
        """(B, h, w): the probability that a patch has any lesion; 0 where no sequence is visible. Without gradient."""
        return (1 - torch.sigmoid(-self.logits.detach()).prod(dim=1)) * self.visible

    @property
    def shares(self) -> Tensor:
        """(B, L): the predicted share of each label in the visible part of a slice, at least 1e-4. Without gradient."""
        probability = torch.sigmoid(self.logits.detach()) * self.visible[:, None]
        return (probability.sum((2, 3)) / self.visible.sum((1, 2)).clamp(min=1)[:, None]).clamp(min=_LEAST)


class SliceVectors(NamedTuple):
    """Of B slices: `vectors` (B, W), their `weights` (B,) in the mean over a case, and the predicted lesions."""

    vectors: Tensor
    weights: Tensor
    lesions: LesionMaps | None


class LesionAttention(nn.Module):
    """Vectors (B, W) of encoded slices. Without lesion labels they are the CLS tokens, and all slices weigh alike.

    `rates` are the shares of the training crops that each of L labels covers. Then W = 2 D + L: beside the CLS token
    stand the mean of the patch tokens, weighted by the probability of any lesion at their place, and the logarithm of
    each label's share of the slice. A slice's weight is its share of lesion. Gradients of these do not reach the layer
    that predicts lesions; it learns from masks alone. Always in float32.

    All sequences predict together what is at a place: one that does not show a lesion is outvoted by the one that does.
    Their logits are summed and divided by the root of their number, so that the spread does not depend on how many
    sequences a patient has.
    """

    def __init__(self, width: int, rates: Sequence[float] = ()) -> None:
        super().__init__()
        self.labels = len(rates)
        self.width = 2 * width + self.labels if self.labels else width
        self.weight = nn.Parameter(torch.zeros(self.labels, width)) if self.labels else None
        self.bias = nn.Parameter(torch.logit(torch.tensor(rates), eps=RAREST)) if self.labels else None

    @property
    def blocks(self) -> dict[str, int]:
        """Number of columns of each part of a case's vector, in order."""
        if not self.labels:
            return {"CLS": self.width}
        width = (self.width - self.labels) // 2
        return {
            "CLS": width,
            "lesion tokens": width,
            "shares of lesions": self.labels,
            "amounts of lesions": self.labels,
        }

    def forward(self, encoded: Encoded) -> SliceVectors:
        cls = encoded.cls
        if self.weight is None or self.bias is None:
            return SliceVectors(cls, cls.new_ones(len(cls)), None)
        with torch.autocast(cls.device.type, enabled=False):
            tokens = encoded.tokens.float()
            places, visible = _places(encoded), (~encoded.hidden).float()  # (T,)
            lesions = self._predict(tokens, places, visible, encoded.shape)
            probability = lesions.any_lesion  # (B, h, w)
            attention = (probability.flatten().index_select(0, places) * visible)[:, None]  # (T, 1)
            total = mean_by(attention, encoded.case, len(cls)).clamp(min=_LEAST**2)  # (B, 1)
            attended = mean_by(attention * tokens, encoded.case, len(cls)) / total  # (B, D)
            weights = (probability.sum((1, 2)) / lesions.visible.sum((1, 2)).clamp(min=1)).clamp(min=_LEAST)
            return SliceVectors(torch.cat([cls.float(), attended, lesions.shares.log()], dim=1), weights, lesions)

    def _predict(self, tokens: Tensor, places: Tensor, visible: Tensor, shape: tuple[int, int, int, int]) -> LesionMaps:
        batch, _, rows, columns = shape
        evidence = linear(tokens, self.weight.float()) * visible[:, None]  # type: ignore[union-attr]  # (T, L)
        total = evidence.new_zeros(batch * rows * columns, self.labels).index_add(0, places, evidence)
        count = evidence.new_zeros(batch * rows * columns).index_add(0, places, visible)
        logits = total / count.clamp(min=1).sqrt()[:, None] + self.bias.float()  # type: ignore[union-attr]
        maps = logits.view(batch, rows, columns, -1).permute(0, 3, 1, 2)
        return LesionMaps(maps, count.view(batch, rows, columns) > 0)


def _places(encoded: Encoded) -> Tensor:
    """int64 (T,): b · h · w + r · w + c, the place of each token, whatever its sequence."""
    _, _, rows, columns = encoded.shape
    return encoded.case * rows * columns + encoded.index % (rows * columns)


def boxes_around(maps: Tensor, fields: Tensor) -> Tensor:
    """(B, 4) boxes y0, x0, y1, x1 around the lesions in `maps` (B, h, w), which cover the squares `fields` (B, 4).

    From the mean and the standard deviation of the patches above half of the highest probability; a uniform rectangle
    is √12 standard deviations wide. A map with the same probability everywhere gives the whole square.
    """
    _, rows, columns = maps.shape
    high = (maps - 0.5 * maps.amax((1, 2), keepdim=True)).clamp(min=0)
    sides = []
    for axis, size in ((1, rows), (2, columns)):
        line = high.sum(3 - axis)  # (B, size)
        line = line / line.sum(1, keepdim=True).clamp(min=torch.finfo(line.dtype).tiny)
        at = (torch.arange(size, device=maps.device) + 0.5) / size
        middle = line @ at
        variance = (line * (at - middle[:, None]).square()).sum(1) + (
            1 / size
        ) ** 2 / 12  # plus the variance within a patch
        sides.append((middle, (12 * variance).sqrt().clamp(max=1)))
    (y, height), (x, width) = sides
    shares = torch.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], dim=1)
    start, extent = fields[:, :2].repeat(1, 2), (fields[:, 2:] - fields[:, :2]).repeat(1, 2)
    return start + shares * extent


def lesion_targets(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, L, h, w): the share of each patch of a `grid` (h, w) that has each label, from the crops' maps (B, L, s,
    s)."""
    return adaptive_avg_pool2d(maps, grid)


def lesion_loss(lesions: LesionMaps, targets: Tensor, has_mask: Tensor, rates: Tensor, share: float) -> Tensor:
    """Cross-entropy of predicted lesions towards `targets` (B, L, h, w), averaged over visible places; ().

    Each label is measured in units of the entropy of its rate, of `rates` (L,): a prediction of the rate itself has a
    loss of 1, whether a label is rare or common. Places that no sequence shows are left out. Crops without a mask
    (`has_mask` (B,) False) count as zero; `share` is the share of training cases with a mask, so that the loss averages
    to that of crops with a mask over many batches (as in `supervision`).
    """
    losses = binary_cross_entropy_with_logits(lesions.logits, targets, reduction="none")  # (B, L, h, w)
    scaled = (losses / entropy(rates)[:, None, None]).mean(1) * lesions.visible  # (B, h, w)
    crops = scaled.sum((1, 2)) / lesions.visible.sum((1, 2)).clamp(min=1)  # (B,)
    return (crops * has_mask).mean() / share


def entropy(rates: Tensor) -> Tensor:
    """Entropy in nats of labels that cover `rates` of what is visible, none taken as rarer than `RAREST` or its
    complement."""
    p = rates.clamp(RAREST, 1 - RAREST)
    return -(p * p.log() + (1 - p) * (1 - p).log())
