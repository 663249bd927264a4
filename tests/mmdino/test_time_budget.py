"""What fits into a stated time: the arithmetic, the choice, what is measured, and the command that keeps the choice."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import radapt
from radapt.backbones import find_backbone, load_backbone
from radapt.cli import main
from radapt.cohorts import load_cohort
from radapt.errors import UsageError
from radapt.images import Recipe, SliceCache
from radapt.mmdino.options import Options, options_of
from radapt.mmdino.protocol import MmDino
from radapt.mmdino.time_budget.estimate import PARTS, Cost, Estimate, Work, choose, duration, estimate
from radapt.mmdino.time_budget.measure import Bench, measured
from radapt.mmdino.time_budget.plan import candidates, check_hours
from toy_study import write_cohort

WORK = Work(trainings=1, cases=100, train=64, labelled=80, sequences=2.0, subsets=3.0)


def test_an_estimate_counts_steps_slices_and_answers() -> None:
    cost = Cost(step=3.6, encode=0.01, predict=1.0, prepare=0.5)
    found = estimate("fusion", Options(slices=10), WORK, cost, hours=1.0)
    assert found.epoch_hours == pytest.approx(4 * 3.6 / 3600), "64 cases are four batches of 16"
    assert found.fixed_hours == pytest.approx((100 * (0.5 + 2 * 10 * 0.01) + 100 * 3 * 0.6) / 3600)
    assert (found.usual_epochs, found.epochs) == (40, 40)
    full = estimate("full", Options(), WORK, Cost(3.6, 0.0, 1.0, 0.5), hours=0.5)
    assert full.fixed_hours == pytest.approx((100 * 0.5 + 180 * 3 * 0.6) / 3600), "the classifier's cases as well"
    assert (full.usual_epochs, full.epochs) == (200, 200)
    less = estimate("full", Options(), WORK, Cost(3.6, 0.0, 1.0, 0.5), hours=0.25)
    assert less.epochs == int((0.25 * 3600 * 0.85 - 374) // 3.6), "after what has to be done anyway, less the reserve"


def test_folds_train_once_more_for_each_of_them() -> None:
    cost = Cost(1.0, 0.0, 0.0, 0.0)
    one = estimate("lora", Options(), WORK, cost, 1.0)
    five = estimate("lora", Options(), Work(6, 100, 64, 80, 2.0, 3.0), cost, 1.0)
    assert five.epoch_hours == pytest.approx(6 * one.epoch_hours)


def test_capped_steps_shorten_what_is_usual() -> None:
    many = Work(1, 20_000, 16_000, 16_000, 1.0, 1.0)
    assert estimate("fusion", Options(), many, Cost(1, 0, 0, 0), 1.0).usual_epochs == 1


def found(trained: Any, fits: int, usual: int = 40) -> Estimate:
    return Estimate(trained, 0.01, 0.01, usual, fits)


def test_the_most_of_the_encoder_that_fits_is_chosen() -> None:
    given = [found("fusion", 40), found("partial", 20), found("lora", 99, 200), found("full", 3, 200)]
    plan = choose(1.0, given)
    assert plan.trained == "partial", "lora has less than half of its epochs"
    assert [each.trained for each in plan.estimates] == ["full", "lora", "partial", "fusion"]
    applied = plan.applied(Options())
    assert (applied.trained, applied.fusion.epochs, applied.blocks) == ("partial", 20, 2)
    assert "`partial` was chosen with 20 of its usual 40 epochs" in plan.note
    assert choose(1.0, [found("fusion", 40), found("full", 100, 200)]).applied(Options()).epochs == 100
    assert choose(1.0, [found("fusion", 3), found("full", 5, 200)]).trained == "fusion", "it comes closest"


def test_when_nothing_fits_it_says_what_would() -> None:
    with pytest.raises(UsageError, match=r"Nothing can be trained in 36 seconds: .* fusion, needs .*--hours 0\.03"):
        choose(0.01, [found("fusion", 0), Estimate("full", 1.0, 1.0, 200, 0)])


@pytest.mark.parametrize(
    ("hours", "words"), [(50.0, "2.1 days"), (2.0, "2 hours"), (0.5, "30 minutes"), (0.01, "36 seconds")]
)
def test_durations_are_in_words(hours: float, words: str) -> None:
    assert duration(hours) == words


def test_the_length_of_the_training_is_not_chosen_twice() -> None:
    for options in ({"epochs": 3, "trained": "full"}, {"steps": 3}, {"fusion": {"epochs": 3}}):
        with pytest.raises(UsageError, match="--hours chooses how long to train"):
            check_hours(MmDino.of(**options), 1.0)
    for hours in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="expected a number of hours above 0"):
            check_hours(MmDino.of(), hours)
    check_hours(MmDino.of(fusion={"width": 32}), 1.0)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("hours") / "discs", patients=18)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    state = load_backbone("timm:test_vit", "random").module.state_dict()
    save_file({name: tensor.to(torch.float32).contiguous() for name, tensor in state.items()}, path)
    return path


def test_candidates_suit_the_encoder_and_the_options(cohort: Path, weights: Path) -> None:
    table, drawn = load_cohort(cohort), find_backbone("timm:test_vit", "random")
    trained = find_backbone("timm:test_vit", weights)
    assert candidates(MmDino.of(), trained, table) == PARTS
    assert candidates(MmDino.of(), drawn, table) == ("full", "lora")
    assert candidates(MmDino.of(local_crops=2), trained, table) == ("full", "lora")
    assert candidates(MmDino.of(fusion={"grid": 2}), trained, table) == ("full", "lora", "fusion")
    assert candidates(MmDino.of(), trained, table, devices=2) == ("full", "lora")
    assert candidates(MmDino.of(trained="partial"), trained, table) == ("partial",)


def test_every_candidate_is_measured_and_the_encoder_is_left_alone(cohort: Path, tmp_path: Path) -> None:
    table, vit = load_cohort(cohort), load_backbone("timm:test_vit", "random")
    before = {name: tensor.clone() for name, tensor in vit.module.state_dict().items()}
    bench = Bench.of(table, vit, Recipe.for_kind("other", size=32), SliceCache(tmp_path / "cache"), "float32")
    small = {"global_size": 32, "local_size": 16, "local_crops": 2, "slices": 3}
    for part in PARTS:
        mine = small if part in ("full", "lora") else {"slices": 3}
        cost = measured(part, options_of(trained=part, **mine), bench, table)
        assert cost.step > 0
        assert cost.predict > 0
        assert (cost.encode > 0) == (part in ("partial", "fusion"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in vit.module.state_dict().items())


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_the_command_says_what_it_chose_and_resumes_with_it(
    cohort: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = ["adapt", cohort, "--backbone", "timm:test_vit", "--weights", weights, "--size", 32, "--offline"]
    given += ["--cache", tmp_path / "cache", "--device", "cpu", "--precision", "float32", "--resamples", 100]
    given += ["--hours", 0.1, "--set", "fusion={members: 1, width: 32, grid: 2}", "--out", tmp_path / "out"]

    def slow(part: str, options: Options, bench: Bench, table: object) -> Cost:
        return Cost(20.0 if part == "fusion" else 1e4, 0.0, 0.0, 0.0)  # one batch an epoch: 15 fit into 306 s

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("radapt.mmdino.time_budget.plan.measured", slow)
    with monkeypatch.context() as patch:
        patch.setattr("radapt.mmdino.adapt_run.score_fitted", interrupted)
        assert call(*given) == 130
    printed = capsys.readouterr().out
    assert "fusion: about 13 minutes for its usual 40 epochs; 15 fit" in printed
    assert "`fusion` was chosen with 15 of its usual 40 epochs" in printed
    monkeypatch.setattr("radapt.mmdino.time_budget.plan.measured", interrupted)  # it is not measured again
    assert call(*given) == 0
    facts = json.loads((tmp_path / "out/adapt.json").read_text())
    assert facts["options"]["fusion"]["epochs"] == facts["trained"]["epochs"] == 15
    assert "`fusion` was chosen with 15" in facts["notes"][0]
    assert json.loads((tmp_path / "out/hours.json").read_text())["trained"] == "fusion"
    assert call(*given) == 0
    assert "is finished; nothing was done" in capsys.readouterr().out
    assert len(radapt.load_model(tmp_path / "out", cache=tmp_path / "cache").predict(load_cohort(cohort))) == 18
