"""Detects a collapse of the adaptation and stops it: features that become alike, a teacher that gives every image the
same targets, labels that are no longer visible in the features.

Every number is compared with its start and its best value, since what is usual differs between backbones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from radapt.backbones.multimodal_vit.inputs import Crops
from radapt.mmdino.centring import Centring, Sinkhorn, sinkhorn
from radapt.mmdino.crops import whole
from radapt.mmdino.neighbours import chance, knn_accuracy
from radapt.mmdino.options import Options
from radapt.mmdino.slices import SliceLoader
from radapt.mmdino.student import StudentModel
from radapt.training import Health
from radapt.training.seeds import sample_seeds

NUMBERS = ("rank", "spread", "information", "teacher_entropy", "knn")
"""The numbers of a check, in this order; NaN where undefined."""

IMAGES = 64
"""Training cases in a check, one slice each: 20 checks cost about as much as 25 steps with a batch of 16."""
CHECKS = 20
"""Checks per training, at most one every 20 steps: features that collapse do so within tens of steps."""
_BATCH = 16
_PUBLISHED_BATCH = 64  # of MM-DINOv2; smaller ones need more care


@dataclass(frozen=True)
class Limits:
    """When a number counts as collapsed. Shares are of the best value; all leave a wide margin to healthy trainings.

    A healthy adaptation changes these numbers by factors of two or three, a collapse by factors of a hundred: spread
    and rank of collapsed features fall to rounding errors.
    """

    share: float = 0.1
    """Share of the best spread, rank beyond 1 and information below which they are lost. Good states have twice it."""
    informed: float = 0.05  # information that a teacher must have reached for its loss to count
    telling: float = 0.01  # information that a teacher should reach at least once
    silent: float = 0.001  # information below which a teacher is useless, however little it had at the start
    knn_share: float = 0.25  # share of the best kNN accuracy above chance
    knn_errors: float = 4.0  # standard errors by which the kNN accuracy must also have fallen
    patience: int = 2  # consecutive bad checks before training stops
    grace: float = 0.15  # share of the steps before the teacher is checked: its temperature is still rising


def effective_rank(features: Tensor) -> float:
    """exp of the entropy of the singular values of features (n, D), in 1…min(n − 1, D) (Roy and Vetterli 2007).

    Features are scaled to length 1 and centred, so that it counts the directions in which samples differ. 1 where all
    are alike, or there is only one.
    """
    unit = normalize(features.double(), dim=1)
    values = torch.linalg.svdvals(unit - unit.mean(0))
    if not float(values.sum()) > 1e-9 * math.sqrt(len(features)):
        return 1.0
    shares = values / values.sum()
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum()))


def spread(features: Tensor) -> float:
    """Root mean square distance of features (n, D), scaled to length 1, from their mean, in 0…1; 0: all are alike."""
    mean = normalize(features.double(), dim=1).mean(0)
    return math.sqrt(max(1.0 - float(mean @ mean), 0.0))


def teacher_numbers(probabilities: Tensor) -> tuple[float, float]:
    """Information and entropy of a teacher's probabilities (n, K), each in 0…1.

    Information is the mutual information of image and prototype, i.e. the entropy of the mean minus the mean entropy,
    as a share of its maximum, log min(n, K). Both kinds of collapse in DINO (Caron et al. 2021, section 5.3) bring it
    to 0: one prototype for all images, and all prototypes alike for every image. The mean entropy as a share of log K
    tells them apart: 0 and 1. NaN for a single image or prototype.
    """
    images, prototypes = probabilities.shape
    if min(images, prototypes) < 2:
        return math.nan, math.nan
    p = probabilities.double()
    entropy = -torch.special.xlogy(p, p).sum(1).mean()
    mean = p.mean(0)
    information = -torch.special.xlogy(mean, mean).sum() - entropy
    return max(float(information) / math.log(min(images, prototypes)), 0.0), float(entropy) / math.log(prototypes)


@dataclass(frozen=True)
class Sign:
    """A sign of collapse: `kind` is features, rank, one, all or labels."""

    kind: str
    text: str


class CollapseRules:
    """Start and best values of a training's checks, and the verdict on the latest check.

    A check uses a fixed set of training images: `features` (n, D) of the student, which collapses before its teacher
    does; the teacher's `probabilities` (n, K), None where no loss uses them; `labels` and `patients` as `knn_accuracy`
    takes them.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.best = torch.full((len(NUMBERS),), math.nan, dtype=torch.float64)
        self.start = self.best.clone()
        self.bad_checks = torch.zeros((), dtype=torch.int64)

    def state(self) -> dict[str, Tensor]:
        """Start and best values, live, for a task's `state`."""
        return {"best": self.best, "start": self.start, "bad_checks": self.bad_checks}

    def numbers(
        self, features: Tensor, probabilities: Tensor | None, labels: Tensor | None, patients: Tensor | None
    ) -> dict[str, float]:
        """The numbers of a check, by the names in `NUMBERS`. Those of features that are not finite are NaN."""
        rank = width = knn = math.nan
        if bool(features.isfinite().all()) and len(features) > 1:
            rank, width = effective_rank(features), spread(features)
            if labels is not None and patients is not None:
                knn = knn_accuracy(features, labels, patients)
        information, entropy = (math.nan, math.nan) if probabilities is None else teacher_numbers(probabilities)
        return dict(zip(NUMBERS, (rank, width, information, entropy, knn), strict=True))

    def assess(
        self,
        step: int,
        total: int,
        features: Tensor,
        probabilities: Tensor | None = None,
        labels: Tensor | None = None,
        patients: Tensor | None = None,
    ) -> tuple[Health, tuple[str, ...]]:
        """The health after `step` of `total` steps, and the kinds of collapse; updates start and best values.

        Features that are not finite stop the training at once, any other sign only in `patience` consecutive checks.
        """
        numbers = self.numbers(features, probabilities, labels, patients)
        if not bool(features.isfinite().all()):
            return Health(good=False, stop="Features are not finite any more.", numbers=numbers), ("features",)
        checks_teacher = step >= self.limits.grace * total
        self._remember(numbers, checks_teacher)
        signs = self._signs(numbers, self.limits.share, labels, checks_teacher)
        self.bad_checks.fill_(int(self.bad_checks) + 1 if signs else 0)
        kinds = tuple(sign.kind for sign in signs)
        if signs and int(self.bad_checks) >= self.limits.patience:
            stop = f"The adaptation collapsed: {'; '.join(sign.text for sign in signs)}."
            return Health(good=False, stop=stop, numbers=numbers), kinds
        good = not self._signs(numbers, 2 * self.limits.share, labels, checks_teacher)
        return Health(good=good, numbers=numbers, warnings=self._warnings(step, total)), kinds

    def _remember(self, numbers: dict[str, float], checks_teacher: bool) -> None:
        for column, name in enumerate(NUMBERS):
            value = numbers[name]
            if math.isnan(float(self.start[column])):
                self.start[column] = value
            if not math.isnan(value) and (checks_teacher or name not in ("information", "teacher_entropy")):
                self.best[column] = max(value, float(self.best[column].nan_to_num(-math.inf)))

    def _signs(
        self, numbers: dict[str, float], share: float, labels: Tensor | None, checks_teacher: bool
    ) -> list[Sign]:
        best = dict(zip(NUMBERS, self.best.tolist(), strict=True))
        signs: list[Sign] = []
        labels_lost = self._labels_lost(numbers["knn"], best["knn"], labels)
        if numbers["spread"] < share * best["spread"]:
            signs.append(Sign("features", f"features became alike (spread {_change(numbers, best, 'spread')})"))
        # Cases of a class move together, so labels lead to a rank of classes − 1: no collapse while kNN finds them.
        elif numbers["rank"] - 1 < share * (best["rank"] - 1) and not numbers["knn"] >= best["knn"] - 0.05:
            signs.append(Sign("rank", f"features differ in few directions (rank {_change(numbers, best, 'rank')})"))
        lost_from = self._lost_information(numbers["information"], share) if checks_teacher else None
        if lost_from is not None:
            kind = "all" if numbers["teacher_entropy"] > 0.5 else "one"
            how = "all prototypes alike" if kind == "all" else "the same prototypes"
            change = f"information {numbers['information']:.2g} after {lost_from:.2g}"
            signs.append(Sign(kind, f"the teacher gives every image the same targets, {how} ({change})"))
        if labels_lost:
            signs.append(
                Sign("labels", f"neighbours no longer share labels (accuracy {_change(numbers, best, 'knn')})")
            )
        return signs

    def _lost_information(self, now: float, share: float) -> float | None:
        """The information from which a teacher fell, its best or the little of a new head; None if it did not."""
        column = NUMBERS.index("information")
        best, start = float(self.best[column]), float(self.start[column])
        if best >= self.limits.informed and now < share * best:
            return best
        silent = now < share / self.limits.share * self.limits.silent
        return start if silent and now < share * start else None

    def _labels_lost(self, now: float, best: float, labels: Tensor | None) -> bool:
        """Whether the accuracy fell most of the way to chance level, and by more than its standard error explains."""
        if labels is None or math.isnan(now) or math.isnan(best):
            return False
        level = chance(labels)
        known = int((labels >= 0).sum()) if labels.ndim == 1 else int(labels.isfinite().any(1).sum())
        error = math.sqrt(0.5 / max(known, 1))  # upper bound for a difference of two proportions
        far = now < level + self.limits.knn_share * (best - level)
        return far and best - now > self.limits.knn_errors * error

    def _warnings(self, step: int, total: int) -> tuple[str, ...]:
        """A teacher whose outputs never differed between images does little harm, but teaches nothing either."""
        best = float(self.best[NUMBERS.index("information")].nan_to_num(math.nan))
        if step < total or not best < self.limits.telling:
            return ()
        return (
            f"The teacher's outputs never differed between images (information at most {best:.2g}), so "
            "that little was learned from images without labels.",
        )


class CollapseMonitor:
    """Checks a fixed slice of some of the training cases at `rows`, labelled ones first.

    `targets` (N,) or (N, F) are the labels of the loader's cases as training sees them.
    """

    def __init__(self, loader: SliceLoader, rows: np.ndarray, targets: np.ndarray, options: Options) -> None:
        labelled = targets >= 0 if targets.ndim == 1 else np.isfinite(targets).any(axis=1)
        shuffled = np.random.default_rng(0).permutation(rows)
        self.rows = shuffled[np.argsort(~labelled[shuffled], kind="stable")][:IMAGES]
        self.loader, self.options = loader, options
        self.labels = torch.from_numpy(targets[self.rows])
        patients = loader.cohort.patients[self.rows].tolist()
        self.patients = torch.tensor([patients.index(patient) for patient in patients])
        self.rules = CollapseRules()

    def every(self, total: int) -> int:
        """Steps between two checks in a training of `total` steps."""
        return max(total // CHECKS, CHECKS)

    def state(self) -> dict[str, Tensor]:
        """The rules' start and best values, live."""
        return {f"collapse.{name}": tensor for name, tensor in self.rules.state().items()}

    def health(
        self,
        student: StudentModel,
        teacher: StudentModel,
        centre: Centring | None,
        temperature: float,
        step: int,
        total: int,
    ) -> Health:
        """The verdict after `step` of `total` steps; where training has to stop, with options to change.

        Both networks are in eval mode. `centre` and `temperature` turn the teacher's logits into targets; None: no loss
        uses them.
        """
        features, logits = self._outputs(student, teacher if centre is not None else None)
        targets = None if centre is None else _targets(centre, logits, temperature).cpu()
        health, kinds = self.rules.assess(step, total, features.cpu(), targets, self.labels, self.patients)
        if health.stop is None:
            return health
        reason = f"{health.stop} {advice(kinds, changes(self.options))}".strip()
        return Health(good=False, stop=reason, numbers=health.numbers)

    @torch.no_grad()
    def _outputs(self, student: StudentModel, teacher: StudentModel | None) -> tuple[Tensor, Tensor]:
        """The student's CLS tokens (n, D), and the teacher's logits (n, K), or none (0,)."""
        features, logits, size = list[Tensor](), list[Tensor](), self.options.global_size
        device = student.encoder.mask_token.device
        for start in range(0, len(self.rows), _BATCH):
            rows = self.rows[start : start + _BATCH]
            sample = self.loader.sample(rows, sample_seeds(0, 0, np.arange(start, start + len(rows))))
            planes = whole(sample.planes.to(device), sample.boxes, size)
            none = torch.zeros(*sample.present.shape, *student.encoder.grid(size, size), dtype=torch.bool)
            crops = Crops(planes, sample.present, None, none)
            features.append(student.encoder(crops).cls.float())
            if teacher is not None and teacher.head is not None:
                logits.append(teacher.head(teacher.encoder(crops).cls))
        return torch.cat(features), torch.cat(logits) if logits else torch.empty(0)


def _targets(centre: Centring, logits: Tensor, temperature: float) -> Tensor:
    """The centring's targets, but Sinkhorn–Knopp without its memory: checks compare only with equal sample sizes."""
    return sinkhorn(logits, temperature) if isinstance(centre, Sinkhorn) else centre.probabilities(logits, temperature)


def changes(options: Options) -> dict[str, Sequence[str]]:
    """For each kind of collapse (see `Sign`) the options to change, most helpful first.

    Sinkhorn–Knopp and larger batches keep prototypes in use (SwAV, DINOv2), a slower teacher suits small batches (DINO,
    section 5), KoLeo spreads features, and a lower learning rate or LoRA preserves more of the backbone.
    """
    slower = [f"lr={options.lr / 3:.1g}"]
    shared = ["centring=sinkhorn"] if options.centring == "centre" and options.supervision != "prototypes" else []
    larger = [f"batch={2 * options.batch}"] if options.batch < _PUBLISHED_BATCH else []
    steady = [f"momentum={1 - (1 - options.momentum) / 2:.3g}"] if options.momentum < 0.998 else []
    apart = ["koleo=0.1"] if not options.koleo else []
    adapters = ["trained=lora"] if options.trained == "full" else []
    low, high = options.teacher_temperature
    sharp = min(low, 0.04)
    sharper = [f"teacher_temperature=[{sharp:g}, {max(sharp, 0.05):g}]"] if high > 0.05 else []
    longer = [f"teacher_warmup={min(2 * options.teacher_warmup, 1):g}"] if options.teacher_warmup < 1 else []
    features = [*slower, *shared, *larger, *apart, *steady, *adapters]
    return {
        "features": features,
        "rank": [*apart, *features],
        "one": [*shared, *larger, *slower, *steady],
        "all": [*sharper, *longer, *slower],
        "labels": [*slower, *adapters, *steady],
    }


def _change(numbers: dict[str, float], best: dict[str, float], name: str) -> str:
    return f"{numbers[name]:.2g} after {best[name]:.2g}"


def advice(kinds: Sequence[str], changes: dict[str, Sequence[str]], most: int = 3) -> str:
    """A sentence with the first `most` of the `changes` that help against these kinds of collapse; '' if none do."""
    wanted = list(dict.fromkeys(change for kind in kinds for change in changes.get(kind, ())))[:most]
    return f"Try {', or '.join(wanted)}." if wanted else ""
