"""Logistic regression over a grid of C, on the last CLS alone or with more of the encoder's tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.models.folder import SavedModel
from radapt.probes.linear_models import LinearCandidates, LinearProbe, restore_linear
from radapt.probes.logistic_grid import COMPARED, SOLVED, fit_logistic
from radapt.protocols.candidates import Family
from radapt.protocols.fitted import Fitted
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.selection import fit_chosen
from radapt.protocols.targets import ClassWeight, Targets

if TYPE_CHECKING:
    from radapt.backbones import Backbone

DEFAULT_C = tuple(float(f"{10**power:.6g}") for power in np.linspace(-5, 1, 13))
"""Half decades, for standardised features: from the class means' direction alone to almost no penalty."""

DINOV2_C = tuple(float(10**power) for power in np.linspace(-6, 5, 45))
"""The 45 values of DINOv2's logistic evaluation (dinov2/eval/log_regression.py), which MM-DINOv2 uses as well."""

BLOCKS = (1, 4)
PATCH_MEAN = (False, True)
"""What heads read in arXiv 2312.02366: the CLS of the last block or of four, with or without average-pooled patches."""

CGrid = Literal["default", "dinov2"] | Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


def c_values(grid: CGrid) -> tuple[float, ...]:
    if isinstance(grid, str):
        return DINOV2_C if grid == "dinov2" else DEFAULT_C
    return tuple(grid)


def readings(depth: int, blocks: Sequence[int], patch_mean: Sequence[bool]) -> list[tuple[int, bool]]:
    """Every (blocks, patch mean) once, of `depth` stored layers: with fewer than asked for, all there are."""
    found = product((min(each, depth) for each in blocks), patch_mean)
    return list(dict.fromkeys(found))


def several(value: Any) -> Any:
    """A single value of an option that takes several."""
    return value if isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True)
class LogisticFamily(Family):
    """One candidate per C, on the CLS of the last `blocks` layers, with the last patch mean if asked."""

    grid: tuple[float, ...]
    class_weight: ClassWeight = "none"
    blocks: int = 1
    patch_mean: bool = False

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        shared = {"kind": "logistic", "blocks": self.blocks, "patch_mean": self.patch_mean}
        return [{**shared, "C": value} for value in self.grid]

    @property
    def default(self) -> int:
        """The middle of the grid."""
        return len(self.grid) // 2

    @property
    def paths(self) -> Sequence[Sequence[int]]:
        return [sorted(range(len(self.grid)), key=lambda number: self.grid[number])]

    def fit(
        self, problem: FeatureProblem, rows: np.ndarray, rng: np.random.Generator, only: int | None = None
    ) -> LinearCandidates:
        source = problem.source(rows, self.blocks, self.patch_mean)
        targets = Targets.of(problem.labels[rows], len(problem.outputs), self.class_weight)
        grid = self.grid if only is None else (self.grid[only],)
        widths = (source.columns,) * len(grid)
        tolerance = COMPARED if only is None else SOLVED
        models = fit_logistic(source, rows, targets, grid, tolerance=tolerance)
        return LinearCandidates(source, models, problem.outputs, widths)


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Logistic(Protocol):
    """L2-regularised logistic regression solved to convergence over a grid of C; C and the columns read are chosen.

    `C`: `default` (13 half decades), `dinov2` (45 values) or a list of values above 0. `blocks` (last layers) and
    `patch_mean` (the last mean patch beside the CLS) say which columns are read: one value, or several to choose among,
    by default those of `linear`. Each reading is one batched solution of all C. `class_weight` `balanced` gives every
    class the same total weight, by its share of training.
    """

    name: ClassVar[str] = "logistic"

    C: CGrid = "default"
    class_weight: ClassWeight = "none"
    blocks: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(several), Field(min_length=1)] = BLOCKS
    patch_mean: Annotated[tuple[bool, ...], BeforeValidator(several), Field(min_length=1)] = PATCH_MEAN

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted:
        families = [
            LogisticFamily(c_values(self.C), self.class_weight, blocks, patches)
            for blocks, patches in readings(problem.depth, self.blocks, self.patch_mean)
        ]
        return fit_chosen(problem, families, rng, self.class_weight)

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> LinearProbe:
        return restore_linear(saved)
