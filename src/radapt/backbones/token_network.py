"""An encoder as a module of tensors for one size of images, and an extractor that lets a runner compute it."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from radapt.backbones.encoders import PlainViT, TokenExtractor
from radapt.backbones.tokens import LayerTokens
from radapt.runtimes.runner import Runner


class TokenNetwork(nn.Module):
    """Normalised images (B, 3, H, W) of one size -> CLS (B, D) and patch tokens (B, h, w, D) of each layer in turn.

    The position embedding is interpolated to the size once, here: runtimes have no antialiased interpolation.
    """

    def __init__(self, module: nn.Module, extractor: TokenExtractor, layers: tuple[int, ...], images: Tensor) -> None:
        """`images` are an example, of which only the size matters."""
        super().__init__()
        self.module, self.layers = module, layers
        self.extractor = extractor.baked(module, images) if isinstance(extractor, PlainViT) else extractor

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        tokens = self.extractor(self.module, images, self.layers)
        return tuple(part for layer in tokens for part in (layer.cls, layer.patches))


class RunnerExtractor:
    """Tokens by a `runner`, which computes a `TokenNetwork` for each size of images and choice of layers."""

    def __init__(self, extractor: TokenExtractor, runner: Runner) -> None:
        self.extractor, self.runner = extractor, runner

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenExtractor:
        """A copy is made to be trained, by PyTorch."""
        return deepcopy(self.extractor, memo)

    def widths(self, module: Any) -> tuple[int, ...]:
        return self.extractor.widths(module)

    def __call__(self, module: Any, images: Tensor, layers: Sequence[int]) -> list[LayerTokens]:
        chosen = tuple(layers)
        height, width = images.shape[-2:]
        name = f"tokens-{height}x{width}-layers-{'-'.join(map(str, chosen))}"

        def make() -> nn.Module:
            with torch.inference_mode(False), torch.no_grad():
                return TokenNetwork(_in_float32(module), self.extractor, chosen, images)

        found = self.runner(name, make, (images,))
        device = images.device
        return [
            LayerTokens(found[2 * place].to(device), found[2 * place + 1].to(device)) for place in range(len(chosen))
        ]

    def block_inputs(self, module: Any, images: Tensor, blocks: int) -> Tensor:
        """As `PlainViT.block_inputs`."""
        height, width = images.shape[-2:]

        def make() -> nn.Module:
            with torch.inference_mode(False), torch.no_grad():
                return _BlockInputs(_in_float32(module), self.extractor, blocks, images)

        return self.runner(f"inputs-{height}x{width}-blocks-{blocks}", make, (images,))[0].to(images.device)


class _BlockInputs(nn.Module):
    """Normalised images (B, 3, H, W) -> the tokens (B, R + h·w, D) that enter the last `blocks` blocks."""

    def __init__(self, module: nn.Module, extractor: Any, blocks: int, images: Tensor) -> None:
        super().__init__()
        self.module, self.blocks, self.extractor = module, blocks, extractor.baked(module, images)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.extractor.block_inputs(self.module, images, self.blocks)
        return found


def _in_float32(module: nn.Module) -> nn.Module:
    """The module, or a copy with the same weights in float32."""
    if all(each.dtype == torch.float32 for each in module.parameters() if each.is_floating_point()):
        return module
    return deepcopy(module).float()
