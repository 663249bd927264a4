"""Modules from weight cards: without weights (on torch's meta device), or with random weights from a seed."""

import math
from functools import partial
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
    """The module on the CPU: non-persistent buffers (rotary frequencies, window indices) are computed, parameters and
    persistent buffers are uninitialised memory for the caller to fill."""
    from timm.models._manipulate import reinit_non_persistent_buffers

    owners = [child for child in module.modules() if child._non_persistent_buffers_set]
    if all(hasattr(child, "init_non_persistent_buffers") for child in owners):
        module.to_empty(device="cpu")
        reinit_non_persistent_buffers(module)
        return module
    with torch.random.fork_rng(devices=[]):  # slower, but these buffers are then correct
        return _create(card)


def randomise(module: nn.Module, seed: int) -> None:
    """Fill every parameter and persistent buffer from `seed`, in name order, without the global random state.

    Weights are uniform with variance 2 / fan-in in CNNs and 1 / fan-in elsewhere, embeddings uniform with standard
    deviation 0.02, norms the identity, layer scales 1: with the usual 1e-5 an untrained encoder gives nearly the same
    CLS token for every image. The last norm of a ResNet block is 0.25, or fifty blocks would double the variance fifty
    times.
    """
    rng = np.random.default_rng(seed)
    norms = {id(p) for child in module.modules() if _is_norm(child) for p in child.parameters(recurse=False)}
    gain = 2.0 if any(isinstance(child, nn.BatchNorm2d | nn.ReLU) for child in module.modules()) else 1.0
    stored = module.state_dict(keep_vars=True)
    with torch.no_grad():
        for name in sorted(stored):
            _fill(stored[name], name, rng, gain, is_norm=id(stored[name]) in norms)
        for block in module.modules():
            last = getattr(block, "bn3", getattr(block, "bn2", None))
            if hasattr(block, "zero_init_last") and last is not None:
                last.weight.fill_(0.25)


def to_train(module: nn.Module) -> None:
    """Initialise a randomised plain vision transformer so that it trains faster; other modules are left unchanged.

    Attention starts by attending to similar tokens and subtracting what they share, as trained attention does (mimetic
    initialisation, Trockman and Kolter 2023, arXiv 2305.09828; here with shared random projections, whose products are
    close to the identity, instead of a decomposition per head). Position embeddings are 2D sines and cosines, as in MAE
    and MoCo v3, at half the amplitude, because they would dominate in small encoders. Used for encoders that are to be
    trained; encoders that stand in for a pretrained one stay purely random.
    """
    with torch.no_grad():
        for child in module.modules():
            _mimetic(child)


def _mimetic(module: nn.Module) -> None:
    """Initialise an attention layer or a position embedding as `to_train` says; other modules stay unchanged."""
    qkv, proj = getattr(module, "qkv", None), getattr(module, "proj", None)
    if isinstance(qkv, nn.Linear) and isinstance(proj, nn.Linear) and qkv.weight.shape[0] == 3 * proj.in_features:
        query, key, value = qkv.weight.chunk(3)
        if value.shape == proj.weight.T.shape:
            key.add_(query).mul_(math.sqrt(0.5))
            proj.weight.sub_(value.T).mul_(0.5)
            value.mul_(math.sqrt(0.5))
    positions, patches = getattr(module, "pos_embed", None), getattr(module, "patch_embed", None)
    if isinstance(positions, nn.Parameter) and positions.ndim == 3 and positions.shape[2] % 4 == 0:
        grid = getattr(patches, "grid_size", None)
        if grid is not None and math.prod(grid) <= positions.shape[1]:
            positions[:, positions.shape[1] - math.prod(grid) :] = 0.5 * _sincos(grid, positions.shape[2])


def _sincos(grid: tuple[int, int], width: int) -> torch.Tensor:
    """(h · w, D): sines and cosines of row and column, at D / 4 wavelengths from 2π to 20000π patches."""
    rates = 10_000 ** (-torch.arange(width // 4) / (width // 4))
    row, column = torch.meshgrid(*(torch.arange(side).float() for side in grid), indexing="ij")
    angles = [coordinate.flatten()[:, None] * rates for coordinate in (row, column)]
    return torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)


def _fill(tensor: torch.Tensor, name: str, rng: np.random.Generator, gain: float, *, is_norm: bool) -> None:
    end = name.rpartition(".")[2]
    if not isinstance(tensor, nn.Parameter):
        tensor.fill_(1 if end == "running_var" else 0)
    elif end == "bias" or end.endswith("_bias"):
        tensor.zero_()
    elif is_norm or "gamma" in end or "layer_scale" in name:
        tensor.fill_(1)
    else:
        is_matrix = end == "weight" and tensor.ndim > 1
        deviation = math.sqrt(gain / math.prod(tensor.shape[1:])) if is_matrix else 0.02
        # Uniform numbers take a fifth of the time of normal ones; on [-1, 1) their standard deviation is 1 / √3.
        draw = torch.from_numpy(rng.random(tuple(tensor.shape), dtype=np.float32))
        tensor.copy_(draw.mul_(2).sub_(1).mul_(deviation * math.sqrt(3)))


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


def _create(card: WeightCard) -> nn.Module:
    kind, _, model = card.architecture.partition(":")
    options = dict(card.options)
    if kind == "transformers":
        from radapt.backbones.transformers_models import transformers_module

        module = transformers_module(options)
    elif kind == "vit":
        module = _plain_vit(options)
    else:
        module = _timm(model, options)
    return module.eval()


def _timm(model: str, options: dict[str, Any]) -> nn.Module:
    import timm

    try:  # transformers that support it accept any image size
        module = timm.create_model(model, pretrained=False, num_classes=0, dynamic_img_size=True, **options)
    except TypeError:
        module = timm.create_model(model, pretrained=False, num_classes=0, **options)
    if type(module).__name__ == "VGG":
        module.pre_logits = nn.Identity()  # see the catalog: only the convolutions are the encoder
    return module


def _plain_vit(options: dict[str, Any]) -> nn.Module:
    from timm.layers import SwiGLUPacked
    from timm.models.vision_transformer import VisionTransformer

    options = dict(options)
    if options.pop("swiglu", False):
        options |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    norm = partial(nn.LayerNorm, eps=options.pop("eps"))
    return VisionTransformer(num_classes=0, dynamic_img_size=True, norm_layer=norm, **options)
