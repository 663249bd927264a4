"""Logistic regression on the last layer's CLS over a grid of C."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.models.folder import SavedModel
from radapt.probes.linear_models import LinearCandidates, LinearProbe, restore_linear
from radapt.probes.logistic_grid import fit_logistic
from radapt.protocols.fitted import Fitted
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.selection import Family, fit_chosen
from radapt.protocols.targets import ClassWeight, Targets

if TYPE_CHECKING:
    from radapt.backbones import Backbone

DEFAULT_C = tuple(float(f"{10**power:.6g}") for power in np.linspace(-5, 1, 13))
"""Half decades, for standardised features: from the class means' direction alone to almost no penalty."""

DINOV2_C = tuple(float(10**power) for power in np.linspace(-6, 5, 45))
"""The 45 values of DINOv2's logistic evaluation (dinov2/eval/log_regression.py), which MM-DINOv2 uses as well."""

CGrid = Literal["default", "dinov2"] | Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


def c_values(grid: CGrid) -> tuple[float, ...]:
    if isinstance(grid, str):
        return DINOV2_C if grid == "dinov2" else DEFAULT_C
    return tuple(grid)


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

    def fit(
        self, problem: FeatureProblem, rows: np.ndarray, rng: np.random.Generator, only: int | None = None
    ) -> LinearCandidates:
        source = problem.source(rows, self.blocks, self.patch_mean)
        targets = Targets.of(problem.labels[rows], len(problem.outputs), self.class_weight)
        grid = self.grid if only is None else (self.grid[only],)
        widths = (source.columns,) * len(grid)
        return LinearCandidates(source, fit_logistic(source, rows, targets, grid), problem.outputs, widths)


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Logistic(Protocol):
    """L2-regularised logistic regression solved to convergence over a grid of C; C chosen on val.

    `C`: `default` (13 half decades), `dinov2` (45 values) or a list of values above 0. `blocks` and `patch_mean` say
    which columns are read. `class_weight` `balanced` gives every class the same total weight, by its share of training.
    """

    name: ClassVar[str] = "logistic"

    C: CGrid = "default"
    class_weight: ClassWeight = "none"
    blocks: Annotated[int, Field(ge=1)] = 1
    patch_mean: bool = False

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted:
        family = LogisticFamily(c_values(self.C), self.class_weight, self.blocks, self.patch_mean)
        return fit_chosen(problem, [family], rng)

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> LinearProbe:
        return restore_linear(saved)
