"""From a fitted segmentation model to numbers per case and label, and their means with intervals by patient."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.cases.preflight import attempt, failure_list
from radapt.cohorts.cohort import Case, Cohort
from radapt.digests import digest
from radapt.errors import DataError, UsageError, counted
from radapt.images import AlignedSliceCache, Volume, ending_for, read_mask, resampled, same_grid, write_labels
from radapt.metrics.segmentation import NUMBERS, case_numbers
from radapt.metrics.segmentation_summary import summarise
from radapt.protocols.fitted import DrawnMask, Fitted, Segmenter, SubsetSegmenter
from radapt.protocols.holdout import masked
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.scoring import Predicted, Result, Scorer
from radapt.protocols.subset_cases import SubsetCases, score_subset_cases
from radapt.segmentation.mask_survey import MaskSurvey, survey_masks
from radapt.segmentation.subset_maps import all_subsets, has_columns
from radapt.training.fit_record import Decision

MASKS = "masks"
"""The folder of the machine's folder that label maps are written to."""

UNLABELLED = "unlabelled"

SOFT_DICE = "soft_dice"
"""The column of the Dice that the model's own probabilities predict (see `DrawnMask`)."""

LONGEST_STEM = 100
"""Characters of a case id that its file name keeps: with digest and endings below the 255 of file systems."""


class SegmentationScorer(Scorer):
    """Label maps against masks, in the grid each mask is stored in."""

    aim = "segmentation"

    def check(self, cohort: Cohort, problem: ImageProblem | None) -> None:
        check_mask_tests(cohort, problem)

    def score(
        self,
        cohort: Cohort,
        name: str,
        fitted: Fitted[Any],
        rng: np.random.Generator,
        resamples: int,
        problem: ImageProblem | None,
    ) -> Result:
        """Raises UsageError without a `problem`: label maps need the images of the cohort."""
        if problem is None:
            raise UsageError(f"Protocol {name!r} segments images and cannot be scored on features; use radapt.train.")
        return score_segmentation(cohort, name, fitted, rng, resamples, problem)

    def predictions(
        self, cohort: Cohort, rows: np.ndarray, model: Any, decision: Decision | None, problem: ImageProblem | None
    ) -> Predicted:
        if problem is None:
            raise UsageError("Label maps need the images of the cohort; use radapt.train.")
        cache = AlignedSliceCache(problem.slices, problem.recipe)
        work = _CaseScorer(cohort, survey_masks(cohort, cache), cache, problem.machine.folder)
        return _segmented(work, rows, model, problem, "the held-out fold", subsets=True)

    def scores(
        self, cohort: Cohort, predictions: pd.DataFrame, rng: np.random.Generator, resamples: int
    ) -> pd.DataFrame:
        return summarise(predictions, labels=list(dict.fromkeys(predictions["label"])), rng=rng, resamples=resamples)


def score_segmentation(
    cohort: Cohort,
    name: str,
    fitted: Fitted[Segmenter],
    rng: np.random.Generator,
    resamples: int,
    problem: ImageProblem,
) -> Result:
    """Segment val and every test set of the cohort, whose masks must not be blank, and score the protocol `name`.

    `predictions`: a row per case and label: case, patient, site, split, the columns of `case_numbers`, measured in the
    grid the mask is stored in, and `soft_dice`. A case without a mask has NaN and the outcome 'unlabelled'. Where the
    machine has a folder, every label map is written there as `masks/<case>.nii.gz`, in the grid of the case's reference
    image; that of a picture as `masks/<case>.png`. One case is held in memory at a time.

    Raises DataError for masks that cannot be used (see `survey_masks`), and label maps that are none.
    """
    cache = AlignedSliceCache(problem.slices, problem.recipe)
    look = survey_masks(cohort, cache)
    work = _CaseScorer(cohort, look, cache, problem.machine.folder)
    splits = [word for word in ("val", *cohort.test_sets) if (cohort.splits == word).any()]
    tables, scores, subsets = [], [], []
    for split in splits:
        rows = np.flatnonzero(cohort.splits == split)
        model = fitted.before_refit if split == "val" else fitted.final
        predicted = _segmented(work, rows, model, problem, split, subsets=split != "val")
        tables.append(predicted.table)
        subsets += [predicted.subsets] if isinstance(predicted.subsets, SubsetCases) else []
        found = summarise(tables[-1], labels=list(look.labels.values()), rng=rng.spawn(1)[0], resamples=resamples)
        found.insert(0, "split", split)
        scores.append(found)
    by_subset = score_subset_cases(subsets, cohort, rng.spawn(1)[0], resamples) if subsets else None
    predictions, table = (pd.concat(parts, ignore_index=True) for parts in (tables, scores))
    return Result(predictions, table, name, (fitted.record,), by_subset)


def _segmented(
    work: "_CaseScorer", rows: np.ndarray, model: Segmenter, problem: ImageProblem, split: str, *, subsets: bool
) -> Predicted:
    """The rows of `predictions` of the cases at `rows`, one after the other, and those of `subsets` of sequences."""
    parts, from_subsets = [], []
    with problem.machine.progress(len(rows), f"Segmenting {split} of {work.cohort.name}", "cases") as advance:
        for row in map(int, rows):
            if subsets and isinstance(model, SubsetSegmenter) and model.evaluates_subsets:
                own, of_subsets = work.case_by_subset(row, model)
                from_subsets += [of_subsets] if of_subsets is not None else []
            else:
                own = work.case(row, model)
            parts.append(own)
            advance(1)
    table = pd.concat(parts, ignore_index=True)
    return Predicted(table, SubsetCases(pd.concat(from_subsets, ignore_index=True)) if from_subsets else None)


def check_mask_tests(cohort: Cohort, problem: ImageProblem | None = None) -> None:
    """Raises DataError if no test set has a case with a mask; with a `problem`, also if any mask cannot be used, or a
    case of val or a test set cannot be answered: an image that cannot be read, or only modalities that are not learned.

    Better said now than after hours of training.
    """
    tested = ~np.isin(cohort.splits, ("train", "val"))
    if not (masked(cohort) & tested).any():
        raise DataError(
            f"Cohort {cohort.name!r} has no case with a mask in a test set, so there is nothing to score. Give "
            "some masked patients the split 'test', or leave the split column empty and radapt draws one."
        )
    if problem is not None:
        cache = AlignedSliceCache(problem.slices, problem.recipe)
        survey_masks(cohort, cache, problem.machine.progress)
        _check_answerable(cohort, cache, problem)


def _check_answerable(cohort: Cohort, cache: AlignedSliceCache, problem: ImageProblem) -> None:
    """Raises DataError that lists the cases of val and test sets that no model trained on train can answer."""
    learned = {name for row in problem.rows("train") for name in cohort.cases[row].images}
    asked = [case for case in cohort if case.split != "train"]
    label = f"Reading the images of {cohort.name}"
    progress = problem.machine.progress
    _, reasons = attempt(asked, lambda case: _check_images(case, learned, cache), progress, label, "cases")
    if reasons:
        head = (
            f"{len(reasons)} of {counted(len(asked), 'case')} of {cohort.name} to be segmented cannot be. Correct "
            "these, or leave their rows out of the table"
        )
        raise DataError(failure_list(head, (f"Case {asked[at].case}: {reason}" for at, reason in reasons.items())))


def _check_images(case: Case, learned: Collection[str], cache: AlignedSliceCache) -> None:
    """Raises DataError if a case has none of the modalities `learned`, or an image that cannot be read."""
    if not set(case.images) & set(learned):
        has = ", ".join(case.images) or "no image"
        raise DataError(f"it has {has}; training cases with a mask have {', '.join(sorted(learned))}.")
    for location in case.images.values():
        cache.grid(location)


class _CaseScorer:
    """Segments, writes and measures one case after the other."""

    def __init__(self, cohort: Cohort, look: MaskSurvey, cache: AlignedSliceCache, folder: Path | None) -> None:
        self.cohort, self.look, self.cache = cohort, look, cache
        self.folder = None if folder is None else folder / MASKS
        self.stems = file_stems([case.case for case in cohort])

    def case(self, row: int, model: Segmenter) -> pd.DataFrame:
        """The rows of one case."""
        drawn, truth = model.draw(row), None
        self._write(row, drawn.mask)
        if self.cohort.cases[row].mask is not None:
            truth = self._truth(row, drawn.mask)
        return self._numbers(row, truth, drawn)

    def case_by_subset(self, row: int, model: SubsetSegmenter) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """The rows of one case, and those of every subset of its sequences (see `SubsetCases`), None without a mask."""
        case = self.cohort.cases[row]
        available = [name for name in model.modalities if name in case.images]
        if case.mask is None or not available:
            return self.case(row, model), None
        subsets = all_subsets(available)
        maps = model.draw_subsets(row, subsets)
        drawn = next(maps)
        self._write(row, drawn.mask)
        truth = self._truth(row, drawn.mask)
        own = self._numbers(row, truth, drawn)
        empty = DrawnMask(Volume(np.zeros_like(drawn.mask.array), drawn.mask.affine))
        tables = [own, *(self._numbers(row, truth, one) for one in chain(maps, [empty]))]
        named = zip((*subsets, ()), tables, strict=True)
        return own, pd.concat([has_columns(table, model.modalities, names) for names, table in named])

    def _write(self, row: int, predicted: Volume) -> None:
        if self.folder is not None:
            ending = ending_for(_image_of(self.cohort.cases[row], predicted, self.cache), predicted)
            write_labels(self.folder / f"{self.stems[row]}{ending}", predicted)

    def _numbers(self, row: int, truth: Volume | None, drawn: DrawnMask) -> pd.DataFrame:
        numbers = self._unlabelled() if truth is None else self._measured(truth, drawn.mask)
        soft_dice = [drawn.soft_dice.get(value, np.nan) for value in self.look.labels]
        numbers.insert(numbers.columns.get_loc("outcome"), SOFT_DICE, np.asarray(soft_dice, dtype=np.float64))  # type: ignore[arg-type]
        for place, (column, value) in enumerate(_facts(self.cohort.cases[row]).items()):
            numbers.insert(place, column, pd.Series([value] * len(numbers), dtype=object))
        return numbers

    def _truth(self, row: int, predicted: Volume) -> Volume:
        """The mask of a case in the grid it is scored in."""
        case = self.cohort.cases[row]
        # The prediction is scored where the mask was drawn, also if the model answered on another image of the case.
        grid = self.cache.grid(case.images[self.look.reference(case, row)])
        if same_grid(grid, predicted) is None:
            grid = predicted
        if case.mask is None:
            raise DataError(f"Case {case.case} has no mask.")
        mask = read_mask(case.mask, grid, self.look.labels, array_cache=self.cache.slices.folder / "arrays")
        return Volume(mask.array, grid.affine)

    def _measured(self, truth: Volume, predicted: Volume) -> pd.DataFrame:
        array = resampled(predicted, truth, nearest=True).array
        return case_numbers(truth.array, array, self.look.labels, truth.spacing_mm)

    def _unlabelled(self) -> pd.DataFrame:
        labels = list(self.look.labels.values())
        table = pd.DataFrame({"label": labels, **dict.fromkeys(NUMBERS, np.nan), "outcome": UNLABELLED})
        return table.astype(dict.fromkeys(NUMBERS, np.float64))


def _facts(case: Case) -> Mapping[str, Any]:
    return {"case": case.case, "patient": case.patient, "site": case.site, "split": case.split}


def _image_of(case: Case, predicted: Volume, cache: AlignedSliceCache) -> Path:
    """The file of the image whose grid the label map has."""
    for location in case.images.values():
        if same_grid(cache.grid(location), predicted) is None:
            return location.path
    raise DataError(f"The label map of case {case.case} lies in the grid of none of its images.")


def file_stems(cases: list[str]) -> list[str]:
    """A file name for each case, equal to it where that is a safe name; else with a digest, so that all differ."""
    stems = [re.sub(r"[^A-Za-z0-9._-]+", "-", case).strip(".")[:LONGEST_STEM] for case in cases]
    uses = Counter(stem.lower() for stem in stems)
    return [
        stem if stem == case and uses[stem.lower()] == 1 else f"{stem}-{digest(case)[:8]}"
        for stem, case in zip(stems, cases, strict=True)
    ]
