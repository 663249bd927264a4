"""The data of segmentation: planes of every modality and of the mask, in the grid of a case's reference image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from radapt.cases import EVERY, CaseReader, Which
from radapt.errors import DataError
from radapt.images import AlignedSliceCache, Placement, Recipe, Volume
from radapt.progress import silent
from radapt.protocols.fitted import DrawnMask
from radapt.protocols.image_problem import CohortImages, ImageProblem
from radapt.segmentation.drawn import MaskCollector
from radapt.segmentation.mask_survey import MaskSurvey, survey_masks

_COUNTED = 1 << 22  # pixels counted at once


@dataclass(frozen=True)
class ReferenceRule:
    """The reference image of a case without a mask: the first in `order` that the case has. `modalities` and `order`
    both name all modalities of the training cohort."""

    modalities: tuple[str, ...]
    order: tuple[str, ...]

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "ReferenceRule":
        return cls(tuple(facts["modalities"]), tuple(facts["order"]))

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-like."""
        return {"modalities": list(self.modalities), "order": list(self.order)}


class SegmentationData:
    """The images and masks of a problem, all modalities and the mask of a case on the same planes.

    K labels, M modalities, C colours (1 grey, 3 colour, CT windows or neighbours), n planes of H × W pixels (the
    recipe's size). Class 0 is background, class k the k-th of `labels`. Arrays are memory-mapped and read-only where
    possible; only what a call returns is held in memory.

    The reference image of a case is one whose grid its mask shares. Of several, and for a case without a mask, it is
    the first modality by the number of training masks on its grid, then in the order of the cohort. Other modalities
    are resampled to it.
    """

    labels: Mapping[int, str]
    """{value in the masks: name}, in ascending order."""

    notes: tuple[str, ...]
    """Notes for the reader, such as a label that no training mask holds."""

    def __init__(self, problem: ImageProblem, survey: MaskSurvey | None = None) -> None:
        """Survey every mask of train and val once (see `survey_masks`), unless a survey is given."""
        self.problem, self.cohort = problem, problem.cohort
        if survey is None:
            aligned = AlignedSliceCache(problem.slices, problem.recipe)
            survey = survey_masks(problem.cohort, aligned, problem.machine.progress)
        self.labels, self.notes, self.rule = survey.labels, survey.notes, ReferenceRule(self.modalities, survey.order)
        references = {row: survey.reference(case, row) for row, case in enumerate(self.cohort) if case.images}
        self.reader = CaseReader(
            self.cohort, problem.slices, problem.recipe, self.cohort.modalities, grid="reference", references=references
        )

    @classmethod
    def deployed(
        cls, images: CohortImages, recipe: Recipe, labels: Mapping[int, str], rule: "ReferenceRule", colours: int | None
    ) -> "SegmentationData":
        """The images of any cohort as a trained model reads them, without masks.

        `colours` is C of the training cases, None for a model that reads no planes. Modalities that no training case
        had are left out.
        """
        cases = tuple(
            replace(case, mask=None, images={name: image for name, image in case.images.items() if name in rule.order})
            for case in images.cohort
        )
        cohort = replace(images.cohort, cases=cases, modalities=rule.modalities)
        problem = ImageProblem(cohort, "segmentation", recipe, images.slices)
        data = cls(problem, MaskSurvey(labels, rule.order, {}))
        if colours is not None:
            data.colours = colours
        return data

    def __getstate__(self) -> dict[str, Any]:
        """Pickled for another process without the backbone and progress bars."""
        quiet = replace(self.problem.machine, progress=silent)
        return {**self.__dict__, "problem": replace(self.problem, fresh=None, machine=quiet)}

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.cohort.modalities

    @property
    def classes(self) -> int:
        """K + 1: background and every label."""
        return len(self.labels) + 1

    @cached_property
    def colours(self) -> int:
        """C, the same for every case: 3 if any image of a training case has 3, else 1."""
        return self.reader.most_channels(self.rows("train"))

    @property
    def channels(self) -> int:
        """M × C."""
        return len(self.modalities) * self.colours

    def rows(self, split: str) -> np.ndarray:
        """Indices of the masked cases of a split (`train`, `val`)."""
        return self.problem.rows(split)

    def grid(self, row: int) -> Volume:
        """The reference image's shape and affine as stored; its voxels are all 0 and take no memory."""
        return self.reader.grid_of(int(row))

    def reference(self, row: int) -> Volume:
        """The reference image with its voxels, as stored: decoded at every call."""
        return self.reader.reference_volume(row)

    def volumes(self, row: int) -> tuple[Volume | None, ...]:
        """Stored values of every modality in the grid of `grid(row)`, None where missing: decoded at every call."""
        images = self.cohort.cases[row].images
        return tuple(
            self.reader.volume(row, column) if name in images else None for column, name in enumerate(self.modalities)
        )

    def truth(self, row: int) -> Volume:
        """The mask in the grid of `grid(row)`, values of `labels` and 0: decoded at every call.

        Raises DataError if the case has no mask outside the test sets.
        """
        return self.reader.mask_volume(row, self.labels)

    def placement(self, row: int) -> Placement:
        """Where the planes of a case lie in its grid."""
        return self.problem.recipe.place(self.grid(row))

    def count(self, row: int) -> int:
        """n of a case."""
        return len(self.placement(row))

    def planes(self, row: int, which: Which = EVERY) -> tuple[np.ndarray, np.ndarray]:
        """(uint8 (n, M, C, H, W), present (M,) bool): all planes, or those at `which`; zeros where missing.

        Grey is repeated where other images have colours; colour becomes grey if the training images have none.
        Raises DataError if an image cannot be read or brought into the grid of the reference.
        """
        return self.reader.stack(int(row), which, self.colours), self.reader.present[row]

    def mask_planes(self, row: int, which: Which = EVERY) -> np.ndarray:
        """uint8 (n, H, W) class of every pixel (0 … K) of the same planes. Black around the plane is background."""
        return self.reader.mask_planes(int(row), list(self.labels))[which]

    def pixels(self, row: int) -> np.ndarray:
        """(n, K + 1) int64: how many pixels of each plane have each class, to choose planes with foreground."""
        masks = self.mask_planes(row)
        step = max(1, _COUNTED // masks[0].size)
        return np.concatenate(
            [_counts(masks[start : start + step], self.classes) for start in range(0, len(masks), step)]
        )

    def draw(self, row: int, scores: np.ndarray, *, logarithms: bool) -> DrawnMask:
        """The mask on `grid(row)`, values of `labels` and 0, of scores float (n, K + 1, h, w) over the canvas.

        `scores` are log-probabilities (`logarithms`), which several stacks of planes multiply, or probabilities, which
        they add. h × w may be lower than H × W. See `Placement.slabs` for how scores become voxels.
        """
        if scores.ndim != 4 or scores.shape[1] != self.classes:
            raise DataError(f"Scores of the shape {scores.shape} do not have {self.classes} classes.")
        placement = self.placement(row)
        collector = MaskCollector(placement.grid, self.classes)
        for part, slab in placement.slabs(scores):
            found = slab.permute(1, 3, 2, 0)  # (K, X, Y, Z)
            given = (found / len(placement.stacks)).softmax(dim=0) if logarithms else found / found.sum(dim=0)
            collector.add((slice(None), slice(None), part), found, given)
        return collector.mask(self.labels)


def _counts(masks: np.ndarray, classes: int) -> np.ndarray:
    n = len(masks)
    joint = masks.reshape(n, -1) + classes * np.arange(n)[:, None]
    return np.bincount(joint.ravel(), minlength=n * classes).reshape(n, classes)
