"""Adapters that peft puts beside the layers of an encoder: LoRA, DoRA and (IA)³."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from radapt.errors import UsageError, suggest
from radapt.networks.adapters_blocks import INNER, KEYS_AND_VALUES, OUTER, QUERIES, block_layers, blocks

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


def inject_ia3(module: nn.Module, targets: Targets, feed_forward: Targets) -> None:
    """Put a factor per channel at the outputs of `targets` and the inputs of `feed_forward` (see `adapters.Ia3`)."""
    from peft import IA3Config

    outputs, inputs = _ia3_targets(module, targets, feed_forward)
    _inject(IA3Config(target_modules=[*outputs, *inputs], feedforward_modules=inputs), module)


def tuners(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that hold an adapter, by the name of the layer it was put beside."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, part) for name, part in module.named_modules() if isinstance(part, BaseTunerLayer)]


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
        self._waiting = {f"{name}.{inner}" if inner else name: tuner for inner, tuner in tuners(block)}
        self._handles = [tuner.register_forward_hook(self._called(full)) for full, tuner in list(self._waiting.items())]
        if self._waiting:
            self._handles.append(block.register_forward_hook(self._judge))

    def _called(self, name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            self._waiting.pop(name, None)

        return hook

    def _judge(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        if self._waiting:
            raise UsageError(
                f"Adapters at {', '.join(self._waiting)} have no effect: the network reads the weights there without "
                "calling the layer. Give other targets."
            )


def _lora_targets(module: nn.Module, targets: Targets) -> list[str]:
    layers = {full: inner for full, (inner, layer) in block_layers(module).items() if getattr(layer, "groups", 1) == 1}
    if targets is not None:
        return _matching(layers, targets)
    kinds = (KEYS_AND_VALUES, QUERIES, INNER, OUTER)
    found = [full for full, inner in layers.items() if any(kind.fullmatch(inner) for kind in kinds)]
    return _some(found or _convolutions(module, list(layers)), layers)


def _ia3_targets(module: nn.Module, targets: Targets, feed_forward: Targets) -> tuple[list[str], list[str]]:
    layers = {full: inner for full, (inner, _) in block_layers(module).items()}
    if targets is not None or feed_forward is not None:
        inputs = _matching(layers, feed_forward) if feed_forward else []
        outputs = [name for name in _matching(layers, targets) if name not in inputs] if targets else []
        return outputs, _some(inputs or outputs, layers) if not outputs else inputs
    outputs = [full for full, inner in layers.items() if KEYS_AND_VALUES.fullmatch(inner)]
    inputs = [full for full, inner in layers.items() if OUTER.fullmatch(inner)]
    if not outputs and not inputs:
        outputs = _some(_convolutions(module, list(layers)), layers)
    return outputs, inputs


def _convolutions(module: nn.Module, names: Sequence[str]) -> list[str]:
    named = dict(module.named_modules())
    return [name for name in names if isinstance(named[name], nn.Conv2d)]


def _matching(layers: dict[str, str], targets: Sequence[str]) -> list[str]:
    """Full names of the layers whose name ends with one of `targets`, each of which must match."""
    if isinstance(targets, str):
        targets = (targets,)
    found = {target: [full for full in layers if full == target or full.endswith(f".{target}")] for target in targets}
    for target, names in found.items():
        if not names:
            raise UsageError(f"No layer of the blocks is called {target!r}. {suggest(target, _ends(layers))}")
    wanted = {name for names in found.values() for name in names}
    return _some([full for full in layers if full in wanted], layers)


def _some(found: list[str], layers: dict[str, str]) -> list[str]:
    if not found:
        raise UsageError(
            "No layer of the blocks is one that adapters are put beside by default. Give targets: ends of layer names. "
            f"Known: {', '.join(_ends(layers)) or 'none'}."
        )
    return found


def _ends(layers: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(layers.values()))
