"""Slices of patients with all their sequences: random ones to learn from, evenly spaced ones to predict from."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from radapt.cases import CaseReader
from radapt.cases.case_extents import CaseExtents, ExtentReader
from radapt.cases.preflight import attempt, failure_list
from radapt.cases.sampling import evenly_spaced, random_plane
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError, counted, suggest
from radapt.images import Recipe, SliceCache
from radapt.images.foreground import around
from radapt.progress import ProgressMaker, silent
from radapt.training.seeds import derived, mixed, uniform

Focus = Literal["auto", "mask", "foreground"]
FOCUSES = ("auto", "mask", "foreground")

CLOSE = 0.6
"""With focus `auto`, share of the planes drawn for their mask whose crops are taken around it; the others show where
in the patient it lies."""

_DRAWS = np.int64(derived("radapt.mmdino.slices"))
_AXIS, _PLANE, _MASK, _CLOSE = 0, 1, 2, 3
_NAMED = 5
_RATED, _RATED_AT_ONCE = 512, 32


@dataclass(frozen=True, eq=False)
class Sample:
    """b slices with all M modalities, as CPU tensors: C channels, H × W pixels."""

    planes: Tensor  # (b, M, C, H, W) uint8, zeros where a modality is absent
    present: Tensor  # (b, M) bool
    boxes: Tensor  # (b, 4) float32: y0, x0, y1, x1 in pixels, edges of what crops are taken from
    lesion: Tensor  # (b,) float32: share of the plane that the mask marks, NaN where no mask was looked at
    plane: Tensor  # (b,) int64: number of the plane among those of the recipe


class SliceLoader:
    """Slices of the cases of a cohort, M `modalities` in the order of the model, of which a case may lack some.

    All images of a case lie on the grid of its reference, the first of `modalities` that it has; others are resampled
    where theirs differs. Planes are 8-bit, memory-mapped and decoded once; foreground and masks are measured once per
    image and kept in the cache as well. `channels` is C; None takes 3 where any image of the cohort has 3, else 1
    (which opens every image). Grey is repeated, colour averaged, where an image has other channels.

    `focus` says which slices `sample` draws and what crops of them are taken from. foreground: any plane that shows
    the patient, its foreground box; masks are not looked at. mask: a plane that the mask marks, and a box around the
    mask, where a case has a mask with anything in it. auto: with the chance `marked` a plane that the mask marks, and
    of these `CLOSE` with the box around the mask, all others with the foreground box: prediction, which has no mask,
    first looks at all that shows the patient, and then closer. Cases without a mask give foreground.

    Planes are read whole, whatever the `look` of the recipe: crops are taken from the boxes.

    `left_out` are sequences that are known and not looked at. A case that has nothing else may be there, but there are
    no slices of it: ask `present` first.

    Raises UsageError for options out of range, and DataError naming other cases that have none of `modalities`.
    """

    def __init__(
        self,
        cohort: Cohort,
        cache: SliceCache,
        recipe: Recipe,
        modalities: Sequence[str],
        *,
        focus: Focus = "auto",
        marked: float = 0.5,
        channels: int | None = None,
        left_out: Collection[str] = (),
    ) -> None:
        self.cohort, self.recipe, self.left_out = cohort, recipe.whole, tuple(left_out)
        self.modalities = tuple(modalities)
        self.focus, self.marked, self._channels = focus, marked, channels
        self._check()
        self.reader = CaseReader(cohort, cache, self.recipe, modalities, grid="reference")
        self.present = self.reader.present
        self._check_cases()
        self._extents = ExtentReader(self.reader)

    @property
    def able(self) -> np.ndarray:
        """(N,) bool: cases with any of `modalities`."""
        return np.asarray(self.present.any(axis=1))

    @cached_property
    def channels(self) -> int:
        """C, the same for every slice: 1 or 3."""
        if self._channels is not None:
            return self._channels
        return self.reader.most_channels(np.flatnonzero(self.able))

    def prepare(
        self,
        rows: np.ndarray | None = None,
        progress: ProgressMaker = silent,
        *,
        marks: bool = False,
        answered: np.ndarray | None = None,
    ) -> None:
        """Decode and measure the cases at `rows` (default: all with slices) that the cache does not know yet.

        Nobody has to call it; it is faster than waiting for each case, shows how far it is, and finds what is damaged
        before a training begins. With `marks` also what `marked_planes` reads, such as a mask with a number that has
        no name. Of cases at `answered`, in addition, what a bag needs: no mask is read. Raises DataError that lists the
        cases that cannot be read.
        """
        rows = np.flatnonzero(self.able) if rows is None else rows
        jobs: list[Callable[[], None]] = [partial(self._prepare, int(row), marks) for row in rows]
        jobs += [partial(self._prepare_unmasked, int(row)) for row in (() if answered is None else answered)]
        workers = min(8, os.cpu_count() or 1)
        _, failures = attempt(jobs, lambda job: job(), progress, "Preparing slices", "cases", workers)
        if failures:
            head = (
                f"{len(failures)} of {counted(len(jobs), 'case')} of {self.cohort.name} cannot be used. Correct these, "
                "or leave their rows out of the table, and run again"
            )
            raise DataError(failure_list(head, failures.values()))

    def _prepare(self, row: int, marks: bool) -> None:
        self._extents.extents(row, masked=self.focus != "foreground")
        if marks and self.cohort.cases[row].mask is not None:
            self._marks(row)

    def _prepare_unmasked(self, row: int) -> None:
        self._extents.extents(row)

    def sample(self, rows: np.ndarray, seeds: np.ndarray) -> Sample:
        """One random slice of each of the cases at `rows` (b,), drawn from its own of `seeds` uint64 (b,).

        An axis first, where the recipe has several, then a plane of it. Raises DataError naming a case whose images
        cannot be read.
        """
        own = mixed(np.asarray(seeds, np.uint64), _DRAWS)
        wanted = np.asarray(uniform(own, _MASK)) < (1.0 if self.focus == "mask" else self.marked)
        axis, place = uniform(own, _AXIS), uniform(own, _PLANE)
        extents = [self._extents.extents(int(row), masked=self.focus != "foreground") for row in rows]
        drawn = zip(extents, wanted.tolist(), axis.tolist(), place.tolist(), strict=True)
        planes = np.asarray([_drawn(*draw) for draw in drawn], np.int64)
        read = partial(self.reader.stack, channels=self.channels)
        pixels = np.concatenate([read(int(row), plane[None]) for row, plane in zip(rows, planes, strict=True)])
        close = uniform(own, _CLOSE) < {"mask": 1.0, "auto": CLOSE * wanted, "foreground": 0.0}[self.focus]
        boxes = np.stack([self._box(*case) for case in zip(extents, planes, close.tolist(), strict=True)])
        lesion = np.asarray([self._lesion(case, plane) for case, plane in zip(extents, planes, strict=True)])
        return _as_sample(pixels, self.present[rows], boxes, lesion, planes)

    @property
    def marks(self) -> tuple[int, ...]:
        """The values that masks of the cohort have, one for each kind of mark; (1,), for any, where none has a name."""
        if all(case.mask is None for case in self.cohort):
            return ()
        return tuple(sorted(self.cohort.mask_labels)) or (1,)

    def marked_planes(self, rows: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What masks mark on `planes` (b,) of the cases at `rows` (b,): uint8 (b, H, W) and whether there is a mask.

        0 where nothing is marked, k for the k-th of `marks`. bool (b,) says which cases have a mask; others have zeros.
        Raises DataError naming a case whose mask cannot be read.
        """
        found, known = np.zeros((len(rows), *self.recipe.size), np.uint8), np.zeros(len(rows), bool)
        for at, (row, plane) in enumerate(zip(rows, planes, strict=True)):
            case = self.cohort.cases[int(row)]
            if case.mask is not None:
                found[at] = self._marks(int(row))[plane]
                known[at] = True
        return found, known

    def mark_rates(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """(L,): the share of what crops are taken from that has each of `marks`, in the mean over the masked of `rows`.

        Of at most `_RATED` of them, drawn; 0 where none has a mask.
        """
        masked = np.asarray([row for row in rows if self.cohort.cases[int(row)].mask is not None], np.int64)
        rng = np.random.default_rng(derived(seed, "mark rates"))
        masked = masked if len(masked) <= _RATED else np.sort(rng.choice(masked, _RATED, replace=False))
        total = np.zeros(len(self.marks))
        for start in range(0, len(masked), _RATED_AT_ONCE):
            some = masked[start : start + _RATED_AT_ONCE]
            sample = self.sample(some, rng.integers(2**63, size=len(some)).astype(np.uint64))
            planes, _ = self.marked_planes(some, sample.plane.numpy())
            for plane, (top, left, bottom, right) in zip(planes, sample.boxes.round().int().tolist(), strict=True):
                shown = plane[top:bottom, left:right]
                total += np.bincount(shown.ravel(), minlength=len(total) + 1)[1:] / max(shown.size, 1)
        return total / max(len(masked), 1)

    def bag(self, row: int, count: int | None = None, modalities: Collection[str] | None = None) -> Sample:
        """The slices of a case to predict from: `count` evenly spaced of those that show the patient, or all.

        Several axes share `count` evenly, at least one each. With `modalities`, as if the case had no others: neither
        its grid nor its boxes depend on them. No mask is ever looked at.

        Raises DataError if the case has none of `modalities` or its images cannot be read, and UsageError for an
        unknown name.
        """
        names = self._names(row, modalities)
        extents = self._extents.extents(row, names)
        planes = evenly_spaced(extents.shown, count)
        pixels = self.reader.stack(row, planes, self.channels, names)
        present = np.asarray([[name in names for name in self.modalities]] * len(planes))
        return _as_sample(pixels, present, extents.boxes[planes], np.full(len(planes), np.nan), planes)

    def _check(self) -> None:
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise UsageError(f"The modalities {list(self.modalities)}: expected at least one name, each once.")
        if self.focus not in FOCUSES:
            raise UsageError(f"There is no focus {self.focus!r}. {suggest(str(self.focus), FOCUSES)}")
        if not 0 <= self.marked <= 1:
            raise UsageError(f"marked = {self.marked}: expected a chance from 0 to 1.")
        if self._channels not in (None, 1, 3):
            raise UsageError(f"channels = {self._channels}: expected 1 or 3.")

    def _check_cases(self) -> None:
        lacking = [self.cohort.cases[row] for row in np.flatnonzero(~self.able)]
        lacking = [case for case in lacking if not set(self.left_out) & set(case.images)]
        if lacking:
            told = "; ".join(f"case {case.case} has {', '.join(case.images) or 'none'}" for case in lacking[:_NAMED])
            more = f"; and {len(lacking) - _NAMED} more cases" if len(lacking) > _NAMED else ""
            raise DataError(
                f"Cases without any of the sequences {', '.join(self.modalities)}: {told}{more}. Name their columns as "
                "the model knows them, or leave these cases out."
            )

    def _names(self, row: int, among: Collection[str] | None = None) -> tuple[str, ...]:
        """The modalities of a case, or those of them that are `among` some, in the order of the model."""
        for name in among or ():
            if name not in self.modalities:
                raise UsageError(f"There is no sequence {name!r} here. {suggest(name, self.modalities)}")
        names = tuple(self.modalities[column] for column in self.reader.columns(row, among))
        if not names:
            case = self.cohort.cases[row]
            raise DataError(f"Case {case.case} has {', '.join(case.images)}, but none of {', '.join(among or ())}.")
        return names

    def _marks(self, row: int) -> np.ndarray:
        """uint8 (n, H, W) of a case with a mask."""
        return self.reader.mask_planes(row, sorted(self.cohort.mask_labels), resample=True)

    def _box(self, extents: CaseExtents, plane: int, close: bool) -> np.ndarray:
        """(4,) edges of what crops of a plane are taken from."""
        if not close or extents.lesions is None or not extents.lesions.area[plane]:
            return extents.boxes[plane]
        return around(extents.lesions.boxes[plane], self.recipe.size)

    def _lesion(self, extents: CaseExtents, plane: int) -> float:
        return np.nan if extents.lesions is None else extents.lesions.area[plane] / np.prod(self.recipe.size)


def _drawn(extents: CaseExtents, wanted: bool, axis: float, place: float) -> int:
    """A random plane that a mask marks, where it is `wanted` and there is one, else one that shows the patient."""
    return random_plane(extents.marked if wanted and extents.marked else extents.shown, axis, place)


def _as_sample(
    planes: np.ndarray, present: np.ndarray, boxes: np.ndarray, lesion: np.ndarray, plane: np.ndarray
) -> Sample:
    return Sample(
        torch.from_numpy(np.ascontiguousarray(planes)),
        torch.from_numpy(np.ascontiguousarray(present)),
        torch.from_numpy(np.asarray(boxes, np.float32)),
        torch.from_numpy(np.asarray(lesion, np.float32)),
        torch.from_numpy(np.asarray(plane, np.int64)),
    )
