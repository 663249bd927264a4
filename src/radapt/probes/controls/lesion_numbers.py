"""Logistic regression on the volume, shape, grey values and texture of the lesion, where a segmenter finds it."""

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.errors import UsageError
from radapt.features.lesions.locator import LesionLocator
from radapt.features.lesions.regions import LesionRegions, locate_regions, regions_by
from radapt.features.lesions.tokens import LesionTokens
from radapt.images import Recipe
from radapt.models.folder import SavedModel
from radapt.probes.controls.fit_table import fit_table
from radapt.probes.controls.radiomics import shape
from radapt.probes.controls.radiomics.region_numbers import (
    FIRST_ORDER,
    TEXTURE,
    first_order_numbers,
    texture_numbers,
)
from radapt.probes.controls.table_design import Table
from radapt.probes.controls.table_model import TABLE_C, ReadTable, TableFamily, TrainedTable, restore_table
from radapt.progress import ProgressMaker, silent
from radapt.protocols.fitted import Fitted, Reads
from radapt.protocols.image_problem import CohortImages, ImageProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.stored_locator import read_locator
from radapt.protocols.targets import ClassWeight

if TYPE_CHECKING:
    from radapt.backbones import Backbone


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class LesionNumbers(Protocol[ImageProblem]):
    """L2-regularised logistic regression on 20 numbers of the lesion's shape, its volume among them, and of each image
    on 16 of its grey values and, unless `texture` is false, 77 of its texture.

    The lesion is where a small segmenter on the tokens of the backbone finds it (see `LesionRegions`), in patches. The
    segmenter is fitted on the masks of training cases; these cases are located by what was fitted on others, and no
    other mask is read. Where nothing is found, numbers are missing, and the volume is 0.

    A control: an encoder that is not better has not shown that it sees more than the size and texture of what masks
    mark.
    """

    name: ClassVar[str] = "lesion-numbers"
    reads: ClassVar[Reads] = "images"
    uses_masks: ClassVar[bool] = True
    control: ClassVar[bool] = True

    texture: bool = True
    C: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = TABLE_C
    class_weight: ClassWeight = "none"

    def recipe_read(self, recipe: Recipe) -> Recipe:
        return recipe.whole

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted:
        """Raises UsageError for an encoder of several sequences at once, DataError for images that cannot be read."""
        cohort, backbone = problem.cohort, problem.backbone()
        if backbone.network is not None:
            raise UsageError(
                f"{backbone.name} encodes several sequences together; lesion-numbers needs a plain encoder."
            )
        tokens = LesionTokens(cohort, backbone, problem.recipe, problem.slices)
        tokens.prepare(problem.machine.progress)
        found = locate_regions(tokens, cohort)
        read = self._reader(backbone, problem.recipe, found.locator)
        family = TableFamily(self.C, self.class_weight)
        return fit_table(
            problem, lesion_table(tokens, found, texture=self.texture), read, family, rng, cohort.modalities,
            (found.note(),), found.locator,
        )  # fmt: skip

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedTable:
        """Raises UsageError without the encoder, and for a folder without its locator."""
        if backbone is None:
            raise UsageError("lesion-numbers finds lesions by the tokens of an encoder, and none was given.")
        locator = read_locator(saved.folder)
        return restore_table(saved, self._reader(backbone, saved.card.recipe, locator), locator)

    def _reader(self, backbone: "Backbone", recipe: Recipe, locator: LesionLocator) -> ReadTable:
        def read(cases: CohortImages, progress: ProgressMaker = silent) -> Table:
            tokens = LesionTokens(cases.cohort, backbone, recipe, cases.slices)
            tokens.prepare(progress)
            return lesion_table(tokens, regions_by(tokens, cases.cohort, locator), texture=self.texture)

        return read


def lesion_table(tokens: LesionTokens, found: LesionRegions, *, texture: bool) -> Table:
    """The numbers of every case: `lesion <number>` and `<modality> lesion <number>` -> (N,) float64, NaN where the
    lesion or the modality is missing. Of several axes the planes of the first are measured."""
    reader, names = tokens.reader, (*FIRST_ORDER, *(TEXTURE if texture else ()))
    shapes = np.full((len(found.of), len(shape.NAMES)), np.nan)
    own = np.full((len(found.of), len(reader.modalities), len(names)), np.nan)
    for row, region in enumerate(found.of):
        if region is None:
            continue
        planes = np.flatnonzero(tokens.axes(row) == 0)
        inside = _in_pixels(region[planes], tokens.recipe.size)
        shapes[row] = shape.shape_numbers(inside, tokens.recipe.place(reader.grid_of(row)).voxel_mm())
        for column in reader.columns(row):
            pixels = np.asarray(reader.image(row, column))[planes]
            shown = np.asarray((pixels > tokens.recipe.dark_levels(pixels.shape[1])[:, None, None]).any(axis=1))
            grey = pixels[:, 0] if pixels.shape[1] == 1 else np.rint(pixels.mean(axis=1)).astype(np.uint8)
            parts = [first_order_numbers(grey, inside, shown)]
            parts += [texture_numbers(grey, inside)] if texture else []
            own[row, column] = np.concatenate(parts)
    table = {f"lesion {name}": shapes[:, number] for number, name in enumerate(shape.NAMES)}
    for column, modality in enumerate(reader.modalities):
        table |= {f"{modality} lesion {name}": own[:, column, number] for number, name in enumerate(names)}
    return table


def _in_pixels(patches: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool (n, H, W) of patches (n, h, w)."""
    rows, columns = (np.arange(side) * count // side for side, count in zip(size, patches.shape[1:], strict=True))
    found: np.ndarray = patches[:, rows][:, :, columns]
    return found
