"""A convolutional network trained from random weights, with a training recipe that makes it a fair baseline."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.classification.case_loader import BagLoader, CaseLoader
from radapt.classification.input_spec import InputSpec
from radapt.classification.slice_pooling import SLICES_PER_CASE, SliceProtocol
from radapt.classification.stacks import StackClassifier, StackLoader
from radapt.classification.supervised import Optimiser
from radapt.classification.task import TrainableModel
from radapt.errors import UsageError
from radapt.images.recipe import TRIPLANAR
from radapt.networks.classifiers import WIDTHS, NetworkName, PlainEncoder, check_sides, scratch_classifier, stem_for
from radapt.protocols.training_options import Rates
from radapt.training import Augmentation

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
    from radapt.images import Recipe

DEPTH = 32
"""Planes of a 3D stack. These networks halve each side five times, so 32 planes become one."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Scratch(SliceProtocol):
    """ResNet-18, ResNet-50 or DenseNet-121 from random weights, trained and evaluated like the adapted backbones.

    `dims` 2: slice by slice, pooled like a backbone's. `dims` 3: all planes of a case as one volume of `depth` planes
    (None: 32), modalities as channels. `stem`: small images (up to 64 px) keep their resolution at first, larger ones
    are divided by four; or name one. `lr` is for AdamW; SGD (Nesterov) needs rates at least ten times as large.

    The defaults begin with MedMNIST's recipe for its ResNets (Yang et al. 2023: Adam, 1e-3, 100 epochs) and add
    rates chosen on val, decoupled weight decay, warm-up and a cosine schedule instead of steps, augmentation and early
    stopping. Batches are small, as medical cohorts are.
    """

    name: ClassVar[str] = "scratch"
    uses_backbone: ClassVar[bool] = False

    network: NetworkName = "resnet18"
    dims: Literal[2, 3] = 2
    stem: Literal["auto", "standard", "small"] = "auto"
    optimiser: Optimiser = "adamw"
    lr: Rates = (1e-3, 3e-4, 3e-3)
    epochs: Annotated[int, Field(ge=1)] = 100
    patience: Annotated[int, Field(ge=1)] | None = 30
    batch: Annotated[int, Field(ge=2)] = 32  # batch normalisation needs at least two cases
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    depth: Annotated[int, Field(ge=1, le=512)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dims == 3 and self.slices is not None:
            raise ValueError("slices pools single slices, and dims: 3 reads whole volumes")
        if self.dims == 3 and self.slices_per_case != SLICES_PER_CASE:
            raise ValueError("slices_per_case counts single slices, and dims: 3 reads whole volumes")
        if self.dims == 2 and self.depth is not None:
            raise ValueError("depth counts the planes of a volume, and dims: 2 reads single slices")

    def recipe_read(self, recipe: "Recipe") -> "Recipe":
        """Whole planes with `dims` 3: neighbouring planes and modalities have to stay aligned in a volume."""
        return recipe.whole if self.dims == 3 else super().recipe_read(recipe)

    @property
    def optimiser_used(self) -> Optimiser:
        return self.optimiser

    def trainee(self, shape: InputSpec, backbone: "Backbone | None", seed: int) -> TrainableModel:
        return TrainableModel(self._flat(shape, seed) if self.dims == 2 else self._deep(shape, seed))

    def _flat(self, shape: InputSpec, seed: int) -> CaseLoader:
        stem = stem_for(shape.recipe.size) if self.stem == "auto" else self.stem
        check_sides(self.network, shape.recipe.size, stem)
        encoder = PlainEncoder(scratch_classifier(self.network, 2, shape.channels, 0, stem=stem, seed=seed))
        network = self.over_slices(encoder, encoder, WIDTHS[self.network], shape, seed)
        augmentation = Augmentation.for_kind(shape.kind, dims=2, strength=self.augment)
        return BagLoader(network, augmentation, self.slices_per_case)

    def _deep(self, shape: InputSpec, seed: int) -> CaseLoader:
        recipe, depth = shape.recipe, self.depth or DEPTH
        if recipe.axis == TRIPLANAR or recipe.neighbours:
            raise UsageError(
                "A 3D network reads whole volumes: with dims: 3, choose one axis for slices, and no neighbours."
            )
        # The plane size decides: keeping 224 px because there are few planes would cost sixty-four times as much.
        stem = stem_for(recipe.size) if self.stem == "auto" else self.stem
        check_sides(self.network, (depth, *recipe.size), stem)
        channels = len(shape.modalities) * shape.channels + sum(shape.partial)
        encoder = scratch_classifier(self.network, 3, channels, 0, stem=stem, seed=seed)
        network = StackClassifier(encoder, WIDTHS[self.network], shape.columns, shape.partial)
        return StackLoader(network, Augmentation.for_kind(shape.kind, dims=3, strength=self.augment), depth)
