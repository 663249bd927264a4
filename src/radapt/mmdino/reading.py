"""What a classifier reads of a slice: its CLS token and, where masks have taught what a lesion is, the tokens of that.

Slices without lesion say little about a patient, and most of a slice with one says little either. From the masks of
training cases a linear layer learns to tell for each patch what a mask would mark in it. What it finds then stands in
for the mask in patients who have none: it weighs the patches of a slice and the slices of a case, as gated attention
does (Ilse et al. 2018), but taught by masks.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from radapt.backbones.multimodal_crops import Encoded, mean_by

_LEAST = 1e-4  # of marked patches: what a slice weighs at least, so that the mean over slices is defined


class Read(NamedTuple):
    """Of B slices: `vectors` (B, W), what each weighs in the mean over a case (B,), and logits of marks (T, L)."""

    vectors: Tensor
    weights: Tensor
    marks: Tensor | None


class Reader(nn.Module):
    """Vectors (B, W) of encoded slices. Without `marks` they are the CLS tokens, and all slices weigh alike.

    With L `marks`, W = 2 D + L: beside the CLS token stand the mean of the patch tokens, each weighed by the chance
    that anything is marked in it, and for each mark the logarithm of the share of the slice that has it; and a slice
    weighs as much as is marked of it. None of these passes a gradient to what finds marks: only masks teach what to
    look at. Always in float32.
    """

    def __init__(self, width: int, marks: int) -> None:
        super().__init__()
        self.marks = marks
        self.width = 2 * width + marks if marks else width
        self.weight = nn.Parameter(torch.zeros(marks, width)) if marks else None
        self.bias = nn.Parameter(torch.full((marks,), -3.0)) if marks else None  # 5 %: most of a slice is not marked

    @property
    def blocks(self) -> tuple[int, ...]:
        """Columns of each part of the vector of a case: CLS, marked tokens, marks of the slices looked at, of all."""
        width = (self.width - self.marks) // 2 if self.marks else self.width
        return (width, width, self.marks, self.marks) if self.marks else (width,)

    def forward(self, found: Encoded) -> Read:
        cls = found.cls
        if self.weight is None or self.bias is None:
            return Read(cls, cls.new_ones(len(cls)), None)
        with torch.autocast(cls.device.type, enabled=False):
            tokens = found.tokens.float()
            logits = linear(tokens, self.weight.float(), self.bias.float())  # (T, L)
            seen = (~found.hidden).float()[:, None]  # (T, 1): what is hidden shows nothing
            count = mean_by(seen, found.case, len(cls)).clamp(min=_LEAST)  # (B, 1)
            none = torch.sigmoid(-logits.detach())  # (T, L)
            chance = (1 - none.prod(dim=1, keepdim=True)) * seen  # (T, 1)
            share = (mean_by(chance, found.case, len(cls)) / count).clamp(min=_LEAST)  # (B, 1)
            lesion = mean_by(chance * tokens, found.case, len(cls)) / (share * count)  # (B, D)
            each = (mean_by((1 - none) * seen, found.case, len(cls)) / count).clamp(min=_LEAST).log()  # (B, L)
            return Read(torch.cat([cls.float(), lesion, each], dim=1), share[:, 0], logits)


def found_map(found: Encoded, logits: Tensor) -> Tensor:
    """(B, h, w): the chance that anything is marked in each patch, in the mean over the modalities that a case has."""
    batch, _, rows, columns = found.shape
    chance = 1 - torch.sigmoid(-logits).prod(dim=1)  # (T,)
    place = found.case * rows * columns + found.index % (rows * columns)
    total, count = (torch.zeros(batch * rows * columns, device=logits.device) for _ in range(2))
    total.index_add_(0, place, chance.float())
    count.index_add_(0, place, torch.ones_like(chance, dtype=torch.float32))
    return (total / count.clamp(min=1)).view(batch, rows, columns)


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


def mark_targets(maps: Tensor, found: Encoded) -> Tensor:
    """(T, L): the share of each patch that is marked, from maps (B, L, s, s) of the same crops."""
    _, _, rows, columns = found.shape
    shares = nn.functional.adaptive_avg_pool2d(maps, (rows, columns))  # (B, L, h, w)
    flat = shares.permute(0, 2, 3, 1).flatten(0, 2)  # (B·h·w, L)
    return flat.index_select(0, found.case * rows * columns + found.index % (rows * columns))


def mark_loss(logits: Tensor, targets: Tensor, found: Encoded, known: Tensor, share: float) -> Tensor:
    """Cross-entropy of marks (T, L) towards the marked shares of patches: the mean over visible patches of a crop; ().

    Nobody can tell what is marked in a patch that is hidden, in a sequence that shows what no other does.
    `known` (B,) says whose mask there is; the others count as zero, and `share` is that of masked cases in training, so
    that the loss is that of masked ones in the mean over many batches (as in `supervision`).
    """
    each = binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1, keepdim=True)  # (T, 1)
    seen = (~found.hidden).float()[:, None]  # (T, 1)
    crops = mean_by(each * seen, found.case, len(known)) / mean_by(seen, found.case, len(known)).clamp(min=_LEAST)
    return (crops[:, 0] * known).mean() / share
