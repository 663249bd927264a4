"""What can be learned from the labelled cases of a cohort, and what a reader should know about it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from radapt.classification.task import LabelledCases
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError
from radapt.features.pooling import ModalityUse
from radapt.protocols.targets import ClassWeight, Targets
from radapt.training.fit_record import Candidate


class HasModalities(Protocol):
    """What says which case has which modality: a cohort, or features."""

    @property
    def modalities(self) -> tuple[str, ...]: ...

    @property
    def presence(self) -> np.ndarray:
        """(N, M) bool"""
        ...


def learnable(
    cohort: Cohort, train: np.ndarray, val: np.ndarray, class_weight: ClassWeight
) -> tuple[np.ndarray, np.ndarray, Targets]:
    """Indices of the cases to learn from and to choose on, and what is to be learned.

    Where drawing val took the last answer of every finding, there is no val. Raises DataError if there is still
    nothing to learn.
    """
    targets = Targets.of(cohort.labels[train], len(cohort.outputs), class_weight)
    if not len(targets.learned):
        train, val = np.sort(np.concatenate([train, val])), val[:0]
        targets = Targets.of(cohort.labels[train], len(cohort.outputs), class_weight)
    if not len(targets.learned):
        raise DataError(f"Cohort {cohort.name!r} has no output that training shows both answers of. Label more cases.")
    return train, val, targets


def modalities_of(source: HasModalities, train: np.ndarray) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The modalities that training cases have, and which of them some training cases lack."""
    present = source.presence[train]
    learned = present.any(axis=0)
    names = tuple(name for name, some in zip(source.modalities, learned, strict=True) if some)
    return names, tuple(bool(each) for each in ~present[:, learned].all(axis=0))


def notes_of(
    outputs: Sequence[str], source: HasModalities, cases: LabelledCases, use: ModalityUse, winner: Candidate | None
) -> list[str]:
    """What a reader should know about the data of a fit; `use` says how modalities are joined. `winner` is the
    candidate that val chose; None where inner folds did."""
    said = list(cases.targets.notes(outputs))
    learned, partial = modalities_of(source, cases.train)
    if lost := [name for name in source.modalities if name not in learned]:
        said.append(f"No training case has {', '.join(lost)}; left out.")
    if missing := [name for name, some in zip(learned, partial, strict=True) if some]:
        how = "an indicator is an input of the network" if use == "concat" else "the average over those present"
        said.append(f"Missing in some training cases: {', '.join(missing)}; {how}.")
    if winner is None:
        return said
    if not len(cases.val):
        said.append("No case to choose on, so the first learning rate was trained for the whole schedule.")
    elif note := cases.rater.undefined_note([winner.val[cases.rater.metric.name]]):
        said.append(note)
    return said
