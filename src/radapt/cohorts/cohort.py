"""Case and Cohort: tables and paths, never voxels."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, overload

import numpy as np

from radapt.cohorts.fold_rule import FoldRule
from radapt.locations import Location
from radapt.notebook import Described

Kind = Literal["xray", "ct", "mri", "other"]
Task = Literal["binary", "multiclass", "multilabel", "segmentation", "unlabelled"]

KINDS: tuple[Kind, ...] = ("xray", "ct", "mri", "other")
CHOOSING_SPLITS = ("train", "val")
"""The splits that choices are made on. Every other split is a test set, used once."""

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Case:
    """One imaging study of one patient.

    `images` holds the modalities that are present, in the cohort's order; a missing one has no entry. `label` is a
    class index or None if unlabelled. `findings` holds 1, 0 or None (unknown) for each of the cohort's findings, and is
    empty unless the task is multi-label. `row` is the line in the table, header = 1. `fold` is None in a cohort without
    folds, and for a case that is always trained on.
    """

    case: str
    patient: str
    split: str
    images: Mapping[str, Location]
    site: str | None = None
    mask: Location | None = None
    label: int | None = None
    findings: tuple[int | None, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    row: int = 0
    fold: str | None = None


@dataclass(frozen=True, repr=False)
class Cohort(Described):
    """Cases with a task.

    `classes` names the class indices of a single-label task, `findings` those of a multi-label task; at most one of the
    two is non-empty. `ordered`: the classes have a meaningful order (grades). `modalities` lists every image channel of
    the cohort in table order; a single unnamed `image` column is called `image`. `split_seed` is the seed of the split
    that radapt drew, None if the table gives every split.

    A cohort with `folds` (their names, in order) tests every labelled patient once: the split of these cases is `oof`,
    and a fold is trained on the others (see `radapt.cohorts.folds`). `fold_rule` says how the folds came about.

    `patients_known`: the table gives the patient of every case. Without, a case whose patient is not given counts as a
    patient of its own, and splits and intervals count images.
    """

    name: str
    kind: Kind
    cases: tuple[Case, ...]
    modalities: tuple[str, ...]
    classes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    ordered: bool = False
    mask_labels: Mapping[int, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None
    split_seed: int | None = None
    folds: tuple[str, ...] = ()
    fold_rule: FoldRule | None = None
    patients_known: bool = True

    from_pandas: ClassVar[Callable[..., "Cohort"]]
    """`radapt.cohorts.loading.cohort_from_pandas`, which stands above this file and sets it."""

    def __repr__(self) -> str:
        """At most six lines, however many cases there are."""
        of = f"{len(set(self.patients))} patients" if self.patients_known else "unknown patients"
        lines = [f"Cohort {self.name!r} ({self.kind}, {self.task}): {len(self)} cases of {of}"]
        missing = (~self.presence).sum(axis=0)
        images = [f"{name} (missing in {n})" if n else name for name, n in zip(self.modalities, missing, strict=True)]
        lines.append(f"  images: {_some(images)}")
        if self.classes:
            counts = Counter("unlabelled" if at < 0 else self.classes[at] for at in self.labels)
            names = [name for name in (*self.classes, "unlabelled") if counts[name]]
            lines.append(f"  classes: {_some([f'{name} {counts[name]}' for name in names])}")
        if self.findings:
            counts_of = (self.labels == 1).sum(axis=0)
            named = [f"{name} {n}" for name, n in zip(self.findings, counts_of, strict=True)]
            lines.append(f"  findings: {_some(named)}")
        if masks := sum(case.mask is not None for case in self.cases):
            lines.append(f"  masks: {masks} cases")
        splits = Counter(self.splits)
        lines.append(f"  splits: {_some([f'{name} {splits[name]}' for name in sorted(splits)])}")
        return "\n".join(lines)

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    @overload
    def __getitem__(self, index: int | str) -> Case: ...

    @overload
    def __getitem__(self, index: slice | np.ndarray | Sequence[int]) -> "Cohort": ...

    def __getitem__(self, index: int | str | slice | np.ndarray | Sequence[int]) -> "Case | Cohort":
        """`cohort[3]` and `cohort["case-id"]` are cases; `cohort[:10]` and `cohort[mask]` cohorts of some of them.

        Raises IndexError beyond the last case, and KeyError for an id that no case has.
        """
        if isinstance(index, str):
            found = next((case for case in self.cases if case.case == index), None)
            if found is None:
                raise KeyError(f"Cohort {self.name} has no case {index!r}.")
            return found
        if isinstance(index, int | np.integer):
            return self.cases[index]
        return self.select(index if isinstance(index, slice) else np.asarray(index))

    @property
    def task(self) -> Task:
        if self.findings:
            return "multilabel"
        if self.classes:
            return "binary" if len(self.classes) == 2 else "multiclass"
        return "segmentation" if any(case.mask for case in self.cases) else "unlabelled"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names a classifier predicts: classes, or findings."""
        return self.findings or self.classes

    @cached_property
    def labels(self) -> np.ndarray:
        """Ground truth of every case: (N,) int64 class index, -1 unlabelled, or (N, F) float32, NaN unknown."""
        if self.findings:
            rows = [[np.nan if value is None else value for value in case.findings] for case in self.cases]
            return np.asarray(rows, dtype=np.float32).reshape(len(self), len(self.findings))
        return np.asarray([-1 if case.label is None else case.label for case in self.cases], dtype=np.int64)

    @cached_property
    def patients(self) -> np.ndarray:
        """(N,) patient of every case: the independent unit of every split, interval and test."""
        return np.asarray([case.patient for case in self.cases], dtype=object)

    @cached_property
    def splits(self) -> np.ndarray:
        """(N,) split of every case."""
        return np.asarray([case.split for case in self.cases], dtype=object)

    @cached_property
    def presence(self) -> np.ndarray:
        """(N, M) bool: which modalities each case has."""
        return np.asarray(
            [[name in case.images for name in self.modalities] for case in self.cases], dtype=bool
        ).reshape(len(self), len(self.modalities))

    @cached_property
    def unlabelled(self) -> tuple[Case, ...]:
        """The cases without label, findings and mask."""
        return tuple(replace(case, label=None, findings=(None,) * len(case.findings), mask=None) for case in self.cases)

    @property
    def test_sets(self) -> tuple[str, ...]:
        """Every split that is neither train nor val: `test` first, then the others by name."""
        names = {case.split for case in self.cases} - set(CHOOSING_SPLITS)
        return tuple(sorted(names, key=lambda name: (name != "test", name)))

    def select(self, keep: np.ndarray | slice) -> "Cohort":
        """The cohort with only the cases that `keep` selects, by index, slice or boolean mask."""
        selected = np.arange(len(self))[keep]
        return replace(self, cases=tuple(self.cases[index] for index in selected))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", … ({len(names)})" if len(names) > _SHOWN else "")
