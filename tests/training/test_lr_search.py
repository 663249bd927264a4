"""The search for a learning rate: the best on val wins, divergence is left out, a kill resumes behind what is over."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radapt.progress import Advance
from radapt.training import DivergedError, TrainConfig, TrainResult
from radapt.training.checkpoint import fit_key
from radapt.training.fit_record import FitCases
from radapt.training.lr_search import NO_VAL, BestModel, RateSearch, TrainSetup, search_rates
from toy_task import ToyTask, config, same

RATES = (1e-4, 7.0, 5e-2, 8.0, 1e-3)
"""5e-2 is the best of them; those above 1 diverge."""


@dataclass(eq=False)
class ToySearch(RateSearch[ToyTask]):
    """Counts what is trained; `killed_at` is a rate at which it is killed in its middle."""

    setup: TrainSetup = field(default_factory=lambda: TrainSetup(3, "toy"))
    has_val: bool = True
    killed_at: float | None = None
    undefined: bool = False
    began: list[float] = field(default_factory=list)
    made: list[ToyTask] = field(default_factory=list)

    def make(self) -> ToyTask:
        self.made.append(ToyTask())
        return self.made[-1]

    def network(self, model: ToyTask) -> nn.Module:
        return model.module

    def task(self, model: ToyTask, rate: float) -> ToyTask:
        self.began.append(rate)

        def spoil(count: int, batch: dict[str, Tensor]) -> None:
            if rate > 1:
                batch["x"] = batch["x"] * math.nan
            if rate == self.killed_at and count == 7:
                raise KeyboardInterrupt

        model.before_loss = spoil
        return model

    def config(self, rate: float) -> TrainConfig:
        return config(lr=rate)

    def evaluate(self, model: ToyTask, rate: float, trained: TrainResult) -> dict[str, float]:
        return {"score": math.nan if self.undefined else trained.score} if self.has_val else {}

    def best(self, val: Sequence[Mapping[str, float]]) -> int:
        return int(np.argmax([np.nan_to_num(one.get("score", math.nan), nan=-np.inf) for one in val]))

    def state(self, model: ToyTask) -> dict[str, Tensor]:
        return {name: one.clone() for name, one in model.module.state_dict().items()}

    def load(self, model: ToyTask, state: Mapping[str, Tensor]) -> None:
        model.module.load_state_dict(dict(state))


def weights(best: BestModel[ToyTask]) -> dict[str, Tensor]:
    return best.model.module.state_dict()


def test_the_best_on_val_wins_with_the_weights_it_had() -> None:
    search = ToySearch()
    found = search_rates(search, RATES)
    alone = search_rates(ToySearch(), RATES[2:3])
    assert found.winner.options == {"lr": 5e-2}
    assert found.number == 2
    assert same(weights(found), weights(alone))
    assert same(dict(found.state), weights(alone))
    assert not found.model.module.training
    assert search.began == list(RATES)
    assert len(search.made) == len(RATES), "the last model takes the weights of the best"
    scores = [trial.candidate.val.get("score", -math.inf) for trial in found.trials]
    assert max(scores) == scores[2]


def test_each_run_shows_its_progress_under_its_rate() -> None:
    shown: dict[str, int] = {}

    @contextmanager
    def counting(total: int, label: str, unit: str) -> Iterator[Advance]:
        def advance(count: int) -> None:
            shown[label] = shown.get(label, 0) + count

        yield advance

    search_rates(ToySearch(TrainSetup(3, "toy", progress=counting)), (1e-4, 5e-2))
    assert shown == {"toy, learning rate 0.0001": 20, "toy, learning rate 0.05": 20}


def test_divergence_is_left_out_with_its_reason() -> None:
    record = search_rates(ToySearch(), RATES).record("toy score", FitCases(23, 5, "cohort"), ["A note."])
    assert [one.diverged is not None for one in record.candidates] == [False, True, False, True, False]
    lost = record.candidates[1]
    assert lost.diverged is not None
    assert lost.diverged.startswith("The loss became nan at step 1")
    assert (lost.val, lost.best_epoch, lost.epochs, lost.steps) == ({}, None, None, None)
    assert record.notes[0] == "A note."
    assert [note[:29] for note in record.notes[1:]] == [
        "Learning rate 7 was left out,",
        "Learning rate 8 was left out,",
    ]
    assert record.criterion == "toy score"
    assert (record.cost.trained, record.cost.parameters) == (17, 65)
    assert record.cost.seconds > 0
    assert not math.isnan(record.cost.peak_memory_mb)
    assert [entry["epoch"] for entry in record.history] == [1, 2, 3, 4]


def test_where_all_diverge_the_first_reason_is_said() -> None:
    with pytest.raises(DivergedError, match=r"every learning rate \(7, 8\). At the first: The loss became nan"):
        search_rates(ToySearch(), (7.0, 8.0))
    with pytest.raises(DivergedError, match=r"^The loss became nan"):
        search_rates(ToySearch(), (7.0,))


@pytest.mark.parametrize("killed_at", [1e-4, 5e-2, 1e-3])
def test_a_killed_search_resumes_behind_what_is_over(
    tmp_path: Path, killed_at: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Diverged rates before the kill are not trained again; the rate that was killed resumes from its checkpoint."""
    monkeypatch.setattr("radapt.training.lr_search.CHECKPOINT_S", 0.0)
    straight = search_rates(ToySearch(), RATES)
    with pytest.raises(KeyboardInterrupt):
        search_rates(ToySearch(killed_at=killed_at), RATES, tmp_path, "key")
    folder, place = tmp_path / "key", RATES.index(killed_at)
    assert (folder / f"{place}.pt").is_file()
    assert len(list(folder.glob("*.json"))) == place
    assert len(list(folder.glob("*.safetensors"))) == (1 if place else 0), "one state on disk"
    search = ToySearch()
    resumed = search_rates(search, RATES, tmp_path, "key")
    assert search.began == list(RATES[place:])
    assert search.made[0].losses == 20 - 7, "from the middle of the training on"
    assert same(weights(resumed), weights(straight))
    assert [one.candidate for one in resumed.trials] == [one.candidate for one in straight.trials]
    assert resumed.notes == straight.notes
    cases = FitCases(23, 5, "train")
    assert (
        resumed.record("toy", cases, ()).to_json()["history"] == straight.record("toy", cases, ()).to_json()["history"]
    )


def test_a_search_that_was_over_is_read_and_not_trained(tmp_path: Path) -> None:
    straight = search_rates(ToySearch(undefined=True), RATES, tmp_path, "key")
    search = ToySearch(undefined=True)
    again = search_rates(search, RATES, tmp_path, "key")
    assert search.began == []
    assert same(weights(again), weights(straight))
    assert again.winner.options == {"lr": 1e-4}, "where nothing is defined the first is taken"
    assert math.isnan(again.winner.val["score"])


def test_another_search_leaves_nothing_behind(tmp_path: Path) -> None:
    search_rates(ToySearch(), RATES[:1], tmp_path, "key")
    (tmp_path / "older.pt").write_bytes(b"of a version before")
    search = ToySearch()
    search_rates(search, RATES[:1], tmp_path, "other")
    assert search.began == [1e-4]
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("name", ["0.json", "0.safetensors"])
def test_what_is_damaged_or_lost_is_trained_again(tmp_path: Path, name: str) -> None:
    straight = search_rates(ToySearch(), RATES[:1], tmp_path, "key")
    path = tmp_path / "key" / name
    path.write_text("{", encoding="utf-8") if name == "0.json" else path.unlink()
    search = ToySearch()
    again = search_rates(search, RATES[:1], tmp_path, "key")
    assert search.began == [1e-4]
    assert same(weights(again), weights(straight))


def test_a_search_over_one_rate_without_val_keeps_the_last_weights() -> None:
    found = search_rates(ToySearch(has_val=False), RATES[2:3])
    cases = FitCases(23, 0, "none")
    record = found.record("toy score", cases, ())
    assert record.criterion == NO_VAL
    assert record.candidates == (record.winner,)
    assert (record.winner.options, record.winner.val, record.winner.steps) == ({"lr": 5e-2}, {}, 20)
    assert found.record("toy score", cases, (), by_default="the last weights").criterion == "the last weights"
    assert (dict(record.details), found.record("toy", cases, (), {"k": 5}).details) == ({}, {"k": 5})


def test_changed_frozen_weights_are_an_error() -> None:
    class Changing(ToySearch):
        def frozen(self, model: ToyTask) -> str:
            return str(model.losses)

    with pytest.raises(RuntimeError, match="changed frozen weights"):
        search_rates(Changing(), RATES[:1])


def test_everything_that_decides_a_fit_changes_its_key() -> None:
    rows, labels = np.arange(4), np.array([0.0, 1.0, np.nan])
    options = {"protocol": "toy", "options": {"lr": [1e-3]}, "seed": 1, "precision": "float32", "data": ["a"]}
    key = fit_key(**options, arrays=(rows, labels), network="weights")
    assert key == fit_key(**options, arrays=(rows.copy(), labels.copy()), network="weights")
    changes = ({"protocol": "t"}, {"options": {"lr": [1e-2]}}, {"seed": 2}, {"precision": "bfloat16"}, {"data": ["b"]})
    others = [fit_key(**{**options, **change}, arrays=(rows, labels), network="weights") for change in changes]
    others += [
        fit_key(**options, arrays=each, network="weights") for each in ((rows[::-1], labels), (labels, rows), ())
    ]
    others += [fit_key(**options, arrays=(rows, labels), network=each) for each in ("other", None)]
    assert len({key, *others}) == len(others) + 1


def test_a_score_only_at_the_end_is_asked_for_once() -> None:
    class Counting(ToyTask):
        asked = 0

        def score(self) -> float:
            self.asked += 1
            return super().score()

    from radapt.training import train

    task, torch_state = Counting(), torch.get_rng_state()
    result = train(task, replace(config(), score_every=None), seed=3)
    assert task.asked == 1
    assert [math.isnan(entry["score"]) for entry in result.history] == [True, True, True, False]
    assert result.best_epoch == 4
    assert torch.equal(torch.get_rng_state(), torch_state)
