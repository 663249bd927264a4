"""Adapters folded into the weights they were put beside, so that an encoder can be kept and run without them."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from radapt.networks.adapters.lora import tuners


@torch.no_grad()
def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of `module.state_dict()` as they are without adapters, each adapter folded into its layer.

    `module` is left as it was. A module of the same kind without adapters, loaded with them, gives the same outputs up
    to rounding; dropout of LoRA aside, which acts in training only. Without adapters this is the state dict itself.
    """
    found = tuners(module)
    inside = tuple(f"{name}." for name, _ in found)
    state = {name: tensor for name, tensor in module.state_dict().items() if not name.startswith(inside)}
    for name, tuner in found:
        state |= {f"{name}.{end}": tensor for end, tensor in _folded(tuner).items()}
    return state


def _folded(tuner: Any) -> dict[str, Tensor]:
    """The layer under an adapter with the adapter in its weights."""
    base = tuner.get_base_layer()
    adapters = tuple(getattr(tuner, "lora_A", ()))
    if not isinstance(base, nn.Linear) or len(adapters) != 1:
        whole = copy.deepcopy(tuner)
        whole.merge()
        return dict(whole.get_base_layer().state_dict())
    (adapter,) = adapters
    weight = base.weight + tuner.get_delta_weight(adapter).to(base.weight.dtype)
    if adapter in tuner.lora_magnitude_vector:  # DoRA: y = m / ‖W + s B A‖ ⊙ (W + s B A) x + b, as in `lean_lora`
        share = tuner.lora_magnitude_vector[adapter].weight / weight.float().norm(dim=1)
        weight = weight * share[:, None].to(weight.dtype)
    return {**base.state_dict(), "weight": weight}
