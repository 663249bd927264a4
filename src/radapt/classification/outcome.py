"""What every protocol that trains on cases decides before training, and says after it."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from radapt.classification.candidates import BestModel
from radapt.classification.task import LabelledCases
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError
from radapt.features.pooling import ModalityUse
from radapt.protocols.fitted import Cost
from radapt.protocols.selection import CRITERION
from radapt.protocols.targets import ClassWeight, Targets


class Seen(Protocol):
    """What a case may have: the images of a cohort, or what its features were kept for."""

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


def modalities_of(seen: Seen, train: np.ndarray) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The modalities that training cases have, and which of them some training cases lack."""
    present = seen.presence[train]
    known = present.any(axis=0)
    kept = tuple(name for name, some in zip(seen.modalities, known, strict=True) if some)
    return kept, tuple(bool(each) for each in ~present[:, known].all(axis=0))


def choice_of(winner: BestModel, cases: LabelledCases, own_val: bool) -> dict[str, Any]:
    """What was chosen among what, for the record; `own_val` says that val is the cohort's."""
    short = ("lr", "val_auroc", "val_log_loss", "best_epoch", "epochs", "steps")  # no clocks: equal fits say the same
    candidates = [
        {name: each[name] for name in short} | ({"diverged": each["diverged"]} if each["diverged"] else {})
        for each in winner.facts
    ]
    best, chooses = winner.facts[winner.number], len(cases.val) > 0
    return {
        "winner": candidates[winner.number],
        "criterion": CRITERION if chooses else "no case to choose on, so the first learning rate was taken by default",
        "candidates": candidates if chooses else [],
        "cases": {"train": len(cases.train), "val": len(cases.val)},
        "val": ("the cohort's" if own_val else "drawn by patient inside train") if chooses else "none",
        "trained": best["trained"],
        "parameters": best["parameters"],
        "history": best["history"],
    }


def notes_of(
    outputs: Sequence[str],
    seen: Seen,
    cases: LabelledCases,
    kept: Sequence[str],
    partial: Sequence[bool],
    use: ModalityUse,
    winner: BestModel,
) -> list[str]:
    """What a reader should know."""
    said = list(cases.targets.notes(outputs))
    if lost := [name for name in seen.modalities if name not in kept]:
        said.append(f"No training case has {', '.join(lost)}; left out.")
    if missing := [name for name, some in zip(kept, partial, strict=True) if some]:
        how = "the network is told" if use == "concat" else "the average over those present"
        said.append(f"Missing in some training cases: {', '.join(missing)}; {how}.")
    if not len(cases.val):
        said.append("No case to choose on, so the first learning rate was trained for the whole schedule.")
    elif _undefined(winner):
        said.append("AUROC is undefined on val, where no question has both answers; chosen by log-loss.")
    said += [note for each in winner.facts for note in each["notes"]]
    said += [left_out(each["lr"], each["diverged"]) for each in winner.facts if each["diverged"]]
    return list(dict.fromkeys(said))


def left_out(rate: float, reason: str) -> str:
    """The note about a learning rate at which training diverged."""
    return f"Learning rate {rate:g} was left out, as training diverged: {reason}"


def cost_of(winner: BestModel) -> Cost:
    """What all candidates took together."""
    best = winner.facts[winner.number]
    return Cost(
        trained=best["trained"],
        parameters=best["parameters"],
        peak_memory_mb=max(each["peak_memory_mb"] for each in winner.facts),
        seconds=sum(each["seconds"] for each in winner.facts),
    )


def _undefined(winner: BestModel) -> bool:
    area = winner.facts[winner.number]["val_auroc"]
    return area is None or area != area
