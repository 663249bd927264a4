"""Where the blocks of an encoder are, whatever its family, and which of their layers take adapters.

A block is what a network repeats: a transformer layer, a residual or dense unit, in VGG a convolution. Names are
those of `named_modules`, which stay the same when adapters are put in.
"""

import re
from collections.abc import Callable

from torch import nn

from radapt.errors import UsageError

_BLOCKS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?:.*\.)?blocks(?:\.\d+)+",  # timm's ViT, DINOv3, SAM; Swin and ConvNeXt below `layers` and `stages`
        r"layer\d+\.\d+",  # ResNet
        r"features\.denseblock\d+\.denselayer\d+",  # DenseNet
        r"(?:.*\.)?layers?(?:\.\d+)+",  # transformers: layers, encoder.layer, encoder.layers, encoder.stages.…layers
    )
)
_VGG = re.compile(r"features\.\d+")

_ENDS = r"(?:.*\.)?"
KEYS_AND_VALUES = re.compile(_ENDS + r"(?:qkv|k_proj|v_proj|key|value)")
"""Fused or separate projections to keys and values."""
QUERIES = re.compile(_ENDS + r"(?:q_proj|query)")
INNER = re.compile(_ENDS + r"(?:fc1|fc1_g|fc1_x|weights_in|intermediate\.dense)")
"""What leads into the hidden layer of a feed-forward part, gated ones too."""
OUTER = re.compile(_ENDS + r"(?:fc2|weights_out|(?<!attention\.)output\.dense)")
"""What leads out of it."""


def blocks(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The blocks of an encoder by name, first to last.

    ViT, DINOv3, SAM, Swin, ConvNeXt, ResNet, DenseNet and VGG as timm builds them, and the encoders of transformers.
    Of a network of another kind, its top-level parts that have parameters. Raises UsageError if there are none.
    """
    named = dict(module.named_modules())
    for pattern in _BLOCKS:
        found = [name for name in named if pattern.fullmatch(name)]
        inner = {name.rpartition(".")[0] for name in found}
        if found:
            return [(name, named[name]) for name in found if name not in inner]
    found = [name for name in named if _VGG.fullmatch(name) and _is_convolution(named[name])]
    found = found or [name for name, part in module.named_children() if any(True for _ in part.parameters())]
    if not found:
        raise UsageError(f"{type(module).__name__} has no parts with parameters, so there is nothing to adapt.")
    return [(name, named[name]) for name in found]


def layer_of(module: nn.Module) -> tuple[Callable[[str], int], int]:
    """The layer of a parameter by its name, and the number of the last layer.

    Layer 0 is what comes before the first block, layer i the i-th block with what stands between it and the
    next one, and the last layer, one more than there are blocks, is what follows the last block (a final norm).
    For layer-wise decay (BEiT, arXiv 2106.08254): the rate of layer i is decay ** (last - i); a head's is 1.

    The function raises UsageError for a name that is none of the module's parameters.
    """
    names = [name for name, _ in blocks(module)]
    places: dict[str, int] = {}
    inside, layer = 0, 0
    for name, _ in module.named_parameters():
        inside = next((i for i, block in enumerate(names, 1) if name.startswith(f"{block}.")), 0)
        layer = inside or (len(names) + 1 if layer >= len(names) else layer)
        places[name] = layer

    def find(name: str) -> int:
        if name not in places:
            raise UsageError(f"{type(module).__name__} has no parameter {name!r}.")
        return places[name]

    return find, len(names) + 1


def block_layers(module: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    """The linear layers and convolutions inside blocks: full name -> (name inside its block, layer).

    The projections of nn.MultiheadAttention are left out: it reads their weights and never calls them, so that
    whatever is wrapped around them would have no effect.
    """
    found: dict[str, tuple[str, nn.Module]] = {}
    for block, part in blocks(module):
        hidden = {name for name, child in part.named_modules() if isinstance(child, nn.MultiheadAttention)}
        for name, layer in part.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and name.rpartition(".")[0] not in hidden:
                full = f"{block}.{name}" if name else block
                found[full] = (name or block.rpartition(".")[2], layer)
    return found


def _is_convolution(part: nn.Module) -> bool:
    return isinstance(getattr(part, "base_layer", part), nn.Conv2d)
