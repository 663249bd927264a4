"""Pooling the slices of an image in a trained network: the options, and the network they define."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor, nn

from radapt.classification.input_spec import InputSpec
from radapt.classification.supervised import SupervisedProtocol
from radapt.networks.aggregators import AGGREGATORS, make_aggregator
from radapt.networks.case_classifier import CaseClassifier

Slices = Literal["mean", "max", "topk", "attention", "transformer"]

SLICES_PER_CASE = 8
"""Slices of each image in a step. A reasonable default, not tuned: 16 cases give 128 slices of each modality."""

_OPTIONS = {"k": "k", "hidden": "hidden", "inner": "inner", "layers": "layers", "heads": "heads"}
_OPTIONS |= {"slices_dropout": "dropout"}


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class SliceProtocol(SupervisedProtocol):
    """A network over slices, whose vectors are pooled to images and cases, under a linear head (see `CaseClassifier`).

    Each step trains on `slices_per_case` slices of each image, drawn anew and spread over the image (None: all);
    inference uses all. `slices` pools them: mean, max, topk (the mean of the `k` largest), gated attention
    (`hidden`, `slices_dropout`) or a small transformer (`inner`, `layers`, `heads`, `slices_dropout`); None follows
    the study's pooling. `networks.aggregators` has the default options of each pooling, with their sources.
    """

    slices_per_case: Annotated[int, Field(ge=1)] | None = SLICES_PER_CASE
    slices: Slices | None = None
    k: Annotated[int, Field(ge=1)] | None = None
    hidden: Annotated[int, Field(ge=1)] | None = None
    inner: Annotated[int, Field(ge=2)] | None = None
    layers: Annotated[int, Field(ge=1)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    slices_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None

    def __post_init__(self) -> None:
        accepted = AGGREGATORS[self.slices].options if self.slices else ()
        for option, name in _OPTIONS.items():
            if getattr(self, option) is not None and name not in accepted:
                raise ValueError(f"{option} does nothing with slices: {self.slices or 'as the study pools them'}")

    def over_slices(
        self, encoder: nn.Module, encode: Callable[[Tensor], Tensor], width: int, shape: InputSpec, seed: int
    ) -> CaseClassifier:
        """A case classifier around an encoder of slices into `width` columns, its other weights drawn from `seed`."""
        declared: dict[str, Any] = {name: getattr(self, option) for option, name in _OPTIONS.items()}
        options = {name: value for name, value in declared.items() if value is not None}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            aggregator = make_aggregator(self.slices or shape.slices, width, **options)
            return CaseClassifier(
                encoder, encode, aggregator, width, aggregator.width_out, shape.columns, shape.use, shape.partial
            )
