"""An encoder of one's own: any `nn.Module` as the parts of a `Backbone`."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from radapt.backbones.card import WeightCard
from radapt.backbones.tokens import LayerTokens
from radapt.backbones.weights import WeightSource
from radapt.errors import UsageError

OwnTokens = Callable[[nn.Module, torch.Tensor], Any]
"""From the module and normalised images (B, 3, H, W) to its output, in one of the forms that `layer_tokens` reads."""

_FORMS = "a vector per image (B, D), a feature map (B, D, h, w), or a pair of them: cls (B, D) and patches (B, h, w, D)"


class OwnExtractor:
    """Tokens of a module that radapt knows nothing of: one layer, from its output."""

    def __init__(self, tokens: OwnTokens | None, width: int) -> None:
        self._tokens, self._width = tokens, width

    def widths(self, module: Any) -> tuple[int, ...]:
        return (self._width,)

    def __call__(self, module: Any, images: torch.Tensor, layers: Sequence[int]) -> list[LayerTokens]:
        return [output_tokens(module, images, self._tokens)] * len(layers)


def output_tokens(module: nn.Module, images: torch.Tensor, tokens: OwnTokens | None) -> LayerTokens:
    """The tokens of a module's output. Raises UsageError for an output of another form."""
    return layer_tokens(module(images) if tokens is None else tokens(module, images), len(images))


def layer_tokens(output: Any, images: int) -> LayerTokens:
    """Tokens from a vector per image (B, D), which is the only patch too, from a feature map (B, D, h, w), whose mean
    is the CLS token, or from a pair (B, D) and (B, h, w, D). Raises UsageError for anything else."""
    pair: tuple[Any, ...] = output if isinstance(output, tuple) and len(output) == 2 else (output,)
    if all(isinstance(part, torch.Tensor) and part.is_floating_point() and len(part) == images for part in pair):
        shapes = [part.ndim for part in pair]
        if shapes == [2]:
            return LayerTokens(pair[0].float(), pair[0].float()[:, None, None, :])
        if shapes == [4]:
            patches = pair[0].permute(0, 2, 3, 1).float()
            return LayerTokens(patches.mean((1, 2)), patches)
        if shapes == [2, 4] and pair[0].shape[1] == pair[1].shape[3]:
            return LayerTokens(pair[0].float(), pair[1].float())
    given = ", ".join(str(tuple(getattr(part, "shape", ())) or type(part).__name__) for part in pair)
    raise UsageError(
        f"The module gave {given} for {images} images; expected {_FORMS}. Pass tokens=FUNCTION(module, images) that "
        "gives one of these."
    )


def own_card(
    module: nn.Module,
    tokens: OwnTokens | None,
    name: str,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    licence: str,
    pretraining: Sequence[str],
) -> WeightCard:
    """The card of a module: its width and patch size are measured on one grey image of `size` × `size` pixels.

    Raises UsageError for a module without parameters, a size, mean or std that cannot be, and tokens of another form.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if not any(parameter.is_floating_point() for parameter in module.parameters()):
        raise UsageError(f"{name} has no weights, so there is nothing to tell it from another module.")
    if size < 1 or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise UsageError(
            f"{name}: size {size}, mean {tuple(mean)} and std {tuple(std)}; expected a side in pixels, and three "
            "numbers each, those of std above 0."
        )
    weight = next(module.parameters())
    with torch.no_grad():
        found = output_tokens(module, torch.zeros(1, 3, size, size, dtype=weight.dtype, device=weight.device), tokens)
    rows, columns = found.patches.shape[1:3]
    if rows != columns:
        raise UsageError(
            f"{name} gives {rows} × {columns} patches of a square image; expected as many rows as columns."
        )
    return WeightCard(
        name=name, family="own", architecture=f"module:{type(module).__module__}.{type(module).__qualname__}",
        repo="", licence=licence, pretraining=tuple(pretraining), width=found.cls.shape[1], depth=1,
        parameters=parameters, patch=max(1, size // rows), native_size=size, mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]), fixed=True,
    )  # fmt: skip


def own_source(module: nn.Module, tokens: OwnTokens | None) -> WeightSource:
    """Where the weights come from: this process. The identity is the digest of every stored tensor and of the code of
    `tokens`, so that features of other weights are never taken for these."""
    seen = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        seen.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        seen.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    code = getattr(tokens, "__code__", None)
    seen.update(repr(tokens and getattr(tokens, "__qualname__", "")).encode() + (code.co_code if code else b""))
    return WeightSource("module", f"module:{seen.hexdigest()}", True, "a module of this process")
