"""The options of `unet`, and the `TrainConfig` and memory budget that follow from them."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.networks import Budget
from radapt.networks.unet.architecture import REFERENCE_GB, WIDEST_PATCH
from radapt.protocols.image_problem import Precision
from radapt.training import TrainConfig

RATES = {"adamw": 3e-3, "sgd": 0.01}
"""Learning rates: nnU-Net's for SGD; for AdamW three times the usual 1e-3, which converged faster in the first hundred
steps on X-rays, planes and volumes; SGD still predicted only background by then."""

DECAYS = {"adamw": 0.05, "sgd": 3e-5}
"""Weight decay: that of `training.TrainConfig`, and nnU-Net's."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class UNetOptions:
    """A U-Net trained from scratch, planned by nnU-Net's rules from the training cases (Isensee et al. 2021).

    `dims` 2 or 3, None: 3 where stacks are thick enough. `features` of the first stage, `memory_gb` for the patch,
    `longest` side of planes in 2D, and `patch` and `batch` in place of the planned ones: see `networks.plan`. `steps`
    of the optimiser: nnU-Net takes 250,000; the default takes two CPU cores half an hour (small volumes) to an hour
    (planes), and the notes of the record say if the validation score was still rising. Training has `scores` validation
    passes, and the best weights are kept; with 0 it learns from train and val, and the last weights are kept, as in
    nnU-Net. `foreground` is the fraction of patches centred in a label. `optimiser`
    `adamw` (cosine), which does better in few steps, or nnU-Net's `sgd` (Nesterov with `momentum`, poly); `lr` and
    `weight_decay` None take its defaults. `augment`: the augmentation for the kind of image, or `none`. `mirror`: flips
    in training, of left and right (`auto`: unless a label has a side, or the images are X-rays), of `all` axes, or
    `none`; with `mirror_test` predictions are averaged over the same flips. `modality_dropout` drops each modality of a
    sample with that probability, never all.
    """

    dims: Literal[2, 3] | None = None
    steps: Annotated[int, Field(ge=1)] = 1000
    scores: Annotated[int, Field(ge=0)] = 10
    batch: Annotated[int, Field(ge=1)] | None = None
    patch: tuple[Annotated[int, Field(ge=1, le=2048)], ...] | None = None
    features: Annotated[int, Field(ge=1, le=512)] = 32
    memory_gb: Annotated[float, Field(gt=0, le=1024)] = REFERENCE_GB
    longest: Annotated[int, Field(ge=16, le=8192)] | None = WIDEST_PATCH
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.33
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0, le=10)] | None = None
    weight_decay: Annotated[float, Field(ge=0, lt=10)] | None = None
    warmup: Annotated[float, Field(ge=0, lt=1)] = (
        0.05  # half of `TrainConfig`'s: a network without attention needs less
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99  # of SGD, nnU-Net's
    clip: Annotated[float, Field(gt=0)] | None = 12.0  # nnU-Net's
    augment: Literal["default", "none"] = "default"
    mirror: Literal["auto", "none", "left-right", "all"] = "auto"
    mirror_test: bool = False
    modality_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def train_config(self, batch: int, precision: Precision) -> TrainConfig:
        """How the network is trained: an epoch is the time between two validation passes."""
        sgd = self.optimiser == "sgd"
        return TrainConfig(
            epochs=self.looks, batch=batch, steps=self.steps, optimiser=self.optimiser,
            lr=self.rate, momentum=self.momentum, warmup=self.warmup, clip=self.clip,
            weight_decay=DECAYS[self.optimiser] if self.weight_decay is None else self.weight_decay,
            schedule="poly" if sgd else "cosine", precision=precision,
        )  # fmt: skip

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.lr or RATES[self.optimiser]

    @property
    def looks(self) -> int:
        """The number of epochs, each of which ends with a validation pass if there are any: at most one per step."""
        return max(1, min(self.scores, self.steps))

    @property
    def budget(self) -> Budget:
        """The limits of the planned network."""
        return Budget(self.memory_gb, self.features, self.longest, self.patch, self.batch)
