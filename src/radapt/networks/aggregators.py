"""Slice aggregation: from the slices of a case to one vector by mean, maximum, top-k mean, gated attention or a small
transformer (multiple-instance pooling).

All cases of a batch are processed at once, whatever their numbers of slices, and independently of each other.
"""

import abc
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from radapt.errors import UsageError, suggest


class Aggregator(nn.Module, abc.ABC):
    """Aggregates the slices of each case to one vector. S slices, B cases, D columns.

    `width_out` is the length of that vector. `weights` (S,) are the slice weights of the last forward pass, which sum
    to 1 over each case; None for aggregators without slice weights.
    """

    options: ClassVar[tuple[str, ...]] = ()
    weighs: ClassVar[bool] = False
    """Whether it gives each slice a weight."""
    weights: Tensor | None = None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width_out = width

    def forward(self, vectors: Tensor, owner: Tensor, cases: int, position: Tensor | None = None) -> Tensor:
        """(S, D) -> (B, width_out) float32.

        `owner` int64 (S,) is the case of each slice, in ascending order; `position` (S,) its place in its image, from
        0 to 1, used by the transformer only. A case without slices gets zeros. Raises UsageError for owners that are
        not in order or not below `cases`.
        """
        if vectors.ndim != 2 or owner.shape != vectors.shape[:1]:
            raise UsageError(
                "Slices should be vectors (S, D) with owners (S,), not "
                f"{tuple(vectors.shape)} and {tuple(owner.shape)}."
            )
        if owner.device.type == "cpu" and len(owner):  # elsewhere the check would force a synchronisation
            rises = bool((owner[1:] >= owner[:-1]).all())
            if not rises or int(owner[0]) < 0 or int(owner[-1]) >= cases:
                raise UsageError(f"Owners of slices should ascend from 0 and stay below the number of cases, {cases}.")
        counts = torch.zeros(cases, dtype=torch.int64, device=owner.device).index_add_(0, owner, torch.ones_like(owner))
        with torch.autocast(
            vectors.device.type, enabled=False
        ):  # sums over many slices need float32, and there is little to gain
            pooled = self.pool(vectors.float(), owner, counts, position)
            return torch.where(counts[:, None] > 0, pooled, 0.0)

    @abc.abstractmethod
    def pool(self, vectors: Tensor, owner: Tensor, counts: Tensor, position: Tensor | None) -> Tensor:
        """(S, D) float32 -> (B, width_out); `counts` (B,) slices per case. Results without slices are ignored."""


class Mean(Aggregator):
    """The mean over slices, as in the radiology study for volumes (arXiv 2312.02366)."""

    def pool(self, vectors: Tensor, owner: Tensor, counts: Tensor, position: Tensor | None) -> Tensor:
        return _sums(vectors, counts) / counts.clamp(min=1)[:, None]


class Max(Aggregator):
    """The maximum of each column. Slices that tie share the gradient."""

    def pool(self, vectors: Tensor, owner: Tensor, counts: Tensor, position: Tensor | None) -> Tensor:
        return torch.segment_reduce(vectors, "max", lengths=counts, axis=0, unsafe=True, initial=-math.inf)


class TopK(Aggregator):
    """The mean of the `k` largest values of each column, or of all if there are fewer: between maximum and mean (the
    highest-scoring regions of WELDON, Durand et al. 2016, per column). The default is 5, because a finding often shows
    on a few slices; the best number depends on the cohort."""

    options = ("k",)

    def __init__(self, width: int, k: int = 5) -> None:
        super().__init__(width)
        if k < 1:
            raise UsageError(f"The top-k mean needs k of at least 1; got {k}.")
        self.k = k

    def pool(self, vectors: Tensor, owner: Tensor, counts: Tensor, position: Tensor | None) -> Tensor:
        padded, _ = _padded(vectors, owner, counts, -math.inf)  # (B, n, D)
        most = min(self.k, padded.shape[1])
        largest = padded.topk(most, dim=1).values  # (B, most, D)
        averaged = counts.clamp(max=self.k)[:, None]  # (B, 1)
        inside = torch.arange(most, device=counts.device) < averaged  # (B, most)
        return largest.masked_fill(~inside[..., None], 0.0).sum(1) / averaged.clamp(min=1)


class Attention(Aggregator):
    """Gated attention (Ilse et al. 2018, equation 9): the weighted mean z = Σ a h with
    a = softmax(w · (tanh(V h) ⊙ sigmoid(U h))) over the slices of a case.

    `hidden` is 128 as in the paper. `dropout` is applied to the gated values: 0.25 as in CLAM (Lu et al. 2021).
    """

    options = ("hidden", "dropout")
    weighs = True

    def __init__(self, width: int, hidden: int = 128, dropout: float = 0.25) -> None:
        super().__init__(width)
        _check_dropout(dropout)
        self.value = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(hidden, 1, bias=False)  # a constant would cancel in the softmax

    def pool(self, vectors: Tensor, owner: Tensor, counts: Tensor, position: Tensor | None) -> Tensor:
        gated = torch.tanh(self.value(vectors)) * torch.sigmoid(self.gate(vectors))  # (S, hidden)
        weights = _softmax(self.score(self.dropout(gated)), owner, counts)  # (S, 1)
        self.weights = weights.detach()[:, 0]
        return _sums(vectors * weights, counts)


class Transformer(Aggregator):
    """A small transformer over the slices of a case in their order, read out by a CLS token, as ViT over patches;
    without `position` it has no position embeddings, like TransMIL.

    Slices are projected to `inner` columns; `layers` pre-norm layers with `heads` heads follow. Two layers as in
    TransMIL (Shao et al. 2021); `inner` and `heads` are a third of those of ViT-S, for cohorts of hundreds of cases;
    `dropout` 0.1 as in the original transformer (Vaswani et al. 2017).
    """

    options = ("inner", "layers", "heads", "dropout")

    def __init__(self, width: int, inner: int = 128, layers: int = 2, heads: int = 2, dropout: float = 0.1) -> None:
        super().__init__(inner)
        _check_dropout(dropout)
        if min(inner, layers, heads) < 1 or inner % (2 * heads):
            raise UsageError(
                f"A transformer over slices needs inner divisible by 2 × heads, and at least one layer; given: inner "
                f"{inner}, heads {heads}, layers {layers}."
            )
        self.project = nn.Linear(width, inner)
        self.cls = nn.Parameter(torch.zeros(inner))
        layer = nn.TransformerEncoderLayer(
            inner, heads, 4 * inner, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(inner), enable_nested_tensor=False)
        nn.init.normal_(self.cls, std=0.02)

    def pool(self, vectors: Tensor, owner: Tensor, counts: Tensor, position: Tensor | None) -> Tensor:
        tokens = self.project(vectors)  # (S, D) -> (S, inner)
        if position is not None:
            tokens = tokens + _sincos(position, tokens.shape[1])
        padded, absent = _padded(tokens, owner, counts, 0.0)  # (B, n, inner), (B, n)
        cls = self.cls.expand(len(counts), 1, -1)
        mask = torch.cat([absent.new_zeros(len(counts), 1), absent], dim=1)  # (B, 1 + n): True is masked out
        return self.layers(torch.cat([cls, padded], dim=1), src_key_padding_mask=mask)[:, 0]


AGGREGATORS: dict[str, type[Aggregator]] = {
    "mean": Mean,
    "max": Max,
    "topk": TopK,
    "attention": Attention,
    "transformer": Transformer,
}


def make_aggregator(name: str, width: int, **options: Any) -> Aggregator:
    """The aggregator `name` of slices with `width` columns. Initial weights come from torch's random state.

    Raises UsageError for an unknown name or option, or a value out of range.
    """
    if name not in AGGREGATORS:
        raise UsageError(f"Unknown slice aggregator {name!r}. {suggest(str(name), AGGREGATORS)}")
    kind = AGGREGATORS[name]
    for option in options:
        if option not in kind.options:
            raise UsageError(f"Aggregator {name!r} has no option {option!r}. {suggest(option, kind.options)}")
    return kind(width, **options)


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise UsageError(f"Dropout should be in [0, 1), not {dropout:g}.")


def _sums(vectors: Tensor, counts: Tensor) -> Tensor:
    """(S, D) -> (B, D): sums over the slices of each case, always in the same order."""
    return torch.segment_reduce(vectors, "sum", lengths=counts, axis=0, unsafe=True, initial=0.0)


def _softmax(scores: Tensor, owner: Tensor, counts: Tensor) -> Tensor:
    """(S, 1) -> (S, 1), summing to 1 over each case."""
    highest = torch.segment_reduce(scores.detach(), "max", lengths=counts, axis=0, unsafe=True, initial=-math.inf)
    exponentials = torch.exp(scores - highest[owner])
    return exponentials / _sums(exponentials, counts)[owner]


def _padded(vectors: Tensor, owner: Tensor, counts: Tensor, fill: float) -> tuple[Tensor, Tensor]:
    """(S, D) -> (B, n, D) padded with `fill`, n the most slices of a case and at least 1; and (B, n) the padding."""
    starts = counts.cumsum(0) - counts
    inside = torch.arange(len(owner), device=owner.device) - starts[owner]  # (S,): index in its case
    most = max(1, int(counts.max())) if len(counts) else 1
    padded = vectors.new_full((len(counts), most, vectors.shape[1]), fill).index_put((owner, inside), vectors)
    return padded, torch.arange(most, device=owner.device) >= counts[:, None]


def _sincos(position: Tensor, width: int) -> Tensor:
    """(S,) in [0, 1] -> (S, width): sines and cosines from half a wave over the image to 256 waves (Vaswani et al.
    2017, with frequencies for the relative position instead of a count)."""
    frequencies = math.pi * 2.0 ** torch.linspace(0, 9, width // 2, device=position.device)
    angles = position.float()[:, None] * frequencies  # (S, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
