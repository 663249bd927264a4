"""The last blocks of an encoder over the tokens that enter them, those of all present sequences of a slice together.

Up to these blocks every sequence is encoded by itself, once. From there on the tokens of the present sequences, CLS and
registers included, form one sequence. Of a single sequence the result is that of the whole encoder.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from radapt.backbones.multimodal_vit.blocks import Depth, whole
from radapt.backbones.multimodal_vit.packing import Packing, indices
from radapt.mmdino.fusion.token_network import FusedSlices, FusionShape, TokenEnsemble, TokenNetwork, lesion_bias
from radapt.mmdino.param_groups import FROZEN
from radapt.training import Group, parameter_groups
from radapt.training.seeds import derived


class PartialNetwork(TokenNetwork):
    """Copies of the last `shape.depth` blocks of `vit` and of its norm, with an embedding of each sequence that starts
    at 0, under a linear classifier. The dropout of `shape` is also the share of slices that a branch of a block skips
    in training."""

    def __init__(self, shape: FusionShape, vit: Any, rates: Tensor, seed: int) -> None:
        super().__init__()
        self.shape = shape
        self.blocks = copy.deepcopy(vit.blocks[len(vit.blocks) - shape.depth :]).requires_grad_(True)
        self.norm = copy.deepcopy(vit.norm).requires_grad_(True)
        self.modality = nn.Parameter(torch.zeros(shape.sequences, 1, shape.width))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.lesion = nn.Linear(shape.width, shape.lesions) if shape.lesions else None
            self.attention = nn.Linear(shape.width, 1)
            self.head = nn.Linear(2 * shape.width, shape.outputs)
        self.dropout = nn.Dropout(shape.dropout)
        nn.init.zeros_(self.head.weight)
        if self.lesion is not None:
            lesion_bias(self.lesion, rates)

    def forward(self, tokens: Tensor, visible: Tensor, hidden: Tensor | None = None) -> FusedSlices:
        """See `TokenNetwork`; `hidden` sequences are not predicted."""
        own = self._encoded(tokens, visible)  # (B, M, R + P, D)
        patches = own[:, :, -self.shape.patches :]
        with torch.autocast(tokens.device.type, enabled=False):
            cls = own[:, :, 0].sum(1) / visible.sum(1).clamp(min=1)[:, None]
            lesions = patches[..., :0] if self.lesion is None else self.lesion(patches)
            vectors, weights = self.pooled(cls, patches, lesions, visible)
        return FusedSlices(vectors, weights, lesions, None)

    def _encoded(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """float32 (B, M, R + P, D) after the norm; 0 for what is not visible."""
        places, counts = tokens.shape[2], visible.sum(1).cpu().numpy()
        packing = Packing.of(counts * places)
        order = indices(counts.argsort(kind="stable"), tokens.device)
        shown = visible[order]
        x = (tokens[order] + self.modality)[shown].flatten(0, 1)  # (rows, D), slices with few sequences first
        depth = Depth(len(tokens), self.shape.dropout if self.training else 0.0)
        for block in self.blocks:
            x = whole(block, x, packing, depth)
        x = self.norm(x).float()
        sorted_slices = x.new_zeros(tokens.shape).masked_scatter(shown[:, :, None, None], x)
        return sorted_slices.index_select(0, order.argsort())


class PartialEnsemble(TokenEnsemble):
    """One `PartialNetwork`, whose blocks train at `blocks_lr_scale` times the learning rate of its classifier, after a
    first part of the training in which they stay as they are."""

    def __init__(
        self, shape: FusionShape, vit: Any, rates: Tensor, blocks_lr_scale: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        self.shape, self.blocks_lr_scale, self.frozen = shape, blocks_lr_scale, FROZEN
        self.members = nn.ModuleList([PartialNetwork(shape, vit, rates, derived(seed, "partial"))])

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def standardised(self, tokens: Tensor) -> Tensor:
        """As they are: the blocks take the tokens of their encoder."""
        return tokens.float()

    def groups(self) -> list[Group]:
        blocks = {id(weight) for member in self.members for part in (member.blocks, member.norm)
                  for weight in part.parameters()}  # type: ignore[union-attr]  # fmt: skip
        found = []
        for group in parameter_groups(self):
            own = [weight for weight in group.parameters if id(weight) in blocks]
            new = [weight for weight in group.parameters if id(weight) not in blocks]
            found.append(Group(own, self.blocks_lr_scale, group.decay, self.frozen))
            found.append(Group(new, 1.0, group.decay))
        return [group for group in found if group.parameters]
