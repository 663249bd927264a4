"""Tuning methods: train nothing, everything, the last blocks, biases or norms of an encoder, or injected adapters."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from radapt.errors import UsageError, suggest
from radapt.networks.adapters.encoder_blocks import blocks, layer_of
from radapt.networks.adapters.lora import Targets, inject_ia3, inject_lora


class TuningMethod(abc.ABC):
    """A method to adapt an encoder; its fields are its options. All parameters are frozen before it is applied."""

    @abc.abstractmethod
    def apply(self, module: nn.Module, seed: int) -> None:
        """Make the parameters that this method trains require gradients."""


@dataclass(frozen=True)
class FrozenTuning(TuningMethod):
    """Trains nothing."""

    def apply(self, module: nn.Module, seed: int) -> None:
        pass


@dataclass(frozen=True)
class FullTuning(TuningMethod):
    """Trains every parameter (full fine-tuning)."""

    def apply(self, module: nn.Module, seed: int) -> None:
        module.requires_grad_(True)


@dataclass(frozen=True)
class PartialTuning(TuningMethod):
    """Trains the last `blocks` blocks and what follows. Four come close to all (MAE, arXiv 2111.06377, figure 9)."""

    blocks: int = 4

    def apply(self, module: nn.Module, seed: int) -> None:
        present = len(blocks(module))
        if not 1 <= self.blocks <= present:
            raise UsageError(f"Expected 1 to {present} blocks of {type(module).__name__} to train; got {self.blocks}.")
        layer, _ = layer_of(module)
        _train(module, lambda name: layer(name) > present - self.blocks, "block")


@dataclass(frozen=True)
class BitFitTuning(TuningMethod):
    """Trains every bias, those of norms too (Ben Zaken 2022, arXiv 2106.10199)."""

    def apply(self, module: nn.Module, seed: int) -> None:
        _train(module, lambda name: name.endswith("bias"), "bias")


@dataclass(frozen=True)
class NormTuning(TuningMethod):
    """Trains weight and bias of every normalisation layer (Qi 2022, arXiv 2211.08682; for CNNs Frankle 2021,
    arXiv 2003.00152). The running statistics of batch normalisation stay unchanged."""

    def apply(self, module: nn.Module, seed: int) -> None:
        owners = {name for name, child in module.named_modules() if "Norm" in type(child).__name__}
        _train(module, lambda name: name.rpartition(".")[0] in owners, "normalisation layer with parameters")


@dataclass(frozen=True)
class LoraTuning(TuningMethod):
    """LoRA, a low-rank update of each target layer (Hu 2022, arXiv 2106.09685); it starts as the identity.

    The defaults are those of the radiology study (arXiv 2312.02366): qkv, fc1 and fc2 of every block. `targets` are
    suffixes of layer names (`attn.qkv`, `proj`); None: the projections to queries, keys and values and both
    feed-forward layers, and in a CNN without such layers the ungrouped convolutions of every block.
    """

    rank: int = 48
    alpha: float = 16.0
    dropout: float = 0.1
    targets: Targets = None

    def apply(self, module: nn.Module, seed: int) -> None:
        inject_lora(module, self.rank, self.alpha, self.dropout, self.targets, seed)


@dataclass(frozen=True)
class DoraTuning(LoraTuning):
    """DoRA: LoRA for the direction of each target's weights, with a trained magnitude per output (Liu 2024, arXiv
    2402.09353). Options and defaults are those of LoRA."""

    def apply(self, module: nn.Module, seed: int) -> None:
        inject_lora(module, self.rank, self.alpha, self.dropout, self.targets, seed, magnitudes=True)


@dataclass(frozen=True)
class Ia3Tuning(TuningMethod):
    """(IA)³: a factor per channel of keys, values and the feed-forward hidden layer (Liu 2022, arXiv 2205.05638).

    `targets` are layers whose outputs are scaled, `feed_forward` those whose inputs are (suffixes of names); both None:
    the paper's, and in a CNN without such layers the outputs of the convolutions of every block. A fused qkv is scaled
    as a whole: a factor on a channel of the query has the same effect as on that of the key.
    """

    targets: Targets = None
    feed_forward: Targets = None

    def apply(self, module: nn.Module, seed: int) -> None:
        inject_ia3(module, self.targets, self.feed_forward)


METHODS: Mapping[str, type[TuningMethod]] = {
    "frozen": FrozenTuning,
    "full": FullTuning,
    "partial": PartialTuning,
    "bitfit": BitFitTuning,
    "norm": NormTuning,
    "lora": LoraTuning,
    "dora": DoraTuning,
    "ia3": Ia3Tuning,
}


def adapt(module: nn.Module, method: str, *, seed: int = 0, **options: Any) -> None:
    """Freeze `module`, inject the adapters of `method` if any, and make exactly what it trains require gradients.

    In place: the module's type, the names of its children and its outputs do not change. `options` are the fields of
    the method's class in `METHODS`; `seed` decides the initial values of LoRA's first matrices. Call it once, on a
    module without adapters.

    Raises UsageError for an unknown method or option, a value out of range, a module that is already adapted, and
    targets that match no layer. A target that the module does not call raises UsageError at the first forward pass.
    """
    tuning = make_method(method, **options)
    if hasattr(module, "peft_config"):
        raise UsageError(f"{type(module).__name__} already has adapters. Adapt a newly loaded backbone.")
    module.requires_grad_(False)
    tuning.apply(module, seed)


def make_method(method: str, /, **options: Any) -> TuningMethod:
    """The tuning method `method` with its options. Raises UsageError for an unknown name or option."""
    if method not in METHODS:
        raise UsageError(f"Unknown tuning method {method!r}. {suggest(method, METHODS)}")
    kind = METHODS[method]
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise UsageError(f"Method {method!r} has no option {option!r}. {suggest(option, known)}")
    return kind(**options)


def _train(module: nn.Module, wanted: Callable[[str], bool], what: str) -> None:
    parameters = [parameter for name, parameter in module.named_parameters() if wanted(name)]
    if not parameters:
        raise UsageError(f"{type(module).__name__} has no {what}, so this method has nothing to train.")
    for parameter in parameters:
        parameter.requires_grad_(True)
