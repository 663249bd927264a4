"""SGD heads against torch's own optimiser, and the columns each head reads."""

from typing import Any

import numpy as np
import pytest
import torch

from array_matrix import ArrayMatrix
from radapt.features import select
from radapt.probes.linear import HeadsFamily, columns_of
from radapt.probes.sgd_heads import Inputs, Schedule, train_heads
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.targets import Targets

RATES = (0.01, 0.5)


def _torch_head(x: torch.Tensor, targets: Targets, rate: float, schedule: Schedule, seed: int) -> torch.nn.Linear:
    """The same head with torch.optim.SGD, CosineAnnealingLR and automatic differentiation."""
    head = torch.nn.Linear(x.shape[1], targets.values.shape[1])
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    steps = schedule.epochs * -(-len(x) // schedule.batch)
    optimiser = torch.optim.SGD(head.parameters(), lr=rate * schedule.batch / 256, momentum=0.9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    wanted, weights = torch.from_numpy(targets.values).float(), torch.from_numpy(targets.weights).float()
    for batch in schedule.order(len(x), np.random.default_rng(seed)):
        logits = head(x[batch])
        if targets.link == "softmax":
            losses = torch.nn.functional.cross_entropy(logits, wanted[batch], reduction="none") * weights[batch, 0]
        else:
            losses = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, wanted[batch], weights[batch], reduction="none"
            ).sum(1)
        optimiser.zero_grad()
        losses.mean().backward()
        optimiser.step()
        cosine.step()
    return head


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_heads_equal_torch_sgd(task: str, weight: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, (70, 9)).astype(np.float32)
    y: np.ndarray = rng.integers(0, 2 if task == "binary" else 4, 70)
    if task == "multilabel":
        y = np.where(rng.random((70, 4)) < 0.2, np.nan, rng.random((70, 4)) < 0.3)
    targets = Targets.of(y, 2 if task == "binary" else 4, weight)
    schedule, rows = Schedule(epochs=3, batch=16), np.arange(70)
    groups = [Inputs(np.arange(9), RATES), Inputs(np.array([1, 4, 5]), RATES)]
    models = train_heads(ArrayMatrix(x), rows, targets, groups, np.random.default_rng(7), schedule)
    found = models.predict(ArrayMatrix(x), rows)
    standard = torch.from_numpy((x - x.mean(0)) / x.std(0))
    for number, (group, rate) in enumerate((group, rate) for group in groups for rate in RATES):
        head = _torch_head(standard[:, group.columns], targets, rate, schedule, 7)
        logits = head(standard[:, group.columns]).detach().double()
        linked = logits.softmax(-1) if targets.link == "softmax" else logits.sigmoid()
        np.testing.assert_allclose(found[number], targets.answer(linked.numpy()), atol=1e-4)


def test_a_head_alone_equals_the_head_in_the_grid(every_task: Any) -> None:
    problem = FeatureProblem.of(every_task)
    rows = problem.rows("train")
    family = HeadsFamily(problem.depth, Schedule(epochs=2, batch=32), "none")
    assert len(family.candidates) == 16
    together = family.fit(problem, rows, np.random.default_rng(3)).predict_all(rows)
    for only in (0, 6, 11, 15):
        alone = family.fit(problem, rows, np.random.default_rng(3), only=only).predict_all(rows)
        np.testing.assert_allclose(alone[0], together[only], atol=1e-5)


@pytest.mark.parametrize("modalities", [1, 3])
def test_columns_of_a_reading_are_those_its_own_source_would_have(features_of: Any, modalities: int) -> None:
    rng = np.random.default_rng(1)
    missing = rng.random((60, modalities)) < 0.3
    missing[:, 0] = False
    labels = rng.integers(0, 2, 60)
    features = features_of(labels, np.full(60, "train"), layers=4, missing=missing)
    problem, rows = FeatureProblem.of(features), np.arange(60)
    union = problem.source(rows, 4, True)
    for reading in [(1, False), (1, True), (4, False), (4, True)]:
        held = columns_of(union, features.segments, (4, True), reading)
        np.testing.assert_array_equal(union.gather(rows)[:, held], problem.source(rows, *reading).gather(rows))
    assert len(select(features.segments, 4, True)) == 5
