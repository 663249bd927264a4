"""Rate and epochs of networks by inner folds, and the one training that follows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import radapt.classification.fold_search as fold_search
from radapt.backbones import load_backbone
from radapt.classification.mil import Mil
from radapt.classification.task import FoldTask
from radapt.protocols import FeatureProblem, Machine, train
from radapt.protocols.out_of_fold import OutOfFold
from toy_features import make_features
from toy_images import discs, image_cohort


@pytest.fixture
def problem() -> FeatureProblem:
    labels = np.array([0, 1] * 25)
    return FeatureProblem.of(make_features(labels, np.repeat(["train", "val", "test"], [30, 10, 10])))


def choose(problem: FeatureProblem, folder: Path | None = None) -> Any:
    mil = Mil(epochs=4, lr=(1e-2, 1e-3), batch=8, patience=1)
    folds = problem.inner_folds(3, np.random.default_rng(0), repeats=1)
    return fold_search.choose_by_folds(
        lambda rows, held_out: mil._search(problem, rows, held_out, 0), mil.lr, folds, problem.rater(), problem.labels,
        folder=folder,
    )  # fmt: skip


def test_a_killed_search_trains_no_fold_twice(
    problem: FeatureProblem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = choose(problem)
    calls = {"left": 4}
    real = fold_search.train

    def dies(*arguments: Any, **options: Any) -> Any:
        if not calls["left"]:
            raise KeyboardInterrupt
        calls["left"] -= 1
        return real(*arguments, **options)

    monkeypatch.setattr(fold_search, "train", dies)
    folder = fold_search.fold_folder(tmp_path, "key")
    with pytest.raises(KeyboardInterrupt):
        choose(problem, folder)
    calls["left"] = 2
    again = choose(problem, folder)
    assert calls["left"] == 0
    assert (again.rate, again.epochs) == (whole.rate, whole.epochs)
    np.testing.assert_array_equal(again.answers, whole.answers)


def test_epochs_are_those_whose_pooled_score_is_best(problem: FeatureProblem) -> None:
    found = choose(problem)
    smooth = found.scores.smooth
    assert smooth.value[found.chosen] == pytest.approx(np.nanmax(smooth.value), abs=1e-12)
    assert 1 <= found.epochs <= 4
    assert found.offers[found.chosen] == (found.rates.index(found.rate), found.epochs)


def test_the_final_training_ends_within_the_schedule_of_the_folds(problem: FeatureProblem) -> None:
    fitted = Mil(epochs=4, lr=(1e-2,), batch=8).fit(problem, np.random.default_rng(0))
    assert isinstance(fitted.before_refit, OutOfFold)
    record = fitted.record
    assert record.cases.train == record.cases.refit == 40
    assert len(record.history) == record.winner.best_epoch
    assert record.winner.best_epoch is not None
    assert record.history[-1]["lr"] > 0
    if record.winner.best_epoch < 4:  # the cosine has not come to its end
        assert record.history[-1]["lr"] > 1e-2 * 0.05


def test_answers_of_later_epochs_outlive_the_best_weights() -> None:
    task: Any = FoldTask.__new__(FoldTask)
    task.kept = torch.tensor([[[1.0]], [[2.0]], [[torch.nan]]], dtype=torch.float64)
    task.load_state({"kept": torch.tensor([[[1.0]], [[torch.nan]], [[torch.nan]]], dtype=torch.float64)})
    assert task.kept[1].item() == 2.0
    assert torch.isnan(task.kept[2]).all()


def test_images_are_trained_on_by_folds(tmp_path: Path) -> None:
    made = np.random.default_rng(0)
    labels = [number % 2 for number in range(24)]
    splits = [("train", "train", "val", "test")[number // 2 % 4] for number in range(24)]
    cohort = image_cohort(tmp_path / "images", [{"image": discs(made, label)} for label in labels], labels, splits)
    result = train(
        cohort, "bitfit", load_backbone("timm:test_vit", "random"), size=16, cache=tmp_path / "cache", resamples=0,
        machine=Machine(folder=tmp_path / "cell"), epochs=2, batch=4, lr=[1e-3],
    )  # fmt: skip
    cases = result.fit.cases
    assert (cases.val_source, cases.folds, cases.train, cases.refit) == ("folds", 3, 18, 18)
    assert len(result.fit.history) == result.fit.winner.best_epoch
    assert set(result.predictions["split"]) == {"val", "test"}
    assert (tmp_path / "cell" / "model" / "model.json").is_file()
    assert not (tmp_path / "cell" / "checkpoints").exists()
