"""Draws of a few training patients, for learning curves: by patient, nested, the same for every backbone and protocol.

A draw depends on the labelled training patients, the seed and the repeat, and on nothing else: not on the order of the
rows, and not on which other sizes are asked for.
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

    Of `shots` (k patients per class) and `fraction` (share of the labelled training patients) one is None. `notes` say
    where the patients did not suffice.
    """

    shots: int | None
    fraction: float | None
    repeat: int
    patients: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The size, for readers: '4 shots', '10 % of labels'."""
        if self.shots is not None:
            return counted(self.shots, "shot")
        return f"{100 * (self.fraction or 0):g} % of labels"


def draw_patients(
    cohort: Cohort, shots: Sequence[int], fractions: Sequence[float], repeats: int, seed: int
) -> tuple[Draw, ...]:
    """`repeats` draws of each size, smallest first, from the labelled patients of split `train`.

    `shots`: k patients of each class, or with several findings k patients positive for each and k without any. A
    patient brings all its cases and counts for every class it has a case of, so a class that comes with others may
    have more than k. A class with fewer than k patients gives all it has, and the draw's notes say so.
    `fractions`: that share of the patients, of each class alike (a patient of several counts for the rarest), rounded,
    but at least one. The draws of one repeat are nested: a larger one holds every smaller one of its kind.

    A size that takes every labelled patient is drawn once, as repeat 0: another repeat would be the same. Without any
    labelled training patient, all draws are empty.
    """
    members, keys, names = _members(cohort)
    found: dict[tuple[str, float], list[Draw]] = {}
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(len(keys))
        for draw in _of_repeat(members, keys, names, order, sorted(set(shots)), sorted(set(fractions)), repeat):
            size = ("shots", draw.shots) if draw.shots is not None else ("share", draw.fraction or 0.0)
            if repeat == 0 or len(draw.patients) < len(keys):
                found.setdefault(size, []).append(draw)
    return tuple(draw for draws in found.values() for draw in draws)


def restrict(cohort: Cohort, draw: Draw) -> Cohort:
    """The cohort with label and findings of every training case outside the draw taken away.

    The cases stay, unlabelled; val and test sets are untouched. Masks stay, too: a draw is of labels, and those who
    learn from unlabelled patients with masks shall be able to.
    """
    kept = set(draw.patients)
    pairs = zip(cohort.cases, cohort.unlabelled, strict=True)
    return replace(
        cohort,
        cases=tuple(
            case if case.split != "train" or case.patient in kept else replace(blank, mask=case.mask)
            for case, blank in pairs
        ),
    )


def _members(cohort: Cohort) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(P, K) bool: which groups each labelled training patient is in; their names (P,), sorted; the groups' names."""
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
        kept, raised = _share(members, order, fraction)
        notes = [f"{names[group]!r} keeps 1 patient, more than the share, so that it is not lost." for group in raised]
        yield Draw(None, fraction, repeat, tuple(keys[kept].tolist()), tuple(notes))


def _stages(members: np.ndarray, order: np.ndarray, most: int) -> np.ndarray:
    """(P,) the smallest k whose draw holds each patient; `most` + 1 for those in none.

    Stage k follows stage k - 1 and tops every group up to k patients, the rarest group first, in the drawn order:
    greedy, because a patient of several groups counts in all of them, and nested by construction.
    """
    stage = np.full(len(members), most + 1)
    have = np.zeros(members.shape[1], dtype=np.int64)
    rarest_first = np.argsort(members.sum(axis=0), kind="stable")
    queues = {group: iter(order[members[order, group]].tolist()) for group in rarest_first.tolist()}
    for k in range(1, most + 1):
        for group, queue in queues.items():
            while have[group] < k and (patient := next((one for one in queue if stage[one] > most), None)) is not None:
                stage[patient] = k
                have += members[patient]
    return stage


def _share(members: np.ndarray, order: np.ndarray, fraction: float) -> tuple[np.ndarray, list[int]]:
    """(P,) bool: the kept share of patients, and the groups that keep one although their share rounds to none."""
    sizes = members.sum(axis=0)
    rarity = np.where(members, sizes, np.iinfo(sizes.dtype).max)
    own = rarity.argmin(axis=1) if members.shape[1] else np.zeros(len(members), dtype=np.int64)
    kept = np.zeros(len(members), dtype=bool)
    raised = []
    for group in np.unique(own).tolist():
        queue = order[own[order] == group]
        wanted = int(np.floor(fraction * len(queue) + 0.5))
        kept[queue[: max(wanted, 1)]] = True
        if not wanted:
            raised.append(group)
    return kept, raised
