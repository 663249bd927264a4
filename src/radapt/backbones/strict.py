"""Strict loading of weights: every tensor is accounted for by name."""

import math
import re
from typing import Any

import torch
from torch import nn

from radapt.backbones.catalog import CATALOG
from radapt.backbones.namings import State, convert
from radapt.backbones.position import RECIPES
from radapt.errors import UsageError

# Tensors that training code stores with an encoder and on which no token depends.
HARMLESS = re.compile(
    r"^(head|heads|head_dist|fc|classifier|last_linear|pre_logits|pooler|proj|projector|dino_head|ibot_head|dino_loss|"
    r"ibot_patch_loss|decoder\w*|lm_head|logit_scale|logit_bias|local_cls_norm|norms|student|projectors|mask_token|"
    r"prompt_encoder|mask_decoder|pixel_mean|pixel_std)(\.|$)|"
    r"rope\w*\.|\.(bias_mask|num_batches_tracked|relative_position_index|attn_mask)$|\.position_ids$"
)
_NAMED = 6  # how many names an error lists before it counts the rest


def load_strictly(module: nn.Module, state: State, *, recipe: str, what: str, expected: str) -> tuple[str, ...]:
    """Copy `state` into `module` (with allocated storage); returns notes on what was renamed, reshaped or left out.

    `what` names the file and `expected` the card in messages. UsageError lists tensors that are missing, unexpected or
    of another shape, and describes the file.
    """
    state, notes = convert(state)
    given = describe(state)
    state, more = _fit(module, state, recipe)
    problems = _problems(module, state)
    if problems:
        if given == describe(module.state_dict()):
            given += ", but not this one"
        raise UsageError(
            f"The weights in {what} do not fit {expected}. They look like {given}; expected "
            f"{describe(module.state_dict())}. {' '.join(problems)} Name the right file with --weights, or the right "
            "encoder with --backbone (in a study: `as`)."
        )
    module.load_state_dict(state, strict=True)
    _refuse_nonfinite(module, what)
    return (*notes, *more)


def _fit(module: nn.Module, state: State, recipe: str) -> tuple[State, tuple[str, ...]]:
    """Convert `state` to the module's conventions and drop harmless extra tensors."""
    target = module.state_dict()
    notes: list[str] = []
    state = dict(state)
    for key in [key for key in state if key not in target]:
        scale = re.fullmatch(r"(.*)\.ls([12])\.gamma", key)
        if scale and f"{scale[1]}.gamma_{scale[2]}" in target:
            state[f"{scale[1]}.gamma_{scale[2]}"] = state.pop(key)
    zero = [key for key in state if key not in target and key.endswith(".qkv.bias") and not state[key].any()]
    if zero:
        notes.append(f"{len(zero)} all-zero qkv biases left out")
    extra = [key for key in state if key not in target and HARMLESS.search(key)]
    if extra:
        notes.append(f"left out, not part of the encoder: {_names(extra)}")
    for key in {*zero, *extra}:
        del state[key]
    for key in target:
        if key.endswith("num_batches_tracked") and key not in state:
            state[key] = torch.zeros_like(target[key], device="cpu")  # older files lack it
    return _fit_positions(module, state, recipe, notes), tuple(notes)


def _fit_positions(module: Any, state: State, recipe: str, notes: list[str]) -> State:
    """Fold a separate CLS position into the CLS token, and accept a base grid of another size."""
    given, own = state.get("pos_embed"), getattr(module, "pos_embed", None)
    if given is None or own is None or recipe not in RECIPES or given.ndim != 3 or given.shape[2] != own.shape[2]:
        return state
    n_prefix = 0 if module.no_embed_class else module.num_prefix_tokens
    if module.no_embed_class and "cls_token" in state and _is_square(given.shape[1] - 1):
        # The position of the CLS token is a constant added to a constant.
        state["cls_token"] = state["cls_token"] + given[:, :1]
        state["pos_embed"] = given = given[:, 1:]
    if given.shape != own.shape and _is_square(given.shape[1] - n_prefix):
        side = math.isqrt(given.shape[1] - n_prefix)
        module.pos_embed = nn.Parameter(torch.empty_like(given, dtype=own.dtype))
        notes.append(f"position embedding on a grid of {side} × {side}")
    return state


def _problems(module: nn.Module, state: State) -> list[str]:
    target = module.state_dict()
    missing = [key for key in target if key not in state]
    unexpected = [key for key in state if key not in target]
    shapes = [
        f"{key} ({tuple(state[key].shape)} instead of {tuple(target[key].shape)})"
        for key in target
        if key in state and state[key].shape != target[key].shape
    ]
    lists = (("Missing", missing), ("Unexpected", unexpected), ("Of another shape", shapes))
    return [f"{title}: {_names(keys)}." for title, keys in lists if keys]


def _refuse_nonfinite(module: nn.Module, what: str) -> None:
    bad = [key for key, value in module.state_dict().items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise UsageError(f"The weights in {what} hold NaN or infinite values in {_names(bad)}: did training diverge?")


def describe(state: State) -> str:
    """The kind of encoder that tensors with timm's names belong to, and the catalog entries of the same shape."""
    patch = state.get("patch_embed.proj.weight")
    if patch is None:
        marks = {
            "a ResNet": r"^layer4\.", "a DenseNet": r"^features\.denseblock", "a ConvNeXt": r"^stages\..*conv_dw",
            "a VGG": r"^features\.\d+\.weight$", "an EfficientNet": r"^blocks\.\d+\.\d+\.conv_dw\.",
        }  # fmt: skip
        for name, mark in marks.items():
            if any(re.search(mark, key) for key in state):
                return f"{name} of {len(state)} tensors"
        return f"no encoder that radapt knows ({len(state)} tensors: {_names(list(state))})"
    depth = len({key.split(".")[1] for key in state if re.match(r"blocks\.\d+\.", key)})
    registers = state["reg_token"].shape[1] if "reg_token" in state else 0
    matching = [
        card.name
        for card in CATALOG.values()
        if (card.width, card.depth, card.patch) == (patch.shape[0], depth, patch.shape[-1])
        and _registers(card.name) == registers
    ]
    likeness = f"like {', '.join(matching)}" if matching else "like none in the catalog"
    return (
        f"a ViT with patch {patch.shape[-1]}, width {patch.shape[0]}, {depth} blocks and {registers or 'no'} registers "
        f"({likeness})"
    )


def _registers(name: str) -> int:
    return 4 if name.endswith("-reg") or (name.startswith("dinov3") and "convnext" not in name) else 0


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _names(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more
