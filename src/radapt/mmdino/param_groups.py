"""How fast each part of an adapted encoder and its heads learns, and what waits at first."""

from collections.abc import Callable, Iterable

from torch import nn

from radapt.errors import UsageError
from radapt.networks.adapters.blocks import layer_of
from radapt.training import Group, parameter_groups

LAYER_DECAY = 0.9
"""Of the learning rate, from each layer to the one before it: MM-DINOv2 (arXiv 2509.06617), as DINOv2."""
PATCH_SCALE = 0.2
"""Of the patch embedding's learning rate beside that: MM-DINOv2, as DINOv2; new kinds of images unsettle it most."""
FROZEN = 0.05
"""Share of the steps for which the pretrained part stays as it is: 10 of 200 epochs in MM-DINOv2."""
FROZEN_LAST = 0.005
"""Share of the steps for which prototypes stay as they are: 1 of 200 epochs, as in DINO and DINOv2."""


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
    """Groups of all trained parameters of `module`: the encoder with its heads.

    `pretrained` is the backbone in it (`MultiModalViT.vit`), whose layers learn slower the further they are from the
    heads, as in `networks`; its patch embedding at `patch_scale` of that; all of them not before the share `frozen`
    of the steps. Parameters in `last` (the layers of prototypes) wait for `frozen_last`. All others are new, such as
    embeddings of modalities, and learn at the full rate from the start.

    Raises UsageError if `pretrained` or one of `last` is not a part of `module`.
    """
    waiting = {id(each) for part in last for each in part.parameters()}
    inside = {id(each): name for name, each in pretrained.named_parameters()}
    known = {id(each) for each in module.parameters()}
    if not known.issuperset(waiting | inside.keys()):
        raise UsageError("Groups of an adaptation: the backbone and the last layers have to be parts of the module.")
    layer, layers = layer_of(pretrained)
    rates = {key: layer_decay ** (layers - layer(name)) for key, name in inside.items()}
    rates |= {key: rates[key] * patch_scale for key, name in inside.items() if "patch_embed" in name.split(".")}
    waits = dict.fromkeys(inside, frozen) | dict.fromkeys(waiting, frozen_last)
    return _grouped(module, lambda each: (rates.get(id(each), 1.0), waits.get(id(each), 0.0)))


def _grouped(module: nn.Module, place: Callable[[nn.Parameter], tuple[float, float]]) -> list[Group]:
    """The groups of `parameter_groups`, each cut by the rate and the frozen share of its parameters."""
    groups: list[Group] = []
    for group in parameter_groups(module):
        members: dict[tuple[float, float], list[nn.Parameter]] = {}
        for each in group.parameters:
            members.setdefault(place(each), []).append(each)
        groups += [Group(found, rate, group.decay, wait) for (rate, wait), found in members.items()]
    return groups
