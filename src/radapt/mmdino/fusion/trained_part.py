"""Which tokens are stored and which network is trained on them, for a fusion and for the last blocks of an encoder."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from radapt.errors import UsageError
from radapt.mmdino.fusion.fusion_options import FusionOptions
from radapt.mmdino.fusion.network import FusionEnsemble
from radapt.mmdino.fusion.partial_network import PartialEnsemble
from radapt.mmdino.fusion.token_kind import BlockInputs, PooledTokens, TokenKind
from radapt.mmdino.fusion.token_network import FusionShape, TokenEnsemble

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class LastBlocks:
    """The last `blocks` blocks of an encoder, trained on slices of `size` pixels a side at `lr_scale` times the
    learning rate of the classifier."""

    blocks: int
    size: int
    lr_scale: float


@dataclass(frozen=True)
class SliceOutputs:
    """What a network reads and gives: M sequences of P patches each, cases of `outputs` answers, and the `rates` at
    which the masks of training mark each lesion label in a patch."""

    sequences: int
    patches: int
    outputs: int
    rates: tuple[float, ...]


def stored_kind(
    options: FusionOptions, last: LastBlocks | None, backbone: "Backbone", precision: Precision
) -> TokenKind:
    """What is stored of a slice. Raises UsageError for an encoder without as many blocks or without a CLS token."""
    if last is None:
        return PooledTokens.of(backbone, options, precision)
    kind = BlockInputs.of(backbone, last.blocks, last.size, precision)
    if not kind.prefix:
        raise UsageError(f"{backbone.name} has no CLS token; trained: partial needs one. Choose trained: fusion.")
    return kind


def new_network(
    options: FusionOptions, last: LastBlocks | None, backbone: "Backbone", kind: TokenKind, outputs: SliceOutputs,
    seed: int,
) -> TokenEnsemble:  # fmt: skip
    """An untrained network on the CPU."""
    width, depth = (options.width, options.depth) if last is None else (kind.width, last.blocks)
    shape = FusionShape(
        kind.width, outputs.sequences, outputs.patches, outputs.outputs, len(outputs.rates), width, depth,
        options.dropout,
    )  # fmt: skip
    return _network(options, last, backbone, shape, torch.tensor(outputs.rates, dtype=torch.float32), seed)


def empty_network(
    options: FusionOptions, last: LastBlocks | None, backbone: "Backbone", shape: FusionShape
) -> TokenEnsemble:
    """A network of `shape`, for weights to be loaded into."""
    return _network(options, last, backbone, shape, torch.full((shape.lesions,), 0.5), 0)


def _network(
    options: FusionOptions, last: LastBlocks | None, backbone: "Backbone", shape: FusionShape, rates: torch.Tensor,
    seed: int,
) -> TokenEnsemble:  # fmt: skip
    if last is None:
        return FusionEnsemble(shape, options.members, rates, seed)
    return PartialEnsemble(shape, backbone.module, rates, last.lr_scale, seed).cpu()
