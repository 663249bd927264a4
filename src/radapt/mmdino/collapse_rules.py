"""Watches an adaptation for collapse: features that become alike, a teacher that says the same of every image, labels
that no longer show. Judged against the start and the best seen, since what is usual differs between backbones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from radapt.mmdino.neighbours import chance, knn_accuracy
from radapt.training import Health

NUMBERS = ("rank", "spread", "information", "teacher_entropy", "knn")
"""What is kept of a look, in this order; NaN where it cannot be told."""


@dataclass(frozen=True)
class Limits:
    """When a number counts as lost. Shares are of the best seen; all leave healthy training much room.

    A healthy adaptation changes these numbers by factors of two or three, a collapse by factors of a hundred: the
    spread and the rank of features in collapsed runs fall to the rounding of numbers.
    """

    share: float = 0.1
    """Of the best spread, rank beyond 1 and information, below which it is lost. Good states have twice as much."""
    informed: float = 0.05  # information that a teacher must once have had for its loss to mean anything
    telling: float = 0.01  # information that a teacher should have had once, if only for a moment
    silent: float = 0.001  # information below which a teacher says nothing, however little it said at the start
    knn_share: float = 0.25  # of what the best accuracy was above chance
    knn_errors: float = 4.0  # standard errors that the accuracy must have fallen by, too
    patience: int = 2  # looks in a row that find something lost before training stops
    grace: float = 0.15  # share of the steps before a teacher's answers count: while its temperature rises


def effective_rank(features: Tensor) -> float:
    """exp of the entropy of the singular values of features (n, D), in 1…min(n − 1, D) (Roy and Vetterli 2007).

    Of each feature's direction, without the mean of all: how many directions samples differ in. 1 where they are all
    alike, or there is only one.
    """
    unit = normalize(features.double(), dim=1)
    values = torch.linalg.svdvals(unit - unit.mean(0))
    if not float(values.sum()) > 1e-9 * math.sqrt(len(features)):
        return 1.0
    shares = values / values.sum()
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum()))


def spread(features: Tensor) -> float:
    """Root mean square distance of the directions of features (n, D) from their mean, in 0…1; 0: all are alike."""
    mean = normalize(features.double(), dim=1).mean(0)
    return math.sqrt(max(1.0 - float(mean @ mean), 0.0))


def teacher_numbers(probabilities: Tensor) -> tuple[float, float]:
    """Of a teacher's answers (n, K): how much they tell of the image, and how undecided they are, each in 0…1.

    The first is the mutual information of image and prototype, the entropy of the mean answer less the mean entropy of
    answers, as a share of the most there could be, log min(n, K). Both ways to collapse that DINO names (Caron et al.
    2021, section 5.3) bring it to 0: one prototype for all images, and all prototypes for every image. The second
    number, the mean entropy as a share of log K, tells them apart: 0 and 1. NaN for one image or prototype.
    """
    images, prototypes = probabilities.shape
    if min(images, prototypes) < 2:
        return math.nan, math.nan
    given = probabilities.double()
    entropy = -torch.special.xlogy(given, given).sum(1).mean()
    mean = given.mean(0)
    told = -torch.special.xlogy(mean, mean).sum() - entropy
    return max(float(told) / math.log(min(images, prototypes)), 0.0), float(entropy) / math.log(prototypes)


@dataclass(frozen=True)
class Lost:
    """A reason to call an adaptation collapsed: `kind` is features, rank, one, all or labels."""

    kind: str
    text: str


class CollapseRules:
    """The memory of all looks at a training, and the verdict on the latest.

    A look is at a fixed set of training images: `features` (n, D) of the student, which collapses before its teacher
    does; the teacher's `probabilities` (n, K), None where nothing is learned from them; `labels` and `patients` as
    `knn_accuracy` takes them. `advice` says, for kinds of loss, what to change.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.best = torch.full((len(NUMBERS),), math.nan, dtype=torch.float64)
        self.start = self.best.clone()
        self.lost = torch.zeros((), dtype=torch.int64)

    def state(self) -> dict[str, Tensor]:
        """Its memory, live, for a task's `state`."""
        return {"best": self.best, "start": self.start, "lost": self.lost}

    def numbers(
        self, features: Tensor, probabilities: Tensor | None, labels: Tensor | None, patients: Tensor | None
    ) -> dict[str, float]:
        """What a look finds, by the names in `NUMBERS`. All NaN but the teacher's if features are not finite."""
        rank = extent = knn = math.nan
        if bool(features.isfinite().all()) and len(features) > 1:
            rank, extent = effective_rank(features), spread(features)
            if labels is not None and patients is not None:
                knn = knn_accuracy(features, labels, patients)
        information, entropy = (math.nan, math.nan) if probabilities is None else teacher_numbers(probabilities)
        return dict(zip(NUMBERS, (rank, extent, information, entropy, knn), strict=True))

    def judge(
        self,
        step: int,
        total: int,
        features: Tensor,
        probabilities: Tensor | None = None,
        labels: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> tuple[Health, tuple[str, ...]]:
        """The health after `step` steps of `total`, and the kinds of what was lost. The memory goes on.

        Features that are not finite stop at once; everything else has to be lost in `patience` looks in a row.
        """
        found = self.numbers(features, probabilities, labels, patients)
        if not bool(features.isfinite().all()):
            return Health(good=False, stop="Features are not finite any more.", numbers=found), ("features",)
        answers = step >= self.limits.grace * total
        self._remember(found, answers)
        doubts = self._losses(found, self.limits.share, labels, answers)
        self.lost.fill_(int(self.lost) + 1 if doubts else 0)
        kinds = tuple(each.kind for each in doubts)
        if doubts and int(self.lost) >= self.limits.patience:
            stop = f"The adaptation collapsed: {'; '.join(each.text for each in doubts)}."
            return Health(good=False, stop=stop, numbers=found), kinds
        good = not self._losses(found, 2 * self.limits.share, labels, answers)
        return Health(good=good, numbers=found, warnings=self._warnings(found, step, total)), kinds

    def _remember(self, found: dict[str, float], answers: bool) -> None:
        for place, name in enumerate(NUMBERS):
            value = found[name]
            if math.isnan(float(self.start[place])):
                self.start[place] = value
            if not math.isnan(value) and (answers or name not in ("information", "teacher_entropy")):
                self.best[place] = max(value, float(self.best[place].nan_to_num(-math.inf)))

    def _losses(self, found: dict[str, float], share: float, labels: Tensor | None, answers: bool) -> list[Lost]:
        best = dict(zip(NUMBERS, self.best.tolist(), strict=True))
        lost: list[Lost] = []
        labels_lost = self._labels_lost(found["knn"], best["knn"], labels)
        if found["spread"] < share * best["spread"]:
            lost.append(Lost("features", f"features became alike (spread {_change(found, best, 'spread')})"))
        # Classes draw their cases together, so that a rank of classes − 1 is what labels ask for, as long as they show.
        elif found["rank"] - 1 < share * (best["rank"] - 1) and not found["knn"] >= best["knn"] - 0.05:
            lost.append(Lost("rank", f"features differ in few directions (rank {_change(found, best, 'rank')})"))
        once = self._informed(found["information"], share) if answers else None
        if once is not None:
            kind = "all" if found["teacher_entropy"] > 0.5 else "one"
            how = "with all prototypes alike" if kind == "all" else "with the same prototypes"
            told = f"information {found['information']:.2g} after {once:.2g}"
            lost.append(Lost(kind, f"the teacher answers every image {how} ({told})"))
        if labels_lost:
            lost.append(Lost("labels", f"neighbours no longer share labels (accuracy {_change(found, best, 'knn')})"))
        return lost

    def _informed(self, now: float, share: float) -> float | None:
        """The information that was lost, None if it was not: that of a good teacher, or the little a new head has."""
        place = NUMBERS.index("information")
        best, start = float(self.best[place]), float(self.start[place])
        if best >= self.limits.informed and now < share * best:
            return best
        silent = now < share / self.limits.share * self.limits.silent
        return start if silent and now < share * start else None

    def _labels_lost(self, now: float, best: float, labels: Tensor | None) -> bool:
        """Whether the accuracy fell most of the way to chance, and by more than chance alone would make it."""
        if labels is None or math.isnan(now) or math.isnan(best):
            return False
        level = chance(labels)
        known = int((labels >= 0).sum()) if labels.ndim == 1 else int(labels.isfinite().any(1).sum())
        error = math.sqrt(0.5 / max(known, 1))  # of the difference of two shares, at most
        far = now < level + self.limits.knn_share * (best - level)
        return far and best - now > self.limits.knn_errors * error

    def _warnings(self, found: dict[str, float], step: int, total: int) -> tuple[str, ...]:
        """A teacher that never told images apart harms little, but nothing is learned from it either."""
        best = float(self.best[NUMBERS.index("information")].nan_to_num(math.nan))
        if step < total or not best < self.limits.telling:
            return ()
        return (
            f"The teacher never told images apart (information {best:.2g} at best), so little was learned from "
            "images without labels.",
        )


def _change(found: dict[str, float], best: dict[str, float], name: str) -> str:
    return f"{found[name]:.2g} after {best[name]:.2g}"


def advice(kinds: Sequence[str], changes: dict[str, Sequence[str]], most: int = 3) -> str:
    """One sentence with the first of the `changes` that help against the kinds of loss, at most `most`; '' if none."""
    wanted = list(dict.fromkeys(change for kind in kinds for change in changes.get(kind, ())))[:most]
    return f"Try {', or '.join(wanted)}." if wanted else ""
