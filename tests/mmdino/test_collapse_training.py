"""Self-distillation that is driven into collapse stops and goes back; one that is left alone never does.

A small network on vectors in place of images: teacher, centre, loss, collapse rules and loop are the real ones.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radapt.mmdino.centring import Centre, Centring, Sinkhorn
from radapt.mmdino.collapse_monitor import CollapseRules
from radapt.mmdino.heads import ProjectionHead
from radapt.mmdino.losses import dino_loss
from radapt.mmdino.schedules import momentum
from radapt.mmdino.teacher import Teacher
from radapt.training import Health, Task, TrainConfig, TrainResult, train
from radapt.training.seeds import uniform

CLUSTERS, WIDTH = 6, 16
SAMPLES = 96


class Vectors(Task):
    """Noisy points of six clusters; two views of a point are the point with other noise."""

    check_every = 10

    def __init__(self, centre: Centring, *, temperature: float = 0.05, start: float = 0.9) -> None:
        rng = torch.Generator().manual_seed(0)
        self.size = SAMPLES
        self.kinds = torch.arange(SAMPLES) % CLUSTERS
        self.points = torch.randn(CLUSTERS, WIDTH, generator=rng)[self.kinds]
        self.points = self.points + 0.3 * torch.randn(SAMPLES, WIDTH, generator=rng)
        encoder = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, 24))
        for each in encoder.parameters():
            each.data = torch.randn(each.shape, generator=rng) / 4
        student = nn.Sequential(encoder, ProjectionHead(24, 32, hidden=48, bottleneck=16, seed=0))
        self.module = nn.ModuleList([student, Teacher(student), centre])
        self.temperature, self.start, self.rules = temperature, start, CollapseRules()
        self.looks: dict[int, dict[str, Tensor]] = {}

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> Tensor:
        views = [
            self.points[indices]
            + 0.2 * torch.from_numpy(np.stack([uniform(seeds, WIDTH * view + i) for i in range(WIDTH)], 1)).float()
            for view in range(2)
        ]
        return torch.stack(views)  # (2, b, D)

    def loss(self, batch: Tensor, seeds: np.ndarray) -> Tensor:
        student, teacher, centre = self.module
        logits = teacher(batch)
        targets = centre.probabilities(logits, self.temperature)
        centre.collect(logits)
        return dino_loss(student(batch), targets, 0.1)

    def before_step(self, step: int, total: int) -> None:
        self.module[2].start()

    def after_step(self, step: int, total: int) -> None:
        self.module[1].update(self.module[0], momentum(step, total, self.start))
        self.module[2].move()

    def check(self, step: int, total: int) -> Health:
        student, teacher, centre = self.module
        answers = centre.probabilities(teacher(self.points), self.temperature)
        features = student[0](self.points)
        self.looks[step] = {name: each.clone() for name, each in self.module.state_dict().items()}
        return self.rules.assess(step, total, features, answers, self.kinds, torch.arange(SAMPLES))[0]

    def state(self) -> dict[str, Tensor]:
        return {**self.module[1].state(), **self.rules.state()}

    def score(self) -> float:
        return float("nan")


def run(task: Task, path: Path | None = None, **options: Any) -> TrainResult:
    made = {"epochs": 30, "batch": 16, "lr": 2e-3, "weight_decay": 0.0, "clip": 3.0, "score_every": 1000, **options}
    return train(task, TrainConfig(**made), seed=0, checkpoint=path, interval_s=0.0)


def uncentred() -> Vectors:
    """Nothing keeps the teacher's answers apart: the centre never moves, and the teacher follows at once."""
    return Vectors(Centre(32, momentum=1.0), start=0.5)


def blunt() -> Vectors:
    """A teacher less decided than its student: all answers become even."""
    return Vectors(Centre(32), temperature=0.3)


@pytest.mark.parametrize("centre", [Centre(32), Sinkhorn(32)], ids=["centre", "sinkhorn"])
def test_healthy_training_goes_to_its_end(centre: Centring) -> None:
    task = Vectors(centre)
    result = run(task)
    assert (result.stopped, result.steps, result.notes) == (None, 180, [])
    assert result.checks[-1]["knn"] > 0.9
    assert result.checks[-1]["information"] > 0.3


@pytest.mark.parametrize(
    ("made", "lr", "words"), [(uncentred, 0.1, "same prototypes"), (blunt, 2e-3, "all prototypes")]
)
def test_a_collapse_stops_and_goes_back(made: Callable[[], Vectors], lr: float, words: str) -> None:
    task = made()
    result = run(task, lr=lr)
    assert result.stopped is not None
    assert result.stopped.startswith("The adaptation collapsed: ")
    assert words in result.stopped
    assert result.steps < 180
    assert result.good_step < result.steps - 10
    found = task.module.state_dict()
    assert all(torch.equal(found[name], each) for name, each in task.looks[result.good_step].items())
    bad = [entry for entry in result.checks if not entry["good"]]
    assert len(bad) >= 2
    assert result.checks[-1]["information"] < 0.1


class Killed(BaseException):
    """Nobody catches it, as nobody catches a signal."""


@pytest.mark.parametrize("healthy", [pytest.param(True, marks=pytest.mark.slow), False])
def test_killed_in_the_middle_teacher_and_verdict_are_the_same(tmp_path: Path, healthy: bool) -> None:
    made = (lambda: Vectors(Sinkhorn(32))) if healthy else uncentred
    rate = 2e-3 if healthy else 0.1
    undisturbed, task, again = made(), made(), made()
    expected = run(undisturbed, lr=rate)
    kill_at, plain = expected.steps - 15, task.after_step

    def after_step(step: int, total: int) -> None:
        if step == kill_at:
            raise Killed
        plain(step, total)

    task.after_step = after_step  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run(task, tmp_path / "training.pt", lr=rate)
    result = run(again, tmp_path / "training.pt", lr=rate)
    found, wanted = again.module.state_dict(), undisturbed.module.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert (result.stopped, result.notes, result.good_step) == (expected.stopped, expected.notes, expected.good_step)
    assert str(result.checks) == str(expected.checks)
