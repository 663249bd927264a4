"""Fine-tuning a backbone on a cohort, from biases alone to every weight: one implementation, a protocol per method."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor, nn

from radapt.classification.case_loader import BagLoader
from radapt.classification.input_spec import InputSpec
from radapt.classification.slice_pooling import SliceProtocol
from radapt.classification.task import TrainableModel
from radapt.errors import UsageError
from radapt.networks import adapt, fingerprint, layer_of, train_mode
from radapt.networks.case_classifier import CaseClassifier
from radapt.protocols.training_options import BIAS_RATES, FULL_RATES, IA3_RATES, LORA_RATES, LayerNames, Rates
from radapt.training import Augmentation, Group, parameter_groups

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

_strict = ConfigDict(extra="forbid")


@checked(frozen=True, config=_strict)
class Adapting(SliceProtocol):
    """A backbone, adapted together with a head that classifies cases from their slices.

    `head_lr` is the learning rate of everything outside the backbone: the head starts from random weights.
    `patch_mean` concatenates the mean of the patch tokens to the CLS token.
    """

    method: ClassVar[str]

    lr: Rates = FULL_RATES
    head_lr: Annotated[float, Field(gt=0, le=10)] = 1e-3  # the smallest rate of the study's linear probes
    patch_mean: bool = False

    @property
    @abc.abstractmethod
    def method_options(self) -> dict[str, Any]:
        """Options of the method for `radapt.networks.adapt`."""

    @property
    def rate_decay(self) -> float | None:
        """Learning-rate factor from a layer to the one before it; None: one rate for all layers."""
        return None

    def trainee(self, shape: InputSpec, backbone: "Backbone | None", seed: int) -> TrainableModel:
        if backbone is None:
            raise UsageError(f"Protocol {self.name!r} adapts a backbone, but none was given.")
        adapt(backbone.module, self.method, seed=seed, **self.method_options)
        width = backbone.width * (2 if self.patch_mean else 1)
        network = self.over_slices(backbone.module, _Encode(backbone, self.patch_mean), width, shape, seed)
        network.to(backbone.device)
        augmentation = Augmentation.for_kind(shape.kind, dims=2, strength=self.augment)
        feed = BagLoader(network, augmentation, self.slices_per_case)
        return AdaptedTrainableModel(feed, backbone.identity, self.head_lr, self.rate_decay)


@dataclass(frozen=True, eq=False)
class AdaptedTrainableModel(TrainableModel):
    """A `CaseClassifier` around an adapted encoder. Parameters outside the encoder have the learning rate `head_lr`;
    inside, `rate_decay` is the factor from a layer to the one before it (None: one rate for all layers)."""

    head_lr: float = 1e-3
    rate_decay: float | None = None

    @property
    def _encoder(self) -> nn.Module:
        return cast(CaseClassifier, self.network).encoder

    def train_mode(self) -> None:
        self.network.train()
        train_mode(self._encoder)

    def groups(self, lr: float) -> list[Group]:
        encoder = self._encoder
        if self.rate_decay is None:
            inner = parameter_groups(encoder)
        else:
            layer, last = layer_of(encoder)
            inner = parameter_groups(encoder, layer_of=layer, layers=last, layer_decay=self.rate_decay)
        own = {id(parameter) for parameter in encoder.parameters()}
        outer = [
            Group([p for p in group.parameters if id(p) not in own], self.head_lr / lr, group.decay)
            for group in parameter_groups(self.network)
        ]
        return [group for group in (*inner, *outer) if group.parameters]

    def frozen(self) -> str:
        return fingerprint(self._encoder)


class _Encode:
    """Slices (S, C, H, W) -> (S, D): the last CLS token, with `patch_mean` also the mean patch token."""

    def __init__(self, backbone: "Backbone", patch_mean: bool) -> None:
        self.backbone, self.patch_mean = backbone, patch_mean

    def __call__(self, images: Tensor) -> Tensor:
        tokens = self.backbone.tokens(images, gradients=True)
        return torch.cat([tokens.cls, tokens.patches.mean((1, 2))], dim=1) if self.patch_mean else tokens.cls


@checked(frozen=True, config=_strict)
class Finetune(Adapting):
    """Trains every weight of the backbone, with layer-wise learning-rate decay `layer_decay`."""

    name: ClassVar[str] = "finetune"
    method: ClassVar[str] = "full"

    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.75  # MAE (He et al. 2022, table 9)

    @property
    def method_options(self) -> dict[str, Any]:
        return {}

    @property
    def rate_decay(self) -> float | None:
        return self.layer_decay


@checked(frozen=True, config=_strict)
class Partial(Adapting):
    """Trains the last `blocks` blocks of the backbone and what follows them; the rest stays frozen."""

    name: ClassVar[str] = "partial"
    method: ClassVar[str] = "partial"

    blocks: Annotated[int, Field(ge=1)] = 4  # close to full fine-tuning in MAE (He et al. 2022, figure 9)
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.75

    @property
    def method_options(self) -> dict[str, Any]:
        return {"blocks": self.blocks}

    @property
    def rate_decay(self) -> float | None:
        return self.layer_decay


@checked(frozen=True, config=_strict)
class Bitfit(Adapting):
    """Trains the biases only (Ben Zaken et al. 2022)."""

    name: ClassVar[str] = "bitfit"
    method: ClassVar[str] = "bitfit"

    lr: Rates = BIAS_RATES

    @property
    def method_options(self) -> dict[str, Any]:
        return {}


@checked(frozen=True, config=_strict)
class Norm(Bitfit):
    """Trains the weights and biases of normalisation layers only."""

    name: ClassVar[str] = "norm"
    method: ClassVar[str] = "norm"


@checked(frozen=True, config=_strict)
class Lora(Adapting):
    """Low-rank updates of the projections of every block (Hu et al. 2022).

    `rank`, `alpha` and `dropout` are the radiology study's (arXiv 2312.02366). `targets` are suffixes of layer
    names; None: the default of the backbone's family (see `networks.adapters`).
    """

    name: ClassVar[str] = "lora"
    method: ClassVar[str] = "lora"

    lr: Rates = LORA_RATES
    rank: Annotated[int, Field(ge=1)] = 48
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    targets: LayerNames = None

    @property
    def method_options(self) -> dict[str, Any]:
        return {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout, "targets": _listed(self.targets)}


@checked(frozen=True, config=_strict)
class Dora(Lora):
    """LoRA on the direction of weights, with their magnitude trained separately (Liu et al. 2024)."""

    name: ClassVar[str] = "dora"
    method: ClassVar[str] = "dora"


@checked(frozen=True, config=_strict)
class Ia3(Adapting):
    """A trained factor per channel of keys, values and the hidden layers of every block (Liu et al. 2022)."""

    name: ClassVar[str] = "ia3"
    method: ClassVar[str] = "ia3"

    lr: Rates = IA3_RATES
    targets: LayerNames = None
    feed_forward: LayerNames = None

    @property
    def method_options(self) -> dict[str, Any]:
        return {"targets": _listed(self.targets), "feed_forward": _listed(self.feed_forward)}


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)
