"""What a classifier reads of a slice: its CLS token and, where masks have taught what a lesion is, the tokens of that.

Slices without lesion say little about a patient, and most of a slice with one says little either. From the masks of
training cases a linear layer learns to tell for each patch what a mask would mark in it. What it finds then stands in
for the mask in patients who have none: it weighs the patches of a slice and the slices of a case, as gated attention
does (Ilse et al. 2018), but taught by masks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits, linear

from radapt.backbones.multimodal_vit.crops import Encoded, mean_by

_LEAST = 1e-4  # of marked patches: what a slice weighs at least, so that the mean over slices is defined

RAREST = 1e-3
"""A mark that covers less of the training crops than this share counts as if it covered so much, or a speck that a
single patient has would decide what is learned."""


class Marks(NamedTuple):
    """What is found in the patches of B slices: `logits` (B, L, h, w) of the L marks, and `seen` bool (B, h, w), the
    places of which any sequence was visible. At others the logits say nothing."""

    logits: Tensor
    seen: Tensor

    @property
    def anything(self) -> Tensor:
        """(B, h, w): the chance that anything is marked in a patch; 0 where nothing was seen. Without gradient."""
        return (1 - torch.sigmoid(-self.logits.detach()).prod(dim=1)) * self.seen

    @property
    def shares(self) -> Tensor:
        """(B, L): the share of what was seen of a slice that has each mark, at least 1e-4. Without gradient."""
        chance = torch.sigmoid(self.logits.detach()) * self.seen[:, None]
        return (chance.sum((2, 3)) / self.seen.sum((1, 2)).clamp(min=1)[:, None]).clamp(min=_LEAST)


class Read(NamedTuple):
    """Of B slices: `vectors` (B, W), what each weighs in the mean over a case (B,), and what marks were found."""

    vectors: Tensor
    weights: Tensor
    marks: Marks | None


class LesionAttention(nn.Module):
    """Vectors (B, W) of encoded slices. Without marks they are the CLS tokens, and all slices weigh alike.

    With L marks, of which training crops show the shares `rates`, W = 2 D + L: beside the CLS token stand the mean of
    the patch tokens, each weighed by the chance that anything is marked at its place, and for each mark the logarithm
    of the share of the slice that has it; and a slice weighs as much as is marked of it. None of these passes a
    gradient to what finds marks: only masks teach what to look at. Always in float32.

    What is marked at a place is told by all sequences that show it, together: one that shows nothing of a mark is
    outvoted by the one that does. Their evidence is added up and divided by the root of their number, so that its
    spread does not depend on how many sequences a patient has.
    """

    def __init__(self, width: int, rates: Sequence[float] = ()) -> None:
        super().__init__()
        self.marks = len(rates)
        self.width = 2 * width + self.marks if self.marks else width
        self.weight = nn.Parameter(torch.zeros(self.marks, width)) if self.marks else None
        self.bias = nn.Parameter(torch.logit(torch.tensor(rates), eps=RAREST)) if self.marks else None

    @property
    def blocks(self) -> dict[str, int]:
        """Columns of each part of the vector of a case, in order."""
        if not self.marks:
            return {"CLS": self.width}
        width = (self.width - self.marks) // 2
        return {"CLS": width, "marked tokens": width, "shares of marks": self.marks, "amounts of marks": self.marks}

    def forward(self, found: Encoded) -> Read:
        cls = found.cls
        if self.weight is None or self.bias is None:
            return Read(cls, cls.new_ones(len(cls)), None)
        with torch.autocast(cls.device.type, enabled=False):
            tokens = found.tokens.float()
            places, visible = _places(found), (~found.hidden).float()  # (T,)
            marks = self._found(tokens, places, visible, found.shape)
            chance = marks.anything  # (B, h, w)
            each = (chance.flatten().index_select(0, places) * visible)[:, None]  # (T, 1)
            count = mean_by(each, found.case, len(cls)).clamp(min=_LEAST**2)  # (B, 1)
            lesion = mean_by(each * tokens, found.case, len(cls)) / count  # (B, D)
            weights = (chance.sum((1, 2)) / marks.seen.sum((1, 2)).clamp(min=1)).clamp(min=_LEAST)
            return Read(torch.cat([cls.float(), lesion, marks.shares.log()], dim=1), weights, marks)

    def _found(self, tokens: Tensor, places: Tensor, visible: Tensor, shape: tuple[int, int, int, int]) -> Marks:
        batch, _, rows, columns = shape
        evidence = linear(tokens, self.weight.float()) * visible[:, None]  # type: ignore[union-attr]  # (T, L)
        total = evidence.new_zeros(batch * rows * columns, self.marks).index_add(0, places, evidence)
        count = evidence.new_zeros(batch * rows * columns).index_add(0, places, visible)
        logits = total / count.clamp(min=1).sqrt()[:, None] + self.bias.float()  # type: ignore[union-attr]
        return Marks(logits.view(batch, rows, columns, -1).permute(0, 3, 1, 2), count.view(batch, rows, columns) > 0)


def _places(found: Encoded) -> Tensor:
    """int64 (T,): b · h · w + r · w + c, where each token lies, whatever its sequence."""
    _, _, rows, columns = found.shape
    return found.case * rows * columns + found.index % (rows * columns)


def boxes_around(maps: Tensor, seen: Tensor) -> Tensor:
    """(B, 4) boxes y0, x0, y1, x1 around what `maps` (B, h, w) found in the squares `seen` (B, 4) that they cover.

    The middle and the spread of the patches above half of the highest chance; a uniform rectangle with that spread is
    √12 of its standard deviations wide. A map with the same chance everywhere gives the whole square.
    """
    _, rows, columns = maps.shape
    high = (maps - 0.5 * maps.amax((1, 2), keepdim=True)).clamp(min=0)
    sides = []
    for axis, size in ((1, rows), (2, columns)):
        line = high.sum(3 - axis)  # (B, size)
        line = line / line.sum(1, keepdim=True).clamp(min=torch.finfo(line.dtype).tiny)
        at = (torch.arange(size, device=maps.device) + 0.5) / size
        middle = line @ at
        variance = (line * (at - middle[:, None]).square()).sum(1) + (1 / size) ** 2 / 12  # and that within a patch
        sides.append((middle, (12 * variance).sqrt().clamp(max=1)))
    (y, height), (x, width) = sides
    shares = torch.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], dim=1)
    start, extent = seen[:, :2].repeat(1, 2), (seen[:, 2:] - seen[:, :2]).repeat(1, 2)
    return start + shares * extent


def mark_targets(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, L, h, w): the share of each patch of a `grid` (h, w) that is marked, from maps (B, L, s, s) of the crops."""
    return adaptive_avg_pool2d(maps, grid)


def mark_loss(marks: Marks, targets: Tensor, known: Tensor, rates: Tensor, share: float) -> Tensor:
    """Cross-entropy of marks towards the marked shares of patches (B, L, h, w): the mean over what was seen; ().

    Each mark counts in units of the entropy of its rate, of `rates` (L,): who knows no more than how much of a crop is
    marked has a loss of 1 for each, and a rare mark is learned as a common one is. Nobody can tell what is marked at a
    place that no sequence shows. `known` (B,) says whose mask there is; the others count as zero, and `share` is
    that of masked cases in training, so that the loss is that of masked ones in the mean over many batches (as in
    `supervision`).
    """
    each = binary_cross_entropy_with_logits(marks.logits, targets, reduction="none")  # (B, L, h, w)
    scaled = (each / entropy(rates)[:, None, None]).mean(1) * marks.seen  # (B, h, w)
    crops = scaled.sum((1, 2)) / marks.seen.sum((1, 2)).clamp(min=1)  # (B,)
    return (crops * known).mean() / share


def entropy(rates: Tensor) -> Tensor:
    """Of marks that cover `rates` of what is seen, in nats; as if none were rarer than `RAREST` or its complement."""
    p = rates.clamp(RAREST, 1 - RAREST)
    return -(p * p.log() + (1 - p) * (1 - p).log())
