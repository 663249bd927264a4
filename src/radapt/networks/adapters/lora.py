"""Injection of peft's adapters into the layers of an encoder: LoRA, DoRA and (IA)³."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import nn

from radapt.errors import UsageError, suggest
from radapt.networks.adapters.encoder_blocks import INNER, KEYS_AND_VALUES, OUTER, QUERIES, block_layers, blocks
from radapt.networks.adapters.lean_lora import lighten

Targets = Sequence[str] | None


def inject_lora(
    module: nn.Module, rank: int, alpha: float, dropout: float, targets: Targets, seed: int, *, magnitudes: bool = False
) -> None:
    """Inject LoRA, or with `magnitudes` DoRA, into the target layers of every block (see `LoraTuning`)."""
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
    """Inject a factor per channel at the outputs of `targets` and the inputs of `feed_forward` (see `Ia3Tuning`)."""
    from peft import IA3Config

    outputs, inputs = _ia3_targets(module, targets, feed_forward)
    _inject(IA3Config(target_modules=[*outputs, *inputs], feedforward_modules=inputs), module)


def tuners(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers with an adapter, by name."""
    return [
        (name, child)
        for name, child in module.named_modules()
        if hasattr(child, "base_layer") and type(child).__module__.startswith("peft.")
    ]


def _inject(config: object, module: nn.Module) -> None:
    from peft import inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):  # peft draws initial values that `_draw` replaces
        inject_adapter_in_model(config, module)
    for block in blocks(module):
        _UnusedAdapterCheck(*block)


def _draw(module: nn.Module, seed: int) -> None:
    """Initialise LoRA's first matrices as its authors do (Kaiming uniform, a = √5), from a separate generator."""
    generator = torch.Generator().manual_seed(seed)
    for _, tuner in tuners(module):
        for first in tuner.lora_A.values():  # type: ignore[operator]
            bound = 1 / math.sqrt(math.prod(first.weight.shape[1:]))
            drawn = torch.rand(first.weight.shape, generator=generator).mul_(2).sub_(1).mul_(bound)
            with torch.no_grad():
                first.weight.copy_(drawn)


class _UnusedAdapterCheck:
    """Raises at a block's first forward pass for adapters that the block does not call.

    Some attention layers read the weights of their projections instead of calling them (BEiT, Swin v2): the adapter is
    then never used, and training would silently change nothing.
    """

    def __init__(self, name: str, block: nn.Module) -> None:
        adapted = [(f"{name}.{inner}" if inner else name, tuner) for inner, tuner in tuners(block)]
        self._uncalled = {full for full, _ in adapted}
        self._handles = [tuner.register_forward_hook(partial(self._called, full)) for full, tuner in adapted]
        self._handles.append(block.register_forward_hook(self._check))

    def _called(self, name: str, *_: object) -> None:
        self._uncalled.discard(name)

    def _check(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        if self._uncalled:
            raise UsageError(
                f"Adapters at {', '.join(sorted(self._uncalled))} have no effect: the network reads the weights there "
                "without calling the layer. Give other targets."
            )


def _lora_targets(module: nn.Module, targets: Targets) -> list[str]:
    layers = {full: inner for full, (inner, layer) in block_layers(module).items() if getattr(layer, "groups", 1) == 1}
    if targets is not None:
        return _not_empty(_matching(layers, targets), layers)
    kinds = (KEYS_AND_VALUES, QUERIES, INNER, OUTER)
    names = [full for full, inner in layers.items() if any(kind.fullmatch(inner) for kind in kinds)]
    return _not_empty(names or _convolutions(module, layers), layers)


def _ia3_targets(module: nn.Module, targets: Targets, feed_forward: Targets) -> tuple[list[str], list[str]]:
    """Names of the layers whose outputs are scaled, and of those whose inputs are; no layer is in both."""
    layers = {full: inner for full, (inner, _) in block_layers(module).items()}
    if targets is None and feed_forward is None:
        inputs = [full for full, inner in layers.items() if OUTER.fullmatch(inner)]
        outputs = [full for full, inner in layers.items() if KEYS_AND_VALUES.fullmatch(inner)]
        outputs = outputs if inputs or outputs else _convolutions(module, layers)
    else:
        inputs = _matching(layers, feed_forward or ())
        outputs = [full for full in _matching(layers, targets or ()) if full not in inputs]
    _not_empty([*inputs, *outputs], layers)
    return outputs, inputs


def _convolutions(module: nn.Module, layers: Mapping[str, str]) -> list[str]:
    return [name for name in layers if isinstance(module.get_submodule(name), nn.Conv2d)]


def _matching(layers: Mapping[str, str], targets: Sequence[str]) -> list[str]:
    """Full names of the layers whose name ends with one of `targets`, each of which must match."""
    targets = (targets,) if isinstance(targets, str) else targets
    wanted: set[str] = set()
    for target in targets:
        matches = {full for full in layers if full == target or full.endswith(f".{target}")}
        if not matches:
            known = _suffixes(layers) if "." in target else [end.rpartition(".")[2] for end in _suffixes(layers)]
            raise UsageError(f"No layer of the blocks is called {target!r}. {suggest(target, dict.fromkeys(known))}")
        wanted |= matches
    return [full for full in layers if full in wanted]


def _not_empty(names: list[str], layers: Mapping[str, str]) -> list[str]:
    if not names:
        raise UsageError(
            "No layer of the blocks takes adapters by default. Give targets: suffixes of layer names. "
            f"Known: {', '.join(_suffixes(layers)) or 'none'}."
        )
    return names


def _suffixes(layers: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(layers.values()))
