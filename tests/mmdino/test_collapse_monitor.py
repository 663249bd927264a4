"""The monitor's numbers against their formulas, and verdicts on trainings that go well and on those that do not."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from radapt.mmdino.collapse_monitor import CollapseRules, Limits, advice, effective_rank, spread, teacher_numbers
from radapt.training import Health


def features(count: int = 48, width: int = 16, *, seed: int = 0, size: float = 1.0, towards: float = 0.0) -> Tensor:
    """Directions about a common one, `towards` times as long."""
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return size * drawn + towards * torch.ones(width)


def answers(count: int = 48, prototypes: int = 12, *, sharp: float = 3.0, shared: float = 0.0) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    own = torch.randn(count, prototypes, generator=rng)
    return torch.softmax(sharp * own + shared * torch.randn(prototypes, generator=rng), dim=1)


@pytest.mark.parametrize("directions", [1, 2, 5])
def test_the_effective_rank_counts_directions_of_equal_weight(directions: int) -> None:
    """Points at plus and minus each of some axes: every direction alike, and no mean."""
    axes = torch.eye(8)[:directions]
    assert effective_rank(torch.cat([axes, -axes])) == pytest.approx(directions)


def test_the_effective_rank_is_that_of_the_formula() -> None:
    given = features(20, 6).double().numpy()
    unit = given / np.linalg.norm(given, axis=1, keepdims=True)
    values = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    shares = values / values.sum()
    assert effective_rank(torch.tensor(given)) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_features_that_are_alike_have_rank_one_and_no_spread() -> None:
    alike = torch.ones(10, 4)
    assert (effective_rank(alike), spread(alike)) == (1.0, pytest.approx(0, abs=1e-6))
    assert effective_rank(torch.randn(1, 4)) == 1
    assert spread(torch.cat([torch.eye(4), -torch.eye(4)])) == 1
    assert spread(features(size=1e-3, towards=1.0)) < 2e-3


def test_a_teacher_that_tells_nothing_has_no_information_whichever_way() -> None:
    """Uniform answers and one answer for all: 0; every image its own prototype: all there is."""
    uniform, same = torch.full((8, 8), 1 / 8), torch.eye(8)[:1].expand(8, 8)
    assert teacher_numbers(uniform) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    assert teacher_numbers(same) == (0, 0)
    assert teacher_numbers(torch.eye(8)) == (pytest.approx(1), 0)
    assert all(map(math.isnan, teacher_numbers(torch.ones(8, 1))))


def test_information_is_the_mean_divergence_from_the_mean_answer() -> None:
    given = answers().double().numpy()
    divergence = (given * np.log(given / given.mean(0))).sum(1).mean()
    assert teacher_numbers(torch.tensor(given))[0] == pytest.approx(divergence / math.log(12))


def judged(rules: CollapseRules, *looks: dict[str, Any], total: int = 100, first: int = 20) -> list[Health]:
    found = []
    for number, look in enumerate(looks):
        found.append(rules.assess(first + 10 * number, total, **look)[0])
    return found


def healthy() -> dict[str, Any]:
    labels = torch.arange(48) % 3
    return {
        "features": features() + 2 * torch.eye(16)[labels],
        "probabilities": answers(),
        "labels": labels,
        "patients": torch.arange(48),
    }


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ({"features": features(size=1e-3, towards=1.0)}, "features became alike"),
        ({"probabilities": torch.full((48, 12), 1 / 12)}, "all prototypes alike"),
        ({"probabilities": answers(sharp=0.1, shared=50)}, "the same prototypes"),
        ({"features": features(seed=9)}, "neighbours no longer share labels"),
        ({"features": torch.outer(torch.linspace(-1, 1, 48), torch.eye(16)[0]) + 0.3 * torch.eye(16)[1]}, "directions"),
    ],
    ids=["features", "all", "one", "labels", "rank"],
)
def test_each_way_to_collapse_is_named_after_two_looks(lost: dict[str, Any], words: str) -> None:
    found = judged(CollapseRules(), healthy(), healthy() | lost, healthy() | lost)
    assert [health.good for health in found] == [True, False, False]
    assert found[1].stop is None
    assert found[2].stop is not None
    assert words in found[2].stop
    assert found[2].stop.startswith("The adaptation collapsed: ")


def test_one_bad_look_is_forgiven() -> None:
    bad = healthy() | {"features": features(size=1e-3, towards=1.0)}
    found = judged(CollapseRules(), healthy(), bad, healthy(), bad, healthy())
    assert [health.stop for health in found] == [None] * 5


def test_features_that_are_not_finite_stop_at_once() -> None:
    broken = features()
    broken[3, 2] = torch.nan
    found = judged(CollapseRules(), healthy(), healthy() | {"features": broken})
    assert found[1].stop == "Features are not finite any more."
    assert math.isnan(found[1].numbers["rank"])


def test_cases_that_gather_by_class_are_no_collapse() -> None:
    """Neural collapse (Papyan et al. 2020): rank classes − 1, all labels right."""
    labels = torch.arange(48) % 3
    gathered = healthy() | {"features": 5 * torch.eye(16)[labels] + 1e-3 * features()}
    found = judged(CollapseRules(), healthy(), gathered, gathered, gathered)
    assert [health.stop for health in found] == [None] * 4
    assert found[3].numbers["rank"] < 2.1 < 10 < found[0].numbers["rank"]


def test_without_labels_and_teacher_features_alone_are_judged() -> None:
    good, bad = {"features": features()}, {"features": features(size=1e-3, towards=1.0)}
    assert [health.stop is None for health in judged(CollapseRules(), good, bad, bad)] == [True, True, False]
    assert math.isnan(judged(CollapseRules(), good)[0].numbers["knn"])


def test_a_teacher_is_not_judged_while_its_temperature_rises() -> None:
    """Random heads tell images apart by chance at first, which is no measure for later."""
    alike = healthy() | {"probabilities": torch.full((48, 12), 1 / 12)}
    found = judged(CollapseRules(), healthy(), alike, alike, total=1000, first=0)
    assert [health.stop for health in found] == [None] * 3


def test_a_new_head_that_says_little_and_then_nothing_is_lost() -> None:
    """Information 0.02 at the start, as little as a new head may have, and none after the warm-up."""
    little, silent = (healthy() | {"probabilities": answers(sharp=sharp)} for sharp in (0.4, 0.01))
    found = judged(CollapseRules(), little, silent, silent, first=0)
    assert 0.01 < found[0].numbers["information"] < 0.03
    assert [health.stop is None for health in found] == [True] * 3
    found = judged(CollapseRules(), little, little, silent, silent, first=0)
    assert [health.stop is None for health in found] == [True, True, True, False]
    weaker = healthy() | {"probabilities": answers(sharp=0.2)}
    assert all(health.stop is None for health in judged(CollapseRules(), little, weaker, weaker, weaker, first=0))


def test_a_teacher_that_never_told_images_apart_is_mentioned_at_the_end() -> None:
    alike = healthy() | {"probabilities": torch.full((48, 12), 1 / 12)}
    found = judged(CollapseRules(), *[alike] * 9)
    assert [len(health.warnings) for health in found] == [0] * 8 + [1]
    assert "never differed between images" in found[8].warnings[0]


def test_features_that_were_alike_from_the_start_cannot_be_lost() -> None:
    alike = {"features": torch.ones(48, 16)}
    assert all(health.stop is None for health in judged(CollapseRules(), alike, alike, alike))


def test_a_memory_that_was_saved_goes_on(tmp_path: Any) -> None:
    first, again = CollapseRules(), CollapseRules()
    bad = healthy() | {"features": features(size=1e-3, towards=1.0)}
    judged(first, healthy(), bad)
    torch.save(first.state(), tmp_path / "rules.pt")
    for name, each in torch.load(tmp_path / "rules.pt", weights_only=True).items():
        again.state()[name].copy_(each)
    assert judged(again, bad)[0].stop is not None


def test_random_walks_of_healthy_size_never_trip() -> None:
    """Numbers that change by a third from look to look, up and down: 200 trainings of 10 looks."""
    rng = np.random.default_rng(0)
    labels = torch.arange(48) % 3
    for run in range(200):
        rules, size, sharp, apart = CollapseRules(), 1.0, 3.0, 2.0
        for look in range(10):
            size, sharp, apart = (value * math.exp(rng.normal(0, 0.3)) for value in (size, sharp, apart))
            given = min(size, 1.0) * features(seed=run * 10 + look) + max(apart, 2.0) * torch.eye(16)[labels] + 1.0
            health, _ = rules.assess(10 * look, 100, given, answers(sharp=max(sharp, 0.8)), labels, torch.arange(48))
            assert health.stop is None, (run, look, health)


def test_advice_names_what_helps_against_what_was_lost() -> None:
    changes = {"features": ("lr: 1e-5", "koleo: 0.1"), "labels": ("lr: 1e-5", "trained: lora")}
    assert advice(["features", "labels"], changes) == "Try lr: 1e-5, or koleo: 0.1, or trained: lora."
    assert advice(["features", "labels"], changes, most=1) == "Try lr: 1e-5."
    assert advice(["one"], changes) == ""


def test_limits_say_how_patient_it_is() -> None:
    bad = healthy() | {"features": features(size=1e-3, towards=1.0)}
    found = judged(CollapseRules(Limits(patience=1)), healthy(), bad)
    assert found[1].stop is not None
