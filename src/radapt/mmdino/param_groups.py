"""Parameter groups of an adaptation, with learning-rate scales and frozen shares of the steps."""

from collections.abc import Callable, Iterable

from torch import nn

from radapt.errors import UsageError
from radapt.networks.adapters.encoder_blocks import layer_of
from radapt.training import Group, parameter_groups

LAYER_DECAY = 0.9
"""Factor on the learning rate from each layer to the one before it: MM-DINOv2 (arXiv 2509.06617) and DINOv2."""
PATCH_SCALE = 0.2
"""Further factor for the patch embedding, which new kinds of images disturb most: MM-DINOv2 and DINOv2."""
FROZEN = 0.05
"""Share of the steps in which the pretrained part is frozen: 10 of 200 epochs in MM-DINOv2."""
FROZEN_LAST = 0.005
"""Share of the steps in which prototypes are frozen: 1 of 200 epochs, as in DINO and DINOv2."""


def adaptation_groups(
    module: nn.Module,
    pretrained: nn.Module,
    *,
    last: Iterable[nn.Module] = (),
    layer_decay: float = LAYER_DECAY,
    patch_scale: float = PATCH_SCALE,
    frozen: float = FROZEN,
    frozen_last: float = FROZEN_LAST,
) -> list[Group]:
    """The parameter groups of `module`, the encoder with its heads.

    `pretrained` is the backbone in it (`MultiModalViT.vit`): its learning rate falls by `layer_decay` per layer from
    the heads down, with a further `patch_scale` for the patch embedding, and it is frozen for the share `frozen` of the
    steps. The modules in `last` (the layers of prototypes) are frozen for `frozen_last`. All others, such as modality
    embeddings, are new and train at the full rate from the start.

    Raises UsageError if `pretrained` or one of `last` is not a submodule of `module`.
    """
    waiting = {id(weight) for layer in last for weight in layer.parameters()}
    inside = {id(weight): name for name, weight in pretrained.named_parameters()}
    own = {id(weight) for weight in module.parameters()}
    if not own.issuperset(waiting | inside.keys()):
        raise UsageError(
            "Groups of an adaptation: the backbone and the last layers have to be submodules of the module."
        )
    layer, layers = layer_of(pretrained)
    rates = {key: layer_decay ** (layers - layer(name)) for key, name in inside.items()}
    rates |= {key: rates[key] * patch_scale for key, name in inside.items() if "patch_embed" in name.split(".")}
    waits = dict.fromkeys(inside, frozen) | dict.fromkeys(waiting, frozen_last)
    return _grouped(module, lambda weight: (rates.get(id(weight), 1.0), waits.get(id(weight), 0.0)))


def _grouped(module: nn.Module, settings: Callable[[nn.Parameter], tuple[float, float]]) -> list[Group]:
    """The groups of `parameter_groups`, split by learning-rate scale and frozen share (`settings` of a parameter)."""
    groups: list[Group] = []
    for group in parameter_groups(module):
        members: dict[tuple[float, float], list[nn.Parameter]] = {}
        for weight in group.parameters:
            members.setdefault(settings(weight), []).append(weight)
        groups += [Group(weights, rate, group.decay, wait) for (rate, wait), weights in members.items()]
    return groups
