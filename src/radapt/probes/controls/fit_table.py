"""Fitting a logistic regression on a table in place of images."""

from dataclasses import replace
from typing import cast

import numpy as np

from radapt.features.lesions.locator import LesionLocator
from radapt.probes.controls.table_design import Table
from radapt.probes.controls.table_model import ReadTable, TableFamily, TableModel, TableProblem, TrainedTable
from radapt.protocols.fitted import Fitted, Model
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.selection import fit_chosen


def fit_table(
    problem: FeatureProblem | ImageProblem,
    table: Table,
    read: ReadTable,
    family: TableFamily,
    rng: np.random.Generator,
    modalities: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    locator: LesionLocator | None = None,
) -> Fitted:
    """Fit the candidates of `family` on the `table` of all cases of `problem`, and choose by the problem's rules.

    `read` makes the same table of another cohort, from its `modalities` if it reads images, by a `locator` if it
    measures lesions. `notes` are added to those of the record.
    """
    fitted = fit_chosen(TableProblem.beside(problem, table), [family], rng, family.class_weight)
    final = cast(TableModel, fitted.final)
    final = replace(final, trained=TrainedTable(final.matrix.design, final.models, read, modalities, locator))
    before = fitted.before_refit
    before = replace(before, final=final) if isinstance(before, OutOfFold) else before
    record = replace(fitted.record, notes=(*notes, *fitted.record.notes))
    return Fitted[Model](final, before, record)
