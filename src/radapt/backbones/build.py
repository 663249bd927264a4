"""From a card to a module: without weights (on torch's meta device), or with random ones that a seed decides."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from radapt.backbones.card import WeightCard


def build(card: WeightCard) -> nn.Module:
    """The module of `card`, in evaluation mode, without storage for its weights (meta device)."""
    with torch.device("meta"):
        return _create(card)


def materialise(module: nn.Module, card: WeightCard) -> nn.Module:
    """The same module on the CPU: buffers that no file holds (rotary frequencies, window indices) are computed,
    parameters and stored buffers are uninitialised memory, to be filled by the caller."""
    from timm.models._manipulate import reinit_non_persistent_buffers

    owners = [part for part in module.modules() if part._non_persistent_buffers_set]
    if all(hasattr(part, "init_non_persistent_buffers") for part in owners):
        module.to_empty(device="cpu")
        reinit_non_persistent_buffers(module)
        return module
    with torch.random.fork_rng(devices=[]):  # slower, but such buffers are then right
        return _create(card)


def randomise(module: nn.Module, seed: int) -> None:
    """Fill every parameter and stored buffer from `seed`, in name order; no global random state is read or changed.

    Weights are normal with variance 2 / fan-in in CNNs and 1 / fan-in elsewhere, norms are the identity, embeddings
    normal with deviation 0.02 (0.5 for CLS and registers would drown the image), layer scales 1: at their trained
    start of 1e-5 an untrained encoder would give nearly the same CLS token for every image.
    """
    rng = np.random.default_rng(seed)
    norms = {id(p) for part in module.modules() if _is_norm(part) for p in part.parameters(recurse=False)}
    gain = (
        2.0
        if any(isinstance(part, nn.BatchNorm2d) or type(part).__name__ == "VGG" for part in module.modules())
        else 1.0
    )
    persistent = module.state_dict(keep_vars=True)
    with torch.no_grad():
        for name in sorted(persistent):
            _fill(persistent[name], name, rng, gain, is_norm=id(persistent[name]) in norms)


def _fill(tensor: torch.Tensor, name: str, rng: np.random.Generator, gain: float, *, is_norm: bool) -> None:
    end = name.rpartition(".")[2]
    if not isinstance(tensor, nn.Parameter):
        tensor.fill_(1 if end == "running_var" else 0)
    elif end == "bias" or end.endswith("_bias"):
        tensor.zero_()
    elif is_norm or "gamma" in end:
        tensor.fill_(1)
    else:
        spread = 0.02
        if end == "weight" and tensor.ndim > 1:
            spread = math.sqrt(gain / math.prod(tensor.shape[1:]))
        draw = rng.standard_normal(tuple(tensor.shape), dtype=np.float32)
        tensor.copy_(torch.from_numpy(draw).mul_(spread))


def _is_norm(part: nn.Module) -> bool:
    return (
        isinstance(part, nn.LayerNorm | nn.GroupNorm | nn.modules.batchnorm._BatchNorm) or "Norm" in type(part).__name__
    )


def _create(card: WeightCard) -> nn.Module:
    kind, _, model = card.architecture.partition(":")
    options = dict(card.options)
    if kind == "transformers":
        from radapt.backbones.others import transformers_module

        module = transformers_module(options)
    elif kind == "vit":
        module = _plain_vit(options)
    else:
        module = _timm(model, options)
    return module.eval()


def _timm(model: str, options: dict[str, Any]) -> nn.Module:
    import timm

    if model.startswith("vit_"):
        options = {"dynamic_img_size": True, **options}
    module = timm.create_model(model, pretrained=False, num_classes=0, **options)
    if hasattr(module, "pre_logits") and type(module).__name__ == "VGG":
        module.pre_logits = nn.Identity()  # see the catalog: only the convolutions are the encoder
        module.head_hidden_size = module.num_features
    return module


def _plain_vit(options: dict[str, Any]) -> nn.Module:
    from functools import partial

    from timm.models.vision_transformer import VisionTransformer

    options = dict(options)
    eps = options.pop("eps", 1e-6)
    return VisionTransformer(num_classes=0, dynamic_img_size=True, norm_layer=partial(nn.LayerNorm, eps=eps), **options)
