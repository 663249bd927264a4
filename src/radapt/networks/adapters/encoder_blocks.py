"""The blocks of an encoder, whatever its family, and the layers in them that take adapters.

A block is the unit that a network repeats: a transformer layer, a residual or dense unit, in VGG a convolution. Names
are those of `named_modules`, which do not change when adapters are injected.
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
"""The projection into the hidden layer of a feed-forward network, also a gated one."""
OUTER = re.compile(_ENDS + r"(?:fc2|weights_out|(?<!attention\.)output\.dense)")
"""The projection out of the hidden layer."""


def blocks(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The blocks of an encoder by name, first to last.

    ViT, DINOv3, SAM, Swin, ConvNeXt, ResNet, DenseNet and VGG as timm builds them, and the encoders of transformers.
    For another network, its top-level modules with parameters. Raises UsageError if there are none.
    """
    named = dict(module.named_modules())
    for pattern in _BLOCKS:
        names = [name for name in named if pattern.fullmatch(name)]
        parents = {name.rpartition(".")[0] for name in names}
        if names:
            return [(name, named[name]) for name in names if name not in parents]
    names = [name for name in named if _VGG.fullmatch(name) and _is_convolution(named[name])]
    names = names or [name for name, child in module.named_children() if any(True for _ in child.parameters())]
    if not names:
        raise UsageError(f"{type(module).__name__} has no modules with parameters, so there is nothing to adapt.")
    return [(name, named[name]) for name in names]


def layer_of(module: nn.Module) -> tuple[Callable[[str], int], int]:
    """The layer of a parameter by its name, and the number of the last layer.

    Layer 0 is everything before the first block, layer i the i-th block and what follows it before the next one, and
    the last layer, number of blocks + 1, is everything after the last block (a final norm). For layer-wise learning
    rate decay (BEiT, arXiv 2106.08254): the scale of layer i is decay ** (last - i); that of a head is 1.

    The returned function raises UsageError for a name that is not a parameter of the module.
    """
    names = [name for name, _ in blocks(module)]
    layers: dict[str, int] = {}
    inside, layer = 0, 0
    for name, _ in module.named_parameters():
        inside = next((i for i, block in enumerate(names, 1) if name.startswith(f"{block}.")), 0)
        layer = inside or (len(names) + 1 if layer >= len(names) else layer)
        layers[name] = layer

    def find(name: str) -> int:
        if name not in layers:
            raise UsageError(f"{type(module).__name__} has no parameter {name!r}.")
        return layers[name]

    return find, len(names) + 1


def block_layers(module: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    """The linear layers and convolutions inside blocks: full name -> (name inside its block, layer).

    The projections of nn.MultiheadAttention are left out: it reads their weights without calling them, so an adapter
    around them would have no effect.
    """
    inside: dict[str, tuple[str, nn.Module]] = {}
    for block_name, block in blocks(module):
        attentions = {name for name, child in block.named_modules() if isinstance(child, nn.MultiheadAttention)}
        for name, layer in block.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and name.rpartition(".")[0] not in attentions:
                full = f"{block_name}.{name}" if name else block_name
                inside[full] = (name or block_name.rpartition(".")[2], layer)
    return inside


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(getattr(module, "base_layer", module), nn.Conv2d)
