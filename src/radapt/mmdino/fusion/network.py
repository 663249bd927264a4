"""The fusion network: a few transformer blocks over the tokens of all present sequences of a slice, and attention over
slices.

B slices of b cases; M sequences, P patches and one CLS token of each, D numbers in a stored token; d the width of the
network; L lesion labels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from radapt.mmdino.fusion.readout import Readout, lesion_vectors
from radapt.mmdino.fusion.token_network import FusedSlices, FusionShape, TokenEnsemble, TokenNetwork, lesion_bias
from radapt.training import Group, parameter_groups
from radapt.training.seeds import derived

HEAD_WIDTH = 32


class Block(nn.Module):
    """A transformer block: attention to visible tokens, then an MLP, each after a layer norm."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """(B, T, d) of tokens (B, T, d), of which those `visible` (B, T) are attended to."""
        batch, count, width = tokens.shape
        qkv = self.qkv(self.norm1(tokens)).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None, None])
        tokens = tokens + self.dropout(self.project(attended.transpose(1, 2).reshape(batch, count, width)))
        return tokens + self.dropout(self.mlp(self.norm2(tokens)))


class FusionNetwork(TokenNetwork):
    """One member. A hidden sequence is a mask token at each of its places, which attends to visible tokens and is not
    attended to, so that all others are computed as if the sequence were missing."""

    def __init__(self, shape: FusionShape, rates: Tensor, seed: int) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.embed_cls, self.embed_patch = nn.Linear(shape.token, width), nn.Linear(shape.token, width)
            self.query = nn.Parameter(0.02 * torch.randn(width))
            self.modality = nn.Parameter(0.02 * torch.randn(shape.sequences, 1, width))
            self.position = nn.Parameter(0.02 * torch.randn(1 + shape.patches, width))
            self.mask_token = nn.Parameter(torch.zeros(width))
            self.blocks = nn.ModuleList(Block(width, shape.dropout) for _ in range(shape.depth))
            self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(shape.dropout)
            self.lesion = nn.Linear(width, shape.lesions) if shape.lesions else None
            self.attention = nn.Linear(width, 1)
            self.predict = nn.Linear(width, shape.token)
            self.head = nn.Linear(2 * width, shape.outputs)
        nn.init.zeros_(self.head.weight)
        if self.lesion is not None:
            lesion_bias(self.lesion, rates)

    def forward(self, tokens: Tensor, visible: Tensor, hidden: Tensor | None = None) -> FusedSlices:
        """See `TokenNetwork`; tokens are standardised, with R = 1."""
        batch, sequences, places, _ = tokens.shape
        seen = visible[:, :, None, None]
        embedded = torch.cat([self.embed_cls(tokens[:, :, :1]), self.embed_patch(tokens[:, :, 1:])], dim=2)
        embedded = torch.where(seen, embedded, self.mask_token.to(embedded.dtype)) + self.modality + self.position
        own = torch.cat([self.query.expand(batch, 1, -1).to(embedded.dtype), embedded.flatten(1, 2)], dim=1)
        attended_to = visible.repeat_interleave(places, dim=1)
        attended_to = torch.cat([attended_to.new_ones(batch, 1), attended_to], dim=1)
        for block in self.blocks:
            own = block(own, attended_to)
        own = self.norm(own).float()
        patches = own[:, 1:].view(batch, sequences, places, -1)[:, :, 1:]  # (B, M, P, d)
        with torch.autocast(tokens.device.type, enabled=False):
            lesions = patches[..., :0] if self.lesion is None else self.lesion(patches)
            vectors, weights = self.pooled(own[:, 0], patches, lesions, visible)
            predicted = None if hidden is None else self.predict(patches)
        return FusedSlices(vectors, weights, lesions, predicted)


class FusionEnsemble(TokenEnsemble):
    """Members with other initial weights, on the same standardised tokens.

    `mean` and `deviation` (2, D) are those of CLS and of patch tokens in training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: FusionShape, members: int, rates: Tensor, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.members = nn.ModuleList(
            FusionNetwork(shape, rates, derived(seed, "fusion", number)) for number in range(members)
        )
        self.readout = Readout(shape)
        self.register_buffer("mean", torch.zeros(2, shape.token))
        self.register_buffer("deviation", torch.ones(2, shape.token))

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def groups(self) -> list[Group]:
        return parameter_groups(self)

    def standardised(self, tokens: Tensor) -> Tensor:
        """float32 (…, 1 + P, D) of stored tokens (…, 1 + P, D), CLS first."""
        kind = torch.ones(tokens.shape[-2], dtype=torch.long, device=tokens.device)
        kind[0] = 0
        return (tokens.float() - self.mean[kind]) / self.deviation[kind]

    def lesion_vectors(self, tokens: Tensor, slices: Sequence[FusedSlices], visible: Tensor) -> Tensor:
        """float64 (M, D) of one case, for the readout: of its standardised `tokens` (B, M, 1 + P, D), what the members
        made of them, and the sequences that are `visible` (M,)."""
        lesions = torch.stack([1 - torch.sigmoid(-each.lesions).prod(dim=3) for each in slices]).mean(0)
        return lesion_vectors(tokens, lesions, visible)
