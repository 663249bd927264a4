"""The blocks of a vision transformer on packed tokens, computed by their own layers, so that adapters go on working.

In training, `rate` of the sequences are left out of each residual branch, drawn anew for each, and what the others add
is scaled up: the efficient stochastic depth of DINOv2 (Oquab et al. 2023, section 5). Left out means not computed.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from radapt.backbones.multimodal_vit.packing import Groups, Packing, indices


class Depth:
    """Draws the sequences that pass a branch, from torch's random state on the CPU."""

    def __init__(self, sequences: int, rate: float) -> None:
        self._count = sequences
        self._keep = max(1, round(sequences * (1 - rate)))

    @property
    def scale(self) -> float:
        """What makes the mean over draws that of the whole."""
        return self._count / self._keep

    def drawn(self) -> np.ndarray | None:
        """bool (N,): the sequences that pass; None: all."""
        if self._keep == self._count:
            return None
        kept = np.zeros(self._count, bool)
        kept[torch.randperm(self._count)[: self._keep].numpy()] = True
        return kept


def attention(attn: Any, x: Tensor, groups: Groups, rows: Tensor | None = None) -> Tensor:
    """Attention of packed tokens (T, D), each within its sequence; with `rows` int64 (n,) the output of those only."""
    heads = attn.num_heads
    qkv = attn.qkv(x)  # (T, 3·A)
    outputs = []
    # One split: its backward is one concatenation, where slices would each be padded to T and summed.
    for (count, length), part in zip(groups, qkv.split([n * length for n, length in groups]), strict=True):
        # Unbound before it is permuted, so that the gradients of the three are put together where they lie.
        q, k, v = (
            each.transpose(1, 2) for each in part.view(count, length, 3, heads, -1).unbind(2)
        )  # (n, heads, L, d)
        dropout = attn.attn_drop.p if attn.attn_drop.training else 0.0
        seen = torch.nn.functional.scaled_dot_product_attention(attn.q_norm(q), attn.k_norm(k), v, dropout_p=dropout)
        outputs.append(seen.transpose(1, 2).reshape(count * length, -1))  # (n·L, A)
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
    """The last block for those who want its output at the rows `wanted` int64 (n,), ascending: (T, D) -> (n, D).

    All tokens are attended to, but only what is wanted passes the layers behind attention.
    """
    kept = depth.drawn()
    taking_part = np.arange(len(packing.owner)) if kept is None else packing.rows(kept)
    place = np.full(len(packing.owner), -1)
    place[wanted] = np.arange(len(wanted))
    here = np.flatnonzero(place[taking_part] >= 0)
    y = block.norm1(x if kept is None else x.index_select(0, indices(taking_part, x.device)))
    y = block.ls1(attention(block.attn, y, packing.groups(kept), indices(here, x.device)))
    x = x.index_select(0, indices(wanted, x.device))
    x = _added(x, indices(place[taking_part[here]], x.device), y, depth.scale)
    return _feed_forward(block, x, packing.owner[wanted], depth)


def _feed_forward(block: Any, x: Tensor, owner: np.ndarray, depth: Depth) -> Tensor:
    kept = depth.drawn()
    if kept is None:
        return x + block.ls2(block.mlp(block.norm2(x)))
    rows = indices(np.flatnonzero(kept[owner]), x.device)
    return _added(x, rows, block.ls2(block.mlp(block.norm2(x.index_select(0, rows)))), depth.scale)


def _added(x: Tensor, rows: Tensor, y: Tensor, scale: float) -> Tensor:
    """x with scale · y at its rows. In place: only rows chosen from x were kept for the backward pass, not x."""
    return x.index_add_(0, rows, y.to(x.dtype), alpha=scale)
