"""Logistic regression on metadata alone: age, sex, and any other column of the table that is not a label."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass as checked

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.metadata import fold_columns, metadata_table
from radapt.errors import UsageError, suggest
from radapt.images import Recipe
from radapt.models.folder import SavedModel
from radapt.probes.controls.fit_table import fit_table
from radapt.probes.controls.table_design import Table
from radapt.probes.controls.table_model import TABLE_C, TableFamily, TrainedTable, restore_table
from radapt.protocols.fitted import Fitted, Reads
from radapt.protocols.image_problem import CohortImages, ImageProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.targets import ClassWeight

if TYPE_CHECKING:
    from radapt.backbones import Backbone


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Metadata(Protocol[ImageProblem]):
    """L2-regularised logistic regression on the metadata of the cases; no image is read.

    `columns` names the columns, by default all but those of `without`; `site` is one of them. Numbers are imputed by
    the training median, with an indicator of what is missing; words are one-hot. Columns that are empty, constant, an
    identifier or a copy of the label in training are left out, and the record says so. Where each site is held out in
    turn, `site` says nothing about a new one and is left out, as is the column that names the folds.

    A control: an encoder that is not better has not shown that it sees anything (Zech et al., PLOS Medicine 2018).
    """

    name: ClassVar[str] = "metadata"
    uses_backbone: ClassVar[bool] = False
    uses_metadata: ClassVar[bool] = True
    control: ClassVar[bool] = True
    reads: ClassVar[Reads] = "images"

    columns: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    C: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = TABLE_C
    class_weight: ClassWeight = "none"

    @field_validator("columns", "without", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def recipe_read(self, recipe: Recipe) -> Recipe:
        return recipe.whole

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted:
        table, notes = columns_of(problem.cohort, self.columns, self.without)
        family = TableFamily(self.C, self.class_weight)
        return fit_table(problem, table, read_metadata, family, rng, notes=notes)

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedTable:
        return restore_table(saved, read_metadata)


def columns_of(cohort: Cohort, columns: Sequence[str], without: Sequence[str] = ()) -> tuple[Table, tuple[str, ...]]:
    """The `columns` of a cohort to fit on, by default all but those `without`, and what was left out because of the
    folds.

    Raises UsageError for a column that the cohort lacks.
    """
    table = metadata_table(cohort)
    for name in (*columns, *without):
        if name not in table:
            raise UsageError(f"Cohort {cohort.name!r} has no metadata column {name!r}. {suggest(name, table)}")
    chosen = columns or [name for name in table if name not in without]
    of_folds = fold_columns(cohort)
    notes = tuple(f"Column {name!r} left out: {of_folds[name]}." for name in chosen if name in of_folds)
    return {name: table[name] for name in chosen if name not in of_folds}, notes


def read_metadata(cases: CohortImages) -> Table:
    """The columns of a cohort, none of its images."""
    return metadata_table(cases.cohort)
