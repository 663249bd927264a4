"""Logistic regression on a few numbers of each image: its grey values and the outline of what it shows."""

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.cases.reader import CaseReader
from radapt.digests import digest
from radapt.images import Recipe
from radapt.models.folder import SavedModel
from radapt.probes.controls.fit_table import fit_table
from radapt.probes.controls.image_numbers import NAMES, VERSION, first_order
from radapt.probes.controls.table_design import Table
from radapt.probes.controls.table_model import TABLE_C, ReadTable, TableFamily, TrainedTable, restore_table
from radapt.protocols.fitted import Fitted, Reads
from radapt.protocols.image_problem import CohortImages, ImageProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.targets import ClassWeight

if TYPE_CHECKING:
    from radapt.backbones import Backbone

_ROOM = "first-order"  # of the slice cache


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class FirstOrder(Protocol[ImageProblem]):
    """L2-regularised logistic regression on 25 numbers of each image, on whole planes: 15 of the grey values
    of its foreground, 9 of the foreground's outline, and the mean of all pixels.

    A missing image has the training medians, with an indicator. A control: an encoder that is not better has not shown
    that it sees more than brightness and size.
    """

    name: ClassVar[str] = "first-order"
    reads: ClassVar[Reads] = "images"
    uses_backbone: ClassVar[bool] = False
    control: ClassVar[bool] = True

    C: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = TABLE_C
    class_weight: ClassWeight = "none"

    def recipe_read(self, recipe: Recipe) -> Recipe:
        return recipe.whole

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted:
        modalities = problem.cohort.modalities
        read = _reader(problem.recipe, modalities)
        table = read(CohortImages(problem.cohort, problem.slices))
        return fit_table(problem, table, read, TableFamily(self.C, self.class_weight), rng, modalities)

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedTable:
        return restore_table(saved, _reader(saved.card.recipe, saved.card.modalities))


def _reader(recipe: Recipe, modalities: tuple[str, ...]) -> ReadTable:
    def read(cases: CohortImages) -> Table:
        return image_table(cases, recipe, modalities)

    return read


def image_table(cases: CohortImages, recipe: Recipe, modalities: tuple[str, ...]) -> Table:
    """The numbers of every image: `<modality> <number>` -> (N,) float64, NaN where the modality is missing.

    They are stored in the slice cache. Raises DataError, naming the case, for an image that cannot be read.
    """
    reader = CaseReader(cases.cohort, cases.slices, recipe, modalities, grid="own")
    found = np.full((len(cases.cohort), len(modalities), len(NAMES)), np.nan)
    for row in range(len(cases.cohort)):
        for column in reader.columns(row):
            found[row, column] = _stored(reader, row, column)
    return {
        f"{modality} {name}": found[:, column, number]
        for column, modality in enumerate(modalities)
        for number, name in enumerate(NAMES)
    }


def _stored(reader: CaseReader, row: int, column: int) -> np.ndarray:
    location = reader.location(row, column)

    def make() -> np.ndarray:
        planes = reader.image(row, column)
        return first_order(planes, reader.recipe.dark_levels(planes.shape[1]))

    once = reader.cache.unchanged(location, make)
    key = digest([_ROOM, VERSION, reader.cache.key(location, reader.recipe)])
    return reader.cache.array(_ROOM, key, once, lambda array: array.shape == (len(NAMES),))
