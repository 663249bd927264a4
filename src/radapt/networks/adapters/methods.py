"""What of an encoder is trained: nothing, all, its last blocks, biases or norms, or small adapters put into it."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from radapt.errors import UsageError, suggest
from radapt.networks.adapters.blocks import blocks, layer_of
from radapt.networks.adapters.lora import Targets, inject_ia3, inject_lora


class TuningMethod(abc.ABC):
    """A way to adapt an encoder; its fields are its options. All parameters are frozen when it is applied."""

    @abc.abstractmethod
    def apply(self, module: nn.Module, seed: int) -> None:
        """Make what this method trains require gradients."""


@dataclass(frozen=True)
class Frozen(TuningMethod):
    """Nothing."""

    def apply(self, module: nn.Module, seed: int) -> None:
        pass


@dataclass(frozen=True)
class Full(TuningMethod):
    """Every parameter."""

    def apply(self, module: nn.Module, seed: int) -> None:
        module.requires_grad_(True)


@dataclass(frozen=True)
class Partial(TuningMethod):
    """The last `blocks` blocks and what follows them. Four come close to all (MAE, arXiv 2111.06377, figure 9)."""

    blocks: int = 4

    def apply(self, module: nn.Module, seed: int) -> None:
        present = len(blocks(module))
        if not 1 <= self.blocks <= present:
            raise UsageError(f"The last {self.blocks} blocks were asked for; {type(module).__name__} has {present}.")
        layer, _ = layer_of(module)
        _train(module, lambda name: layer(name) > present - self.blocks, "block")


@dataclass(frozen=True)
class BitFit(TuningMethod):
    """Every bias term, those of norms too (Ben Zaken 2022, arXiv 2106.10199)."""

    def apply(self, module: nn.Module, seed: int) -> None:
        _train(module, lambda name: name.endswith("bias"), "bias")


@dataclass(frozen=True)
class Norm(TuningMethod):
    """Weight and bias of every normalisation layer (Qi 2022, arXiv 2211.08682; of CNNs Frankle 2021,
    arXiv 2003.00152). The running statistics of batch normalisation stay as they are."""

    def apply(self, module: nn.Module, seed: int) -> None:
        owners = {name for name, part in module.named_modules() if "Norm" in type(part).__name__}
        _train(module, lambda name: name.rpartition(".")[0] in owners, "normalisation layer with parameters")


@dataclass(frozen=True)
class Lora(TuningMethod):
    """A low-rank update beside each target layer (Hu 2022, arXiv 2106.09685); starts as the identity.

    The defaults are those of the radiology study (arXiv 2312.02366): qkv, fc1 and fc2 of every block. `targets` are
    ends of layer names (`attn.qkv`, `proj`); None: the projections to queries, keys and values and both
    feed-forward layers, and in a CNN without such layers the ungrouped convolutions of every block.
    """

    rank: int = 48
    alpha: float = 16.0
    dropout: float = 0.1
    targets: Targets = None

    def apply(self, module: nn.Module, seed: int) -> None:
        inject_lora(module, self.rank, self.alpha, self.dropout, self.targets, seed)


@dataclass(frozen=True)
class Dora(Lora):
    """LoRA for the direction of each target's weights, with a trained magnitude per output (Liu 2024, arXiv
    2402.09353). Options and defaults are LoRA's."""

    def apply(self, module: nn.Module, seed: int) -> None:
        inject_lora(module, self.rank, self.alpha, self.dropout, self.targets, seed, magnitudes=True)


@dataclass(frozen=True)
class Ia3(TuningMethod):
    """A factor per channel of keys, values and the hidden layer of each feed-forward part (Liu 2022, arXiv 2205.05638).

    `targets` are layers whose outputs are scaled, `feed_forward` those whose inputs are (ends of names); both None:
    the paper's, and in a CNN without such layers the outputs of the convolutions of every block. A fused qkv is scaled
    as a whole: a factor on a query's channel does what the same one on the key's does.
    """

    targets: Targets = None
    feed_forward: Targets = None

    def apply(self, module: nn.Module, seed: int) -> None:
        inject_ia3(module, self.targets, self.feed_forward)


METHODS: Mapping[str, type[TuningMethod]] = {
    "frozen": Frozen,
    "full": Full,
    "partial": Partial,
    "bitfit": BitFit,
    "norm": Norm,
    "lora": Lora,
    "dora": Dora,
    "ia3": Ia3,
}


def adapt(module: nn.Module, method: str, *, seed: int = 0, **options: Any) -> None:
    """Freeze `module` and make exactly what `method` trains require gradients, putting adapters in where it has any.

    In place: the module's type and the names of its parts stay, so that whatever runs it goes on working, and its
    outputs are what they were. `options` are the fields of the method's class in `METHODS`; `seed` decides the
    initial values of LoRA's first matrices. Call it once, on a module without adapters.

    Raises UsageError for an unknown method or option, a value out of range, a module that is adapted already, and
    targets that match none of its layers. A target that the module turns out not to call is a UsageError at the
    first forward pass.
    """
    ready = make_method(method, **options)
    if hasattr(module, "peft_config"):
        raise UsageError(f"{type(module).__name__} has adapters already. Adapt a newly loaded backbone.")
    module.requires_grad_(False)
    ready.apply(module, seed)


def make_method(method: str, /, **options: Any) -> TuningMethod:
    """The method of a name with its options set. Raises UsageError for an unknown name or option."""
    if method not in METHODS:
        raise UsageError(f"Unknown way to adapt a backbone: {method!r}. {suggest(method, METHODS)}")
    kind = METHODS[method]
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise UsageError(f"Method {method!r} has no option {option!r}. {suggest(option, known)}")
    return kind(**options)


def _train(module: nn.Module, wanted: Callable[[str], bool], what: str) -> None:
    found = [parameter for name, parameter in module.named_parameters() if wanted(name)]
    if not found:
        raise UsageError(f"{type(module).__name__} has no {what}, so there is nothing to train by this method.")
    for parameter in found:
        parameter.requires_grad_(True)
