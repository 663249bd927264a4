"""Merging adapters into the weights of their layers, so that an encoder can be stored and run without them."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from radapt.networks.adapters.lora import tuners


@torch.no_grad()
def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of `module` without adapters, each adapter merged into its layer.

    `module` is unchanged. A module without adapters that loads this state gives the same outputs up to rounding, except
    for LoRA's dropout in training. Without adapters this is the state dict itself.
    """
    adapted = tuners(module)
    prefixes = tuple(f"{name}." for name, _ in adapted)
    state = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(prefixes)}
    for name, tuner in adapted:
        state |= {f"{name}.{end}": tensor for end, tensor in _merged(tuner).items()}
    return state


def _merged(tuner: Any) -> dict[str, Tensor]:
    """The state of the layer under an adapter, with the adapter merged into its weights."""
    base = tuner.get_base_layer()
    adapters = tuple(getattr(tuner, "lora_A", ()))
    if not isinstance(base, nn.Linear) or len(adapters) != 1:
        merged = copy.deepcopy(tuner)
        merged.merge()
        return dict(merged.get_base_layer().state_dict())
    (adapter,) = adapters
    weight = base.weight + tuner.get_delta_weight(adapter).to(base.weight.dtype)
    if adapter in tuner.lora_magnitude_vector:  # DoRA: y = m / ‖W + s B A‖ ⊙ (W + s B A) x + b, as in `lean_lora`
        share = tuner.lora_magnitude_vector[adapter].weight / weight.float().norm(dim=1)
        weight = weight * share[:, None].to(weight.dtype)
    return {**base.state_dict(), "weight": weight}
