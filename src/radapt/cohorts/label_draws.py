"""Few-shot draws of training patients for learning curves: nested, and the same for all backbones and protocols.

A draw depends only on the labelled training patients, the seed and the repeat, not on the order of the rows or on the
other sizes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.errors import counted

NO_FINDING = "none of the findings"


@dataclass(frozen=True)
class Draw:
    """The training patients whose labels are kept, by name; one of `repeats` draws of the same size.

    Either `shots` (k patients per class) or `fraction` (of the labelled training patients) is None. `notes` name the
    classes with too few patients.
    """

    shots: int | None
    fraction: float | None
    repeat: int
    patients: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The size in words: '4 shots', '10 % of labels'."""
        if self.shots is not None:
            return counted(self.shots, "shot")
        return f"{100 * (self.fraction or 0):g} % of labels"


def draw_patients(
    cohort: Cohort, shots: Sequence[int], fractions: Sequence[float], repeats: int, seed: int
) -> tuple[Draw, ...]:
    """`repeats` draws of each size, smallest first, from the labelled patients of split `train`.

    `shots`: k patients of each class, or with several findings k patients positive for each and k without any. A
    patient brings all its cases and counts for every class among them, so a class that co-occurs with others may have
    more than k. A class with fewer than k patients gives all of them, and the draw's notes say so. `fractions`: that
    fraction of the patients of each class (a patient of several classes counts for the rarest), rounded, at least one.
    The draws of one repeat are nested: a larger draw holds every smaller draw of its kind.

    A size that takes every labelled patient is drawn once, as repeat 0, because another repeat would be the same.
    Without labelled training patients, all draws are empty.
    """
    members, keys, names = _members(cohort)
    by_size: dict[tuple[str, float], list[Draw]] = {}
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(len(keys))
        for draw in _of_repeat(members, keys, names, order, sorted(set(shots)), sorted(set(fractions)), repeat):
            size = ("shots", draw.shots) if draw.shots is not None else ("share", draw.fraction or 0.0)
            if repeat == 0 or len(draw.patients) < len(keys):
                by_size.setdefault(size, []).append(draw)
    return tuple(draw for draws in by_size.values() for draw in draws)


def restrict(cohort: Cohort, draw: Draw) -> Cohort:
    """The cohort without label and findings of the training cases outside the draw.

    The cases stay, unlabelled, with their masks, which a protocol may learn from; val and test sets are unchanged.
    """
    labelled = set(draw.patients)
    pairs = zip(cohort.cases, cohort.unlabelled, strict=True)
    return replace(
        cohort,
        cases=tuple(
            case if case.split != "train" or case.patient in labelled else replace(blank, mask=case.mask)
            for case, blank in pairs
        ),
    )


def _members(cohort: Cohort) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(P, K) bool: the groups of each labelled training patient; their names (P,), sorted; the names of the groups."""
    labels = cohort.labels
    several = labels.ndim == 2
    known = np.isfinite(labels).any(axis=1) if several else labels >= 0
    rows = np.flatnonzero(known & (cohort.splits == "train"))
    keys, owner = np.unique(cohort.patients[rows].astype(str), return_inverse=True)
    truth = labels[rows] == 1 if several else labels[rows, None] == np.arange(len(cohort.classes))
    members = np.zeros((len(keys), truth.shape[1]), dtype=bool)
    np.logical_or.at(members, owner, truth)
    if not several:
        return members, keys, cohort.classes
    return np.column_stack([members, ~members.any(axis=1)]), keys, (*cohort.findings, NO_FINDING)


def _of_repeat(
    members: np.ndarray,
    keys: np.ndarray,
    names: Sequence[str],
    order: np.ndarray,
    shots: Sequence[int],
    fractions: Sequence[float],
    repeat: int,
) -> Iterator[Draw]:
    stage = _stages(members, order, max(shots, default=0))
    sizes = members.sum(axis=0)
    for k in shots:
        notes = [
            f"{name!r} has {counted(int(size), 'labelled training patient')}, fewer than {k}; all are kept."
            for name, size in zip(names, sizes, strict=True)
            if size < k
        ]
        yield Draw(k, None, repeat, tuple(keys[stage <= k].tolist()), tuple(notes))
    for fraction in fractions:
        drawn, raised = _share(members, order, fraction)
        notes = [f"{names[group]!r} keeps 1 patient, more than the share, so that it is not lost." for group in raised]
        yield Draw(None, fraction, repeat, tuple(keys[drawn].tolist()), tuple(notes))


def _stages(members: np.ndarray, order: np.ndarray, most: int) -> np.ndarray:
    """(P,) the smallest k whose draw holds each patient; `most` + 1 for patients in none.

    Stage k follows stage k - 1 and fills every group up to k patients, the rarest group first, in the drawn order. This
    is greedy, because a patient of several groups counts in all of them, and nested by construction.
    """
    stage = np.full(len(members), most + 1)
    have = np.zeros(members.shape[1], dtype=np.int64)
    rarest_first = np.argsort(members.sum(axis=0), kind="stable")
    queues = {group: iter(order[members[order, group]].tolist()) for group in rarest_first.tolist()}
    for k in range(1, most + 1):
        for group, queue in queues.items():
            while have[group] < k and (patient := next((p for p in queue if stage[p] > most), None)) is not None:
                stage[patient] = k
                have += members[patient]
    return stage


def _share(members: np.ndarray, order: np.ndarray, fraction: float) -> tuple[np.ndarray, list[int]]:
    """(P,) bool: the drawn fraction of patients; and the groups that keep one although their share rounds to none."""
    sizes = members.sum(axis=0)
    rarity = np.where(members, sizes, np.iinfo(sizes.dtype).max)
    own = rarity.argmin(axis=1) if members.shape[1] else np.zeros(len(members), dtype=np.int64)
    drawn = np.zeros(len(members), dtype=bool)
    raised = []
    for group in np.unique(own).tolist():
        queue = order[own[order] == group]
        wanted = int(np.floor(fraction * len(queue) + 0.5))
        drawn[queue[: max(wanted, 1)]] = True
        if not wanted:
            raised.append(group)
    return drawn, raised
