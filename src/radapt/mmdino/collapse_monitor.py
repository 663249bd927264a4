"""What the guard of an adaptation looks at, how often, and what it advises."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from radapt.backbones.multimodal_vit.crops import Crops
from radapt.mmdino.centring import Centring, Sinkhorn, sinkhorn
from radapt.mmdino.collapse_rules import CollapseRules, advice
from radapt.mmdino.crops import whole
from radapt.mmdino.options import Options
from radapt.mmdino.slices import SliceLoader
from radapt.mmdino.student import StudentModel
from radapt.training import Health
from radapt.training.seeds import sample_seeds

IMAGES = 64
"""Training cases that are looked at, one plane each: 20 looks cost about what 25 steps of a batch of 16 do."""
LOOKS = 20
"""Looks in a training, at most one every 20 steps: features that collapse do so within tens of steps."""
_AT_ONCE = 16
_PUBLISHED_BATCH = 64  # of MM-DINOv2; smaller ones need more care


class CollapseMonitor:
    """Looks at a fixed plane of some of the training cases at `rows`, those with a label first.

    `targets` (N,) or (N, F) are the labels of the feed's cases as training sees them.
    """

    def __init__(self, feed: SliceLoader, rows: np.ndarray, targets: np.ndarray, options: Options) -> None:
        known = targets >= 0 if targets.ndim == 1 else np.isfinite(targets).any(axis=1)
        mixed = np.random.default_rng(0).permutation(rows)
        self.rows = mixed[np.argsort(~known[mixed], kind="stable")][:IMAGES]
        self.feed, self.options = feed, options
        self.labels = torch.from_numpy(targets[self.rows])
        patients = feed.cohort.patients[self.rows].tolist()
        self.patients = torch.tensor([patients.index(patient) for patient in patients])
        self.guard = CollapseRules()

    def every(self, total: int) -> int:
        """Steps between two looks in a training of so many steps."""
        return max(total // LOOKS, LOOKS)

    def state(self) -> dict[str, Tensor]:
        """The guard's memory, live."""
        return {f"guard.{name}": each for name, each in self.guard.state().items()}

    def health(
        self,
        student: StudentModel,
        teacher: StudentModel,
        centre: Centring | None,
        temperature: float,
        step: int,
        total: int,
    ) -> Health:
        """The guard's verdict after `step` of `total` steps, with what to change where it is to stop.

        Both networks are in eval mode. `centre` and `temperature` are those of the teacher's answers; None: nothing is
        learned from them.
        """
        features, logits = self._look(student, teacher if centre is not None else None)
        answers = None if centre is None else _answers(centre, logits, temperature).cpu()
        health, kinds = self.guard.judge(step, total, features.cpu(), answers, self.labels, self.patients)
        if health.stop is None:
            return health
        words = f"{health.stop} {advice(kinds, changes(self.options))}".strip()
        return Health(good=False, stop=words, numbers=health.numbers)

    @torch.no_grad()
    def _look(self, student: StudentModel, teacher: StudentModel | None) -> tuple[Tensor, Tensor]:
        """The student's CLS tokens (n, D), and the teacher's logits (n, K), or none (0,)."""
        features, logits, size = list[Tensor](), list[Tensor](), self.options.global_size
        device = student.encoder.mask_token.device
        for start in range(0, len(self.rows), _AT_ONCE):
            rows = self.rows[start : start + _AT_ONCE]
            sample = self.feed.sample(rows, sample_seeds(0, 0, np.arange(start, start + len(rows))))
            planes = whole(sample.planes.to(device), sample.boxes, size)
            none = torch.zeros(*sample.present.shape, *student.encoder.grid(size, size), dtype=torch.bool)
            crops = Crops(planes, sample.present, None, none)
            features.append(student.encoder(crops).cls.float())
            if teacher is not None and teacher.head is not None:
                logits.append(teacher.head(teacher.encoder(crops).cls))
        return torch.cat(features), torch.cat(logits) if logits else torch.empty(0)


def _answers(centre: Centring, logits: Tensor, temperature: float) -> Tensor:
    """As the centring answers, but Sinkhorn–Knopp without its memory: looks compare only if all are of as many."""
    return sinkhorn(logits, temperature) if isinstance(centre, Sinkhorn) else centre.probabilities(logits, temperature)


def changes(options: Options) -> dict[str, Sequence[str]]:
    """For each kind of loss (see `guard.Lost`) the options to change, most helpful first.

    Sinkhorn–Knopp and larger batches keep prototypes in use (SwAV, DINOv2), a slower teacher suits small batches (DINO,
    section 5), KoLeo spreads features, and a lower rate or adapters leave more of what the backbone knows.
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
