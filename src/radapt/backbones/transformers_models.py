"""Encoders of the transformers library: their module, weights and tokens."""

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from radapt.backbones.card import WeightCard
from radapt.backbones.tokens import LayerTokens
from radapt.backbones.weight_files import State
from radapt.errors import UsageError

_HOOKS = "transformers.utils.output_capturing"
_NORMS = ("layernorm", "norm", "post_layernorm", "layer_norm")


def transformers_module(options: dict[str, Any]) -> nn.Module:
    """The encoder that transformers builds from a card's `config` option, without weights."""
    from transformers import AutoModel

    return AutoModel.from_config(_config(options))


def load_transformers(card: WeightCard, state: State, what: str) -> tuple[nn.Module, tuple[str, ...]]:
    """The encoder with `state`, whose names transformers converts; strict like all loading."""
    config = _config(dict(card.options))
    with torch.device("meta"):
        kind: Any = type(transformers_module(dict(card.options)))
    module, info = kind.from_pretrained(None, config=config, state_dict=state, output_loading_info=True)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    wrong = sorted(str(key) for key in info["mismatched_keys"])
    if missing or wrong:
        listed = ", ".join([*missing, *wrong][:6])
        raise UsageError(f"The weights in {what} do not fit {card.name}: missing or of another shape: {listed}.")
    unexpected = sorted(info["unexpected_keys"])
    listed = f"{', '.join(unexpected[:6])} ({len(unexpected)} in all)"
    return module.eval(), (f"left out, not part of the encoder: {listed}",) if unexpected else ()


def _config(options: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    config = json.loads(options["config"])
    try:
        return AutoConfig.for_model(config.pop("model_type"), **config)
    except (KeyError, ValueError) as error:
        raise UsageError(f"transformers has no encoder for this repository: {error}") from error


class TransformersEncoder:
    """Any image encoder of transformers that returns its hidden states.

    A sequence with more tokens than patches starts with the CLS token; otherwise cls is the mean of the patches. The
    last layer is transformers' own output; earlier layers of the same width get the model's final norm, as in the
    catalog.
    """

    def widths(self, module: Any) -> tuple[int, ...]:
        config = module.config
        stages = getattr(config, "hidden_sizes", None)
        if stages and not hasattr(config, "num_attention_heads"):
            return tuple(stages)
        if getattr(config, "depths", None):
            return tuple(config.embed_dim * 2 ** min(i + 1, len(config.depths) - 1) for i in range(len(config.depths)))
        return (config.hidden_size,) * config.num_hidden_layers

    def __call__(self, module: Any, images: torch.Tensor, layers: Sequence[int]) -> list[LayerTokens]:
        import inspect

        more = {}
        if "interpolate_pos_encoding" in inspect.signature(module.forward).parameters:
            more["interpolate_pos_encoding"] = True
        output = module(pixel_values=images, output_hidden_states=True, **more)
        _unhook(module)
        depth = len(self.widths(module))
        states = list(output.hidden_states[-depth:])
        norm = next((getattr(module, name) for name in _NORMS if hasattr(module, name)), None)
        return [self._tokens(module, images, states, output.last_hidden_state, norm, index) for index in layers]

    def _tokens(
        self, module: Any, images: torch.Tensor, states: list[torch.Tensor], last: torch.Tensor, norm: Any, index: int
    ) -> LayerTokens:
        state = states[index]
        size = tuple(state.shape[2:]) if state.ndim == 4 else None
        if index == len(states) - 1:
            state = last
        elif state.ndim == 3 and norm is not None and state.shape[-1] == last.shape[-1]:
            state = norm(state)
        if state.ndim == 4:
            patches = state.permute(0, 2, 3, 1).float()  # (B, D, h, w) -> (B, h, w, D)
            return LayerTokens(patches.mean((1, 2)), patches)
        height, width = size or self._grid(module, images, state.shape[1])
        n_prefix = state.shape[1] - height * width
        patches = state[:, n_prefix:].unflatten(1, (height, width)).float()  # (B, R + h·w, D) -> (B, h, w, D)
        return LayerTokens(state[:, 0].float() if n_prefix else patches.mean((1, 2)), patches)

    def _grid(self, module: Any, images: torch.Tensor, count: int) -> tuple[int, int]:
        patch = side_of(module.config.patch_size)
        height, width = images.shape[2] // patch, images.shape[3] // patch
        while height * width > count:  # every stage of a pyramid halves the sides
            height, width = (height + 1) // 2, (width + 1) // 2
        return height, width


def _unhook(module: nn.Module) -> None:
    """Remove the hooks with which transformers captures hidden states; it adds them again at the next call.

    They are nested functions, which cannot be pickled, so a module with them could not be sent to another process.
    """
    for child in module.modules():
        child.__dict__.pop("_output_capturing_hooks_installed", None)
        hooks = child._forward_hooks
        for number in [number for number, hook in hooks.items() if getattr(hook, "__module__", None) == _HOOKS]:
            del hooks[number]


def side_of(value: Any) -> int:
    """The side of a square, given as a number or a pair in configurations."""
    return int(value[0] if isinstance(value, list | tuple) else value)
