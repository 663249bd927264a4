"""Schedules against their formulas, and configurations that must be refused."""

import math

import pytest

from radapt.errors import UsageError
from radapt.training import TrainConfig
from toy_task import config


def factors(**options: object) -> list[float]:
    made = TrainConfig(**{"epochs": 1, "batch": 1, "lr": 1.0, "warmup": 0.0, **options})  # type: ignore[arg-type]
    return [made.lr_factor(step, 10) for step in range(10)]


def test_cosine_poly_and_constant_follow_their_formulas() -> None:
    assert factors(schedule="cosine") == pytest.approx([(1 + math.cos(math.pi * step / 10)) / 2 for step in range(10)])
    assert factors(schedule="poly") == pytest.approx([(1 - step / 10) ** 0.9 for step in range(10)])
    assert factors(schedule="constant") == [1.0] * 10


def test_warm_up_rises_evenly_to_where_the_schedule_begins() -> None:
    found = factors(schedule="cosine", warmup=0.3)
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found[4:] == pytest.approx([(1 + math.cos(math.pi * step / 7)) / 2 for step in range(1, 7)])


def test_cosine_is_that_of_torch() -> None:
    import torch

    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 10)
    for expected in factors(schedule="cosine"):
        assert optimiser.param_groups[0]["lr"] == pytest.approx(expected)
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize(
    ("samples", "batch", "steps", "expected"), [(23, 5, None, 20), (5, 5, None, 4), (4, 5, None, 4), (23, 5, 7, 7)]
)
def test_steps_are_those_of_all_epochs_unless_capped(samples: int, batch: int, steps: int, expected: int) -> None:
    assert config(batch=batch, steps=steps).total_steps(samples) == expected


def test_weight_decay_goes_along_half_a_cosine_or_stays() -> None:
    assert config(weight_decay=0.3).weight_decay_at(5, 10) == 0.3
    changing = config(weight_decay=0.1, weight_decay_end=0.5, warmup=0.5)
    assert [changing.weight_decay_at(step, 8) for step in (0, 4)] == pytest.approx([0.1, 0.3])
    assert changing.weight_decay_at(2, 8) == pytest.approx(0.5 - 0.4 * (1 + math.sqrt(0.5)) / 2)


def test_epochs_that_a_cap_of_steps_leaves() -> None:
    assert config(batch=5, epochs=4).epochs_at_most(23) == 4
    assert config(batch=5, epochs=4, steps=7).epochs_at_most(23) == 7 / 5
    assert config(batch=5).epochs_at_most(0) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 1, "batch": 1, "steps": 1, "accumulate": 1, "patience": 1, "stop_after": 1, "score_every": 1},
        {"weight_decay": 0.0, "weight_decay_end": 0.0, "momentum": 0.0, "warmup": 0.0, "lr_end": 0.0},
        {"lr_end": 1.0, "clip": None, "score_every": None, "momentum": 0.999, "warmup": 0.999},
    ],
)
def test_values_at_the_ends_of_their_ranges_are_allowed(options: dict[str, object]) -> None:
    made = config(**options)
    assert {name: getattr(made, name) for name in options} == options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs = 0: expected a whole number of at least 1"),
        ({"batch": 0}, "batch = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"patience": 0}, "patience = 0"),
        ({"accumulate": 0}, "accumulate = 0"),
        ({"score_every": 0}, "score_every = 0"),
        ({"stop_after": 0}, "stop_after = 0"),
        ({"lr": 0.0}, "lr = 0.0: expected a positive number"),
        ({"lr": math.inf}, "lr = inf"),
        ({"weight_decay": math.inf}, "weight_decay = inf"),
        ({"lr": math.nan}, "lr = nan"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"momentum": 1.0}, "momentum"),
        ({"warmup": 1.0}, "warmup"),
        ({"clip": 0.0}, "clip"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"optimiser": "adam"}, "Did you mean 'adamw'"),
        ({"precision": "float16"}, "Did you mean 'bfloat16'"),
    ],
)
def test_values_out_of_range_are_refused_with_what_is_expected(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        config(**options)
