"""What the networks over stored tokens share: attention over patches and slices, and a linear classifier of cases.

B slices of b cases; M sequences, P patches and R prefix tokens of each, CLS first; D numbers in a stored token; d the
width of the network; L lesion labels.
"""

import abc
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from radapt.training import Group

LEAST_WEIGHT = 0.02
"""Added to the share of lesion that a slice is weighted by, so that a slice without any still counts a little."""

RAREST = 1e-3
"""Initial predictions of a lesion label that is rarer than this start from it."""


@dataclass(frozen=True)
class FusionShape:
    """What decides the shapes of the weights."""

    token: int  # D
    sequences: int  # M
    patches: int  # P
    outputs: int
    lesions: int  # L
    width: int  # d
    depth: int
    dropout: float

    def plain(self) -> dict[str, Any]:
        """The fields, as values that JSON can hold."""
        return asdict(self)


class FusedSlices(NamedTuple):
    """`vectors` (B, W) and their `weights` (B,) in the mean over a case; of each patch the logits of lesion labels
    `lesions` (B, M, P, L) and a prediction of its standardised stored token `predicted` (B, M, P, D). Both say nothing
    of sequences that are absent, `lesions` nothing of hidden ones."""

    vectors: Tensor
    weights: Tensor
    lesions: Tensor
    predicted: Tensor | None


class TokenNetwork(nn.Module, abc.ABC):
    """A network over the stored tokens of the visible sequences of slices."""

    shape: FusionShape
    lesion: nn.Linear | None
    attention: nn.Linear
    head: nn.Linear
    dropout: nn.Dropout

    @abc.abstractmethod
    def forward(self, tokens: Tensor, visible: Tensor, hidden: Tensor | None = None) -> FusedSlices:
        """Of tokens (B, M, R + P, D) of the sequences that are `visible` (B, M), and of those that are `hidden` (B, M)
        and to be predicted. Tokens of sequences that are not visible are never used."""

    def pooled(self, query: Tensor, patches: Tensor, lesions: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (B, 2 d) and weights (B,). Gradients do not reach the layer that predicts lesions."""
        seen = visible[:, :, None].float()
        if self.shape.lesions:
            lesion = (1 - torch.sigmoid(-lesions.detach()).prod(dim=3)) * seen  # (B, M, P)
            weights = lesion.sum((1, 2)) / (seen.sum((1, 2)) * self.shape.patches).clamp(min=1) + LEAST_WEIGHT
            attention = lesion + 1e-3 * seen
        else:
            weights = self.attention(query)[:, 0].clamp(-8, 8).exp()
            attention = seen.expand(-1, -1, self.shape.patches)
        total = attention.sum((1, 2)).clamp(min=1e-6)[:, None]
        return torch.cat([query, (attention[..., None] * patches).sum((1, 2)) / total], dim=1), weights

    def logits(self, slices: FusedSlices, cases: Tensor, count: int) -> Tensor:
        """(count, outputs): of cases, from the weighted mean of their slices; `cases` (B,) is that of each slice."""
        weights = slices.weights.new_zeros(count).index_add(0, cases, slices.weights)[:, None]
        weighted = slices.weights[:, None] * slices.vectors
        total = weighted.new_zeros(count, weighted.shape[1]).index_add(0, cases, weighted)
        logits: Tensor = self.head(self.dropout(total / weights))
        return logits


class TokenEnsemble(nn.Module, abc.ABC):
    """Members with other initial weights, on the same tokens."""

    shape: FusionShape
    members: nn.ModuleList

    @property
    @abc.abstractmethod
    def device(self) -> torch.device: ...

    @abc.abstractmethod
    def standardised(self, tokens: Tensor) -> Tensor:
        """float32 (…, R + P, D) of stored tokens (…, R + P, D), as members take them."""

    @abc.abstractmethod
    def groups(self) -> list[Group]:
        """The trained parameters with their learning rates."""


def lesion_bias(layer: nn.Linear, rates: Tensor) -> None:
    """Let a layer predict the `rates` (L,) of lesion labels at first."""
    with torch.no_grad():
        layer.bias.copy_(torch.logit(rates, eps=RAREST))
