"""The options of `transunet`, and the `TrainConfig` that follows from them."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.networks.transunet import HYBRIDS, Size
from radapt.protocols.image_problem import Precision
from radapt.training import TrainConfig

RATES = {"sgd": 0.01, "adamw": 3e-4}
"""Learning rates: the paper's for SGD; for AdamW a third of what suits convolutions, for the transformer."""

DECAYS = {"sgd": 1e-4, "adamw": 0.05}
"""Weight decay: the paper's for SGD, and that of `training.TrainConfig`."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class TransUNetOptions:
    """TransUNet (Chen et al. 2021): a ResNet, a transformer on its last map, and a decoder with skip connections.

    It reads the study's planes (size, axis and greys of the recipe), all modalities as channels, zeros where one is
    missing, and trains with Dice + cross-entropy. `network`: `base` is the paper's R50-ViT-B/16, `small` R26-ViT-S/32,
    `tiny` a ResNet-11 with four blocks for processors without an accelerator. `weights`: `random`, or `pretrained` as
    timm has them for `base` and `small` (the paper starts there). Training ends after `epochs` or `steps`, whichever
    comes first, with about `scores` validation passes; the best weights are kept. `optimiser` `adamw` (cosine) or the
    paper's `sgd` (poly); `lr` and `weight_decay` None take its defaults. `foreground` is the fraction of an epoch that
    is drawn from slices with a label, label by label. `augment`, `mirror` and `modality_dropout` as in `segment`.
    """

    network: Size = "base"
    weights: Literal["random", "pretrained"] = "random"
    epochs: Annotated[int, Field(ge=1)] = 150  # the paper's
    steps: Annotated[int, Field(ge=1)] | None = 2000  # as many as `segment` takes; the paper's 150 epochs are 14,000
    scores: Annotated[int, Field(ge=1)] = 20
    batch: Annotated[int, Field(ge=1)] = 24  # the paper's
    optimiser: Literal["sgd", "adamw"] = "adamw"
    lr: Annotated[float, Field(gt=0, le=10)] | None = None
    weight_decay: Annotated[float, Field(ge=0, lt=10)] | None = None
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.33
    augment: Literal["default", "none"] = "default"
    mirror: Literal["auto", "none", "left-right", "all"] = "auto"
    modality_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def __post_init__(self) -> None:
        if self.weights == "pretrained" and not HYBRIDS[self.network].timm:
            raise ValueError(f"network: {self.network} has no pretrained weights; base and small have")

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.lr or RATES[self.optimiser]

    def train_config(self, slices: int, precision: Precision) -> TrainConfig:
        """How a network is trained on `slices` slices."""
        sgd = self.optimiser == "sgd"
        config = TrainConfig(
            epochs=self.epochs, batch=self.batch, steps=self.steps, optimiser=self.optimiser, warmup=self.warmup,
            clip=self.clip, lr=self.rate, schedule="poly" if sgd else "cosine",
            weight_decay=DECAYS[self.optimiser] if self.weight_decay is None else self.weight_decay,
            precision=precision,
        )  # fmt: skip
        epochs = -(-config.total_steps(slices) // config.epoch_steps(slices))
        return replace(config, epochs=epochs, score_every=max(1, epochs // self.scores))
