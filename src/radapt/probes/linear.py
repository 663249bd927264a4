"""The linear probe: the radiology study's 16 heads and a logistic regression, the best of them chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.features import RowSegment, select
from radapt.models.folder import SavedModel
from radapt.probes.linear_models import LinearCandidates, LinearProbe, restore_linear
from radapt.probes.logistic import BLOCKS, PATCH_MEAN, CGrid, LogisticFamily, c_values
from radapt.probes.sgd_heads import Inputs, Schedule, train_heads
from radapt.protocols.candidates import Family
from radapt.protocols.feature_matrix import DesignMatrix
from radapt.protocols.fitted import Fitted
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.selection import fit_chosen
from radapt.protocols.targets import ClassWeight, Targets

if TYPE_CHECKING:
    from radapt.backbones import Backbone

RATES = (1e-3, 5e-3, 1e-2, 5e-2)
"""The grid of arXiv 2312.02366: learning rates × last blocks × average-pooled patches (see `logistic.BLOCKS`)."""


@dataclass(frozen=True)
class HeadsFamily(Family):
    """SGD heads: rates × last blocks × patch mean. With fewer stored layers than asked for, all there are: every
    backbone gets the same number of heads."""

    depth: int
    schedule: Schedule
    class_weight: ClassWeight

    @property
    def readings(self) -> list[tuple[int, bool]]:
        """(blocks, patch mean) of each group of heads."""
        return [(min(blocks, self.depth), patches) for blocks, patches in product(BLOCKS, PATCH_MEAN)]

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        return [
            {"kind": "sgd", "blocks": blocks, "patch_mean": patches, "lr": rate}
            for blocks, patches in self.readings
            for rate in RATES
        ]

    @property
    def default(self) -> int:
        return 0

    @property
    def paths(self) -> Sequence[Sequence[int]]:
        """The rates of each reading, the smallest first: from zero, few steps of it go the least far."""
        return [[group * len(RATES) + rate for rate in range(len(RATES))] for group in range(len(self.readings))]

    def fit(
        self, problem: FeatureProblem, rows: np.ndarray, rng: np.random.Generator, only: int | None = None
    ) -> LinearCandidates:
        readings: list[tuple[int, bool]] = self.readings
        rates: tuple[float, ...] = RATES
        if only is not None:
            readings, rates = [readings[only // len(RATES)]], (RATES[only % len(RATES)],)
        most, patches = max(blocks for blocks, _ in readings), any(patches for _, patches in readings)
        source = problem.source(rows, most, patches)
        inputs = [
            Inputs(columns_of(source, problem.features.segments, (most, patches), reading), rates)
            for reading in readings
        ]
        targets = Targets.of(problem.labels[rows], len(problem.outputs), self.class_weight)
        models = train_heads(source, rows, targets, inputs, rng, self.schedule)
        widths = tuple(len(each.columns) for each in inputs for _ in each.rates)
        return LinearCandidates(source, models, problem.outputs, widths)


def columns_of(
    source: DesignMatrix, segments: Sequence[RowSegment], union: tuple[int, bool], part: tuple[int, bool]
) -> np.ndarray:
    """Where the columns of one reading (blocks, patch mean) stand in a source that was made for a larger one.

    A source holds the union's columns once per modality, then the indicators of missing ones, which every head reads.
    """
    whole = np.concatenate([np.arange(piece.start, piece.stop) for piece in select(segments, *union)])
    wanted = np.concatenate([np.arange(piece.start, piece.stop) for piece in select(segments, *part)])
    kept = np.flatnonzero(np.isin(whole, wanted))
    indicators = int(source.design.indicated.sum())
    times = (source.columns - indicators) // len(whole)
    held = (np.arange(times)[:, None] * len(whole) + kept).ravel()
    return np.concatenate([held, times * len(whole) + np.arange(indicators)])


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Linear(Protocol):
    """16 SGD heads (momentum 0.9, cosine, no weight decay) and 13 logistic regressions; the best is chosen.

    `epochs` and `batch` are those of the heads, `C` the grid of the logistic regression on the last CLS (`default`,
    `dinov2`, or a list). `class_weight` `balanced` gives every class the same total weight, by its share of training.
    """

    name: ClassVar[str] = "linear"

    epochs: Annotated[int, Field(ge=1)] = 10
    batch: Annotated[int, Field(ge=1)] = 128
    C: CGrid = "default"
    class_weight: ClassWeight = "none"

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted:
        logistic = LogisticFamily(c_values(self.C), self.class_weight)
        heads = HeadsFamily(problem.depth, Schedule(self.epochs, self.batch), self.class_weight)
        return fit_chosen(problem, [logistic, heads], rng, self.class_weight)

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> LinearProbe:
        return restore_linear(saved)
