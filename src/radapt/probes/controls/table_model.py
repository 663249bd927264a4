"""Logistic regression on the columns of a table: the problem, its candidates, and the fitted model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from radapt.cohorts.metadata import column_like
from radapt.features import Features
from radapt.features.lesions.locator import LesionLocator
from radapt.models.folder import SavedModel
from radapt.models.state import ModelState
from radapt.probes.controls.fit_design import fit_design
from radapt.probes.controls.table_design import Table, TableDesign
from radapt.probes.linear_models import LinearModels
from radapt.probes.logistic_grid import fit_logistic
from radapt.protocols.candidates import Family, Models
from radapt.protocols.fitted import Model, TrainedModel
from radapt.protocols.image_problem import CohortImages, ImageProblem
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.stored_locator import with_locator
from radapt.protocols.targets import ClassWeight, Targets

ReadTable = Callable[[CohortImages], Table]
"""The table of any cohort: from its metadata, or from its images."""


TABLE_C = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Half decades, for few standardised columns: from little more than the prior to almost no penalty."""

_TOLERANCE = 1e-7  # of a gradient: far below what moves a probability, at a third of the steps of a probe's


@dataclass(frozen=True, eq=False)
class TableMatrix:
    """The rows of a table as a design makes them (see `FeatureMatrix`)."""

    design: TableDesign
    table: Table

    @property
    def columns(self) -> int:
        return self.design.width

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return self.design.encode(self.table, rows)


@dataclass(frozen=True, eq=False)
class TableProblem(FeatureProblem):
    """The labels of train and val with a `table` of all cases in place of features; made by `beside`."""

    table: Table = field(default_factory=dict)

    @classmethod
    def beside(cls, problem: FeatureProblem | ImageProblem, table: Table) -> "TableProblem":
        """The same cases, labels and rules as those of `problem`."""
        features, refit = cast(Features, SimpleNamespace(cohort=problem.cohort)), getattr(problem, "refit", True)
        return cls(features, problem.pooling, refit=refit, choose=problem.choose, rules=problem.rules, table=table)

    def notes(self, rows: np.ndarray, *, unit_length: bool = False) -> tuple[str, ...]:
        """Nothing about modalities; what the design left out is said by the candidates."""
        return ()


@dataclass(frozen=True)
class TableFamily(Family):
    """One candidate per C of `grid`. The columns are fitted on the same cases as the model."""

    grid: tuple[float, ...] = TABLE_C
    class_weight: ClassWeight = "none"

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        return [{"kind": "logistic", "C": value} for value in self.grid]

    @property
    def default(self) -> int:
        """The middle of the grid."""
        return len(self.grid) // 2

    @property
    def paths(self) -> Sequence[Sequence[int]]:
        return [sorted(range(len(self.grid)), key=lambda number: self.grid[number])]

    def fit(
        self, problem: FeatureProblem, rows: np.ndarray, rng: np.random.Generator, only: int | None = None
    ) -> "TableCandidates":
        table = cast(TableProblem, problem).table
        matrix = TableMatrix(fit_design(table, rows, problem.labels, problem.patients), table)
        targets = Targets.of(problem.labels[rows], len(problem.outputs), self.class_weight)
        grid = self.grid if only is None else (self.grid[only],)
        models = fit_logistic(matrix, rows, targets, grid, tolerance=_TOLERANCE)
        return TableCandidates(matrix, models, problem.outputs)


@dataclass(frozen=True)
class TableCandidates(Models):
    """Models of one matrix to choose among."""

    matrix: TableMatrix
    models: LinearModels
    outputs: tuple[str, ...]

    def predict_all(self, rows: np.ndarray) -> np.ndarray:
        return self.models.predict(self.matrix, rows)

    def pick(self, candidate: int) -> "TableModel":
        one = slice(candidate, candidate + 1)
        models = LinearModels(
            self.models.targets, self.models.weights[:, one].clone(), self.models.bias[one].clone(),
            self.models.converged[one],
        )  # fmt: skip
        return TableModel(self.matrix, models)

    def trained(self, candidate: int) -> int:
        return (self.matrix.columns + 1) * self.models.bias.shape[1]

    def notes(self) -> tuple[str, ...]:
        open_ends = int((~self.models.converged).sum())
        unsolved = (f"{open_ends} values of C did not converge.",) if open_ends else ()
        return (*self.matrix.design.notes, *self.models.targets.notes(self.outputs), *unsolved)


@dataclass(frozen=True)
class TableModel(Model):
    """One fitted model on the table of a cohort; `trained` is what is saved of it, if it can be."""

    matrix: TableMatrix
    models: LinearModels
    trained: "TrainedTable | None" = None

    @property
    def trained_model(self) -> "TrainedTable | None":
        return self.trained

    def known(self, cases: int) -> np.ndarray:
        """(N,) bool: which of all `cases` have a known value in any of the columns."""
        return self.matrix.design.known(self.matrix.table, cases)

    def remark(self, row: int) -> str:
        if self.trained is None or self.trained.modalities:  # numbers of images, not of a table
            return ""
        found = self.matrix.design.unknown(self.matrix.table, row)
        return f"{' and '.join(found)} not known: as for a typical training patient" if found else ""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.models.predict(self.matrix, rows)[0]


@dataclass(frozen=True, eq=False)
class TrainedTable(TrainedModel):
    """One fitted model, apart from any cohort. `modalities` are the images that its table is made of, if any, `locator`
    is what finds the lesions that are measured, if that is what it reads."""

    design: TableDesign
    models: LinearModels
    read: ReadTable
    modalities: tuple[str, ...] = ()
    locator: LesionLocator | None = None

    def state(self, *, self_contained: bool = False) -> ModelState:
        tensors = {"weight": self.models.weights[:, 0], "bias": self.models.bias[0]}
        state = ModelState(tensors, self.modalities, {"design": self.design.facts}, self.models.targets.encoding)
        return state if self.locator is None else with_locator(state, self.locator)

    def on(self, cases: CohortImages) -> TableModel:
        """Age and sex are found where the table of these cases calls them otherwise, as that of DICOM does."""
        table = self.read(cases)
        names = {column.name: column_like(column.name, table) for column in self.design.columns}
        own = {name: table[found] for name, found in names.items() if found is not None}
        return TableModel(TableMatrix(self.design, own), self.models, self)


def restore_table(saved: SavedModel, read: ReadTable, locator: LesionLocator | None = None) -> TrainedTable:
    """The model that `TrainedTable.state` described."""
    targets = Targets.from_encoding(saved.card.label_encoding)
    weight, bias = saved.tensors["weight"], saved.tensors["bias"]
    models = LinearModels(targets, weight[:, None], bias[None], torch.ones(1, dtype=torch.bool).numpy())
    return TrainedTable(
        TableDesign.from_facts(saved.card.facts["design"]), models, read, saved.card.modalities, locator
    )
