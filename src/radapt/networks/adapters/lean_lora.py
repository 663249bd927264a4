"""LoRA and DoRA on linear layers with less memory and fewer passes over it than peft's own forward pass.

peft holds the parameters; this module computes with them. With x (..., D) the input, W (E, D) and b the frozen layer,
A (r, D) and B (E, r) the adapter, s its scale and d dropout:

    LoRA   y = W x + b + s B A d(x)
    DoRA   y = m ⊙ (W x + s B A d(x)) + b,   m = magnitude / ‖W + s B A‖ per row, the norm taken as constant

In plain LoRA each layer stores the dropped-out copy of its input and the dropout mask, over all layers more than the
gradients and moments that LoRA saves over full fine-tuning. Here only x itself is stored, which exists anyway, and a
mask of one byte per number. DoRA's own code also applies dropout to what its magnitudes scale; here, as in LoRA, the
frozen layer sees all of x, and nothing of the size of W is stored.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_LEVELS = 1 << 16


class LeanLora:
    """Replaces peft's LoRA variant on a linear layer."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: Tensor, result: Tensor, **_: Any) -> Tensor:
        """`result` W x + b, from peft, -> y (..., E)."""
        return _added(module, active_adapter, x, result)


class LeanDora:
    """Replaces peft's DoRA variant on a linear layer."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: Tensor, result: Tensor, **_: Any) -> Tensor:
        """`result` W x + b, from peft, -> y (..., E)."""
        base = module.get_base_layer()
        first, second = module.lora_A[active_adapter].weight, module.lora_B[active_adapter].weight
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            adapted = torch.addmm(base.weight, second.to(base.weight.dtype), first.to(base.weight.dtype),
                                alpha=module.scaling[active_adapter])  # fmt: skip
            norm = adapted.float().norm(dim=1)
        share = module.lora_magnitude_vector[active_adapter].weight / norm  # (E,)
        added = _added(module, active_adapter, x, result)
        return added * share if base.bias is None else torch.addcmul(base.bias * (1 - share), added, share)


def lighten(tuner: Any) -> None:
    """Make a linear layer with peft's LoRA or DoRA compute its forward pass with this module."""
    for name, first in tuner.lora_A.items():
        if isinstance(first, nn.Linear):
            tuner.lora_variant[name] = LeanDora() if name in tuner.lora_magnitude_vector else LeanLora()
            tuner.cast_input_dtype_enabled = False


def _added(module: Any, adapter: str, x: Tensor, result: Tensor) -> Tensor:
    """result + s B A d(x): (..., D), (..., E) -> (..., E)."""
    first, second = module.lora_A[adapter].weight, module.lora_B[adapter].weight
    dropout = module.lora_dropout[adapter]
    share = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else first.dtype
    dropped, scale = round(share * _LEVELS), module.scaling[adapter]
    if dropped:
        hidden = _DropAndMultiply.apply(x, first, _kept(x, dropped), dtype)
        scale *= _LEVELS / (_LEVELS - dropped)
    else:
        hidden = nn.functional.linear(x.to(dtype), first.to(dtype))  # (..., r)
    flat = torch.addmm(
        result.flatten(0, -2).to(dtype), hidden.flatten(0, -2), second.to(dtype).T, alpha=scale
    )  # one pass instead of three for product, scaling and sum
    return flat.view(result.shape)


class _DropAndMultiply(torch.autograd.Function):
    """x, A, kept -> (x ⊙ kept) Aᵀ, without the scaling of dropout."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Tensor, kept: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(x, first, kept)
        return (x * kept).to(dtype) @ first.to(dtype).T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, first, kept = ctx.saved_tensors
        for_x = for_first = None
        if ctx.needs_input_grad[0]:
            for_x = ((gradient @ first.to(gradient.dtype)) * kept).to(x.dtype)
        if ctx.needs_input_grad[1]:
            dropped = (x * kept).to(gradient.dtype)
            for_first = (gradient.flatten(0, -2).T @ dropped.flatten(0, -2)).to(first.dtype)
        return for_x, for_first, None, None


def _kept(x: Tensor, dropped: int) -> Tensor:
    """int8 dropout mask of x's shape: 0 for `dropped` of 65,536 numbers on average, else 1; drawn from torch's random
    state."""
    if x.device.type == "cpu":
        # A tenth of the time of torch's own draws, which would take longer than the products on a CPU.
        seed = int(torch.randint(1 << 62, ()))
        drawn = np.random.Generator(np.random.SFC64(seed)).integers(_LEVELS, size=x.numel(), dtype=np.uint16)
        kept = torch.from_numpy(drawn >= dropped).view(x.shape)
    else:
        kept = torch.rand(x.shape, device=x.device) >= dropped / _LEVELS
    return kept.view(torch.int8)  # multiplying by bytes is twice as fast as selecting by booleans
