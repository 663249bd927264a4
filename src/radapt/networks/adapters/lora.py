"""Adapters that peft puts beside the layers of an encoder: LoRA, DoRA and (IA)³."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import nn

from radapt.errors import UsageError, suggest
from radapt.networks.adapters.blocks import INNER, KEYS_AND_VALUES, OUTER, QUERIES, block_layers, blocks
from radapt.networks.adapters.lean_lora import lighten

Targets = Sequence[str] | None


def inject_lora(
    module: nn.Module, rank: int, alpha: float, dropout: float, targets: Targets, seed: int, *, magnitudes: bool = False
) -> None:
    """Put LoRA, or with `magnitudes` DoRA, beside the target layers of every block (see `adapters.Lora`)."""
    if not (rank >= 1 and alpha > 0 and 0 <= dropout < 1):
        raise UsageError(
            f"LoRA needs rank ≥ 1, alpha > 0 and dropout in [0, 1); given: {rank}, {alpha:g} and {dropout:g}."
        )
    from peft import LoraConfig

    names = _lora_targets(module, targets)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names, use_dora=magnitudes, bias="none"
    )
    _inject(config, module)
    _draw(module, seed)
    for _, tuner in tuners(module):
        lighten(tuner)


def inject_ia3(module: nn.Module, targets: Targets, feed_forward: Targets) -> None:
    """Put a factor per channel at the outputs of `targets` and the inputs of `feed_forward` (see `adapters.Ia3`)."""
    from peft import IA3Config

    outputs, inputs = _ia3_targets(module, targets, feed_forward)
    _inject(IA3Config(target_modules=[*outputs, *inputs], feedforward_modules=inputs), module)


def tuners(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that hold an adapter, by the name of the layer it was put beside."""
    return [
        (name, part)
        for name, part in module.named_modules()
        if hasattr(part, "base_layer") and type(part).__module__.startswith("peft.")
    ]


def _inject(config: object, module: nn.Module) -> None:
    from peft import inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):  # peft draws initial values that `_draw` replaces
        inject_adapter_in_model(config, module)
    for block in blocks(module):
        _Watch(*block)


def _draw(module: nn.Module, seed: int) -> None:
    """Fill LoRA's first matrices as their authors do (kaiming uniform, a = √5), from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    for _, tuner in tuners(module):
        for first in tuner.lora_A.values():  # type: ignore[operator]
            bound = 1 / math.sqrt(math.prod(first.weight.shape[1:]))
            drawn = torch.rand(first.weight.shape, generator=generator).mul_(2).sub_(1).mul_(bound)
            with torch.no_grad():
                first.weight.copy_(drawn)


class _Watch:
    """Refuses, at a block's first forward pass, adapters that the block does not call.

    Some attention layers read the weights of their projections instead of calling them (BEiT, Swin v2): peft then
    wraps a layer whose adapter is never used, and training would change nothing without a word.
    """

    def __init__(self, name: str, block: nn.Module) -> None:
        found = [(f"{name}.{inner}" if inner else name, tuner) for inner, tuner in tuners(block)]
        self._waiting = {full for full, _ in found}
        self._handles = [tuner.register_forward_hook(partial(self._called, full)) for full, tuner in found]
        self._handles.append(block.register_forward_hook(self._judge))

    def _called(self, name: str, *_: object) -> None:
        self._waiting.discard(name)

    def _judge(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        if self._waiting:
            raise UsageError(
                f"Adapters at {', '.join(sorted(self._waiting))} have no effect: the network reads the weights there "
                "without calling the layer. Give other targets."
            )


def _lora_targets(module: nn.Module, targets: Targets) -> list[str]:
    layers = {full: inner for full, (inner, layer) in block_layers(module).items() if getattr(layer, "groups", 1) == 1}
    if targets is not None:
        return _some(_matching(layers, targets), layers)
    kinds = (KEYS_AND_VALUES, QUERIES, INNER, OUTER)
    found = [full for full, inner in layers.items() if any(kind.fullmatch(inner) for kind in kinds)]
    return _some(found or _convolutions(module, layers), layers)


def _ia3_targets(module: nn.Module, targets: Targets, feed_forward: Targets) -> tuple[list[str], list[str]]:
    """Names of the layers whose outputs, and of those whose inputs, are scaled; no layer is both."""
    layers = {full: inner for full, (inner, _) in block_layers(module).items()}
    if targets is None and feed_forward is None:
        inputs = [full for full, inner in layers.items() if OUTER.fullmatch(inner)]
        outputs = [full for full, inner in layers.items() if KEYS_AND_VALUES.fullmatch(inner)]
        outputs = outputs if inputs or outputs else _convolutions(module, layers)
    else:
        inputs = _matching(layers, feed_forward or ())
        outputs = [full for full in _matching(layers, targets or ()) if full not in inputs]
    _some([*inputs, *outputs], layers)
    return outputs, inputs


def _convolutions(module: nn.Module, layers: Mapping[str, str]) -> list[str]:
    return [name for name in layers if isinstance(module.get_submodule(name), nn.Conv2d)]


def _matching(layers: Mapping[str, str], targets: Sequence[str]) -> list[str]:
    """Full names of the layers whose name ends with one of `targets`, each of which must match."""
    targets = (targets,) if isinstance(targets, str) else targets
    wanted: set[str] = set()
    for target in targets:
        found = {full for full in layers if full == target or full.endswith(f".{target}")}
        if not found:
            known = _ends(layers) if "." in target else [end.rpartition(".")[2] for end in _ends(layers)]
            raise UsageError(f"No layer of the blocks is called {target!r}. {suggest(target, dict.fromkeys(known))}")
        wanted |= found
    return [full for full in layers if full in wanted]


def _some(found: list[str], layers: Mapping[str, str]) -> list[str]:
    if not found:
        raise UsageError(
            "No layer of the blocks is one that adapters are put beside. Give targets: ends of layer names. "
            f"Known: {', '.join(_ends(layers)) or 'none'}."
        )
    return found


def _ends(layers: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(layers.values()))
