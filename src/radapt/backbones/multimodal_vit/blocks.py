"""The blocks of a vision transformer on packed tokens, computed with the blocks' own layers, so that adapters work.

In training, each residual branch skips a random share `rate` of the sequences and scales up the output of the others:
the efficient stochastic depth of DINOv2 (Oquab et al. 2023, section 5), which does not compute what it drops.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from radapt.backbones.multimodal_vit.packing import Groups, Packing, indices


class Depth:
    """Stochastic depth: draws the sequences that a branch keeps, from torch's random state on the CPU."""

    def __init__(self, sequences: int, rate: float) -> None:
        self._count = sequences
        self._keep = max(1, round(sequences * (1 - rate)))

    @property
    def scale(self) -> float:
        """Factor on the output of a branch that keeps its expected value."""
        return self._count / self._keep

    def drawn(self) -> np.ndarray | None:
        """bool (N,): the sequences that are kept; None: all."""
        if self._keep == self._count:
            return None
        kept = np.zeros(self._count, bool)
        kept[torch.randperm(self._count)[: self._keep].numpy()] = True
        return kept


def attention(attn: Any, x: Tensor, groups: Groups, rows: Tensor | None = None) -> Tensor:
    """Attention of packed tokens (T, D) within each sequence; with `rows` int64 (n,) the output of these rows only."""
    heads = attn.num_heads
    qkv = attn.qkv(x)  # (T, 3·A)
    outputs = []
    # One split, whose backward is one concatenation; the gradients of slices would each be padded to T and summed.
    for (count, length), group in zip(groups, qkv.split([n * length for n, length in groups]), strict=True):
        # Unbound before permuting, so that the backward pass stacks the three gradients without a copy.
        q, k, v = (
            tensor.transpose(1, 2) for tensor in group.view(count, length, 3, heads, -1).unbind(2)
        )  # (n, heads, L, d)
        dropout = attn.attn_drop.p if attn.attn_drop.training else 0.0
        attended = torch.nn.functional.scaled_dot_product_attention(
            attn.q_norm(q), attn.k_norm(k), v, dropout_p=dropout
        )
        outputs.append(attended.transpose(1, 2).reshape(count * length, -1))  # (n·L, A)
    y = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if rows is not None:
        x, y = x.index_select(0, rows), y.index_select(0, rows)
    y = attn.norm(y)
    gate = getattr(attn, "gate", None)  # not every version of timm has one
    if gate is not None:
        y = y * gate(x).sigmoid()
    return attn.proj_drop(attn.proj(y))


def whole(block: Any, x: Tensor, packing: Packing, depth: Depth) -> Tensor:
    """One block on all tokens: (T, D) -> (T, D)."""
    kept = depth.drawn()
    if kept is None:
        x = x + block.ls1(attention(block.attn, block.norm1(x), packing.groups()))
    else:
        rows = indices(packing.rows(kept), x.device)
        y = block.norm1(x.index_select(0, rows))
        x = _added(x, rows, block.ls1(attention(block.attn, y, packing.groups(kept))), depth.scale)
    return _feed_forward(block, x, packing.owner, depth)


def ending(block: Any, x: Tensor, packing: Packing, depth: Depth, wanted: np.ndarray) -> Tensor:
    """The last block, with output at the rows `wanted` int64 (n,), ascending, only: (T, D) -> (n, D).

    All tokens are attended to; the layers after attention process the wanted ones only.
    """
    kept = depth.drawn()
    computed = np.arange(len(packing.owner)) if kept is None else packing.rows(kept)
    place = np.full(len(packing.owner), -1)
    place[wanted] = np.arange(len(wanted))
    here = np.flatnonzero(place[computed] >= 0)
    y = block.norm1(x if kept is None else x.index_select(0, indices(computed, x.device)))
    y = block.ls1(attention(block.attn, y, packing.groups(kept), indices(here, x.device)))
    x = x.index_select(0, indices(wanted, x.device))
    x = _added(x, indices(place[computed[here]], x.device), y, depth.scale)
    return _feed_forward(block, x, packing.owner[wanted], depth)


def _feed_forward(block: Any, x: Tensor, owner: np.ndarray, depth: Depth) -> Tensor:
    kept = depth.drawn()
    if kept is None:
        return x + block.ls2(block.mlp(block.norm2(x)))
    rows = indices(np.flatnonzero(kept[owner]), x.device)
    return _added(x, rows, block.ls2(block.mlp(block.norm2(x.index_select(0, rows)))), depth.scale)


def _added(x: Tensor, rows: Tensor, y: Tensor, scale: float) -> Tensor:
    """x with scale · y added at `rows`, in place: autograd saved the rows selected from x, not x itself."""
    return x.index_add_(0, rows, y.to(x.dtype), alpha=scale)
