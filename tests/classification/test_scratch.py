"""Networks from scratch learn, in 2D and in 3D, and go through the same machinery as adapted backbones."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import radapt
from radapt.classification import scratch
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.features import Pooling
from radapt.images import Recipe
from radapt.networks.classifiers import WIDTHS
from radapt.progress import Advance
from radapt.protocols import Machine, Result, make, train
from radapt.training import lr_search
from toy_images import discs, image_cohort, stripes

QUICK: dict[str, Any] = {"epochs": 2, "batch": 6, "lr": 1e-3}
SPLITS = ("train", "train", "train", "val", "test", "external")


def disc_cohort(folder: Path, n: int = 24, size: int = 16) -> Cohort:
    rng = np.random.default_rng(0)
    labels = [number % 2 for number in range(n)]
    images = []
    for number, label in enumerate(labels):
        images.append({"a": discs(rng, label, slices=1 + number % 6, size=size)})
        if number % 3:
            images[-1]["b"] = discs(rng, label, slices=2, size=size)
    splits = [SPLITS[number // 2 % 6] for number in range(n)]
    return image_cohort(folder, images, labels, splits, modalities=("a", "b"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return disc_cohort(tmp_path_factory.mktemp("discs"))


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def call(cohort: Cohort, size: int = 16, machine: Machine | None = None, **options: Any) -> Result:
        protocol = make("scratch", **(QUICK | options))
        return train(cohort, protocol, size=size, cache=tmp_path / "cache", resamples=0, machine=machine, choose="val")

    return call


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with batch normalisation in place of the ones with millions of weights."""

    def make_thin(name: str, dims: int, channels: int, outputs: int, *, stem: str, seed: int) -> nn.Module:
        conv, norm, pool = [
            (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d),
            (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d),
        ][dims - 2]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layers = [conv(channels, 8, 3, padding=1), norm(8), nn.ReLU(), pool(1), nn.Flatten()]
            return nn.Sequential(*layers, nn.Linear(8, WIDTHS[name]))

    monkeypatch.setattr(scratch, "scratch_classifier", make_thin)


def answers(result: Result) -> np.ndarray:
    return result.predictions.filter(regex="^p_").to_numpy()


CHEAP: list[dict[str, Any]] = [{"dims": 2, "stem": "standard"}, {"dims": 3, "depth": 4, "stem": "standard"}]


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("options", CHEAP, ids=["2d", "3d"])
def test_it_answers_replays_and_is_loaded_again(
    options: dict[str, Any], run: Any, cohort: Cohort, tmp_path: Path
) -> None:
    folder = tmp_path / "cell"
    first = run(cohort, machine=Machine(folder=folder), **options)
    pd.testing.assert_frame_equal(first.predictions, run(cohort, **options).predictions, check_exact=True)
    np.testing.assert_allclose(answers(first).sum(1), 1)
    assert first.cost.trained == first.cost.parameters > 0
    loaded = radapt.load_model(folder / "model", cache=tmp_path / "cache")
    rows = np.flatnonzero(cohort.splits == "test")
    again = loaded.predict(cohort, rows=rows[::-1]).filter(regex="^p_").to_numpy()[::-1]
    np.testing.assert_array_equal(again, answers(first)[first.predictions["split"] == "test"])


@pytest.mark.parametrize("network", list(WIDTHS))
@pytest.mark.parametrize("options", CHEAP, ids=["2d", "3d"])
@pytest.mark.slow
def test_every_network(network: str, options: dict[str, Any], run: Any, tmp_path: Path) -> None:
    cohort = disc_cohort(tmp_path / "i", 12, size=32)
    depth = {"depth": 32} if options["dims"] == 3 else {}
    result = run(cohort, size=32, network=network, epochs=1, **(options | depth))
    assert np.isfinite(answers(result)).all()


@pytest.mark.parametrize("optimiser", ["adamw", pytest.param("sgd", marks=pytest.mark.slow)])
def test_it_learns_what_no_mean_pixel_tells(optimiser: str, run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [number % 2 for number in range(96)]
    splits = [("train", "train", "train", "val", "test", "test")[number // 2 % 6] for number in range(96)]
    images = [{"a": stripes(rng, label, noise=20, size=16)} for label in labels]
    cohort = image_cohort(tmp_path / "i", images, labels, splits)
    rate = 1e-3 if optimiser == "adamw" else 0.03
    result = run(cohort, optimiser=optimiser, lr=rate, epochs=5, batch=8, augment="none", stem="standard")
    assert result.scores.query("metric == 'auroc'")["value"].min() > 0.9


@pytest.mark.slow
def test_a_volume_is_learned_from(run: Any, tmp_path: Path) -> None:
    """Ill is a bright disc in one plane of six, of one modality."""
    rng = np.random.default_rng(0)
    labels = [number % 2 for number in range(72)]
    splits = [("train", "train", "train", "val", "test", "test")[number // 2 % 6] for number in range(72)]
    images = []
    for label in labels:
        volume = discs(rng, 0, slices=6)
        volume[rng.integers(6)] = discs(rng, 3 * label, slices=1)
        images.append({"a": volume, "b": discs(rng, 0, slices=3)})
    cohort = image_cohort(tmp_path / "i", images, labels, splits)
    result = run(cohort, dims=3, depth=6, epochs=8, augment="none")
    assert result.scores.query("metric == 'auroc'")["value"].min() > 0.9


class Killed(BaseException):
    """Stands for a signal."""


@pytest.mark.usefixtures("thin")
def test_a_killed_training_ends_with_the_same_predictions(
    run: Any, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of an epoch, with the running statistics of batch normalisation."""
    monkeypatch.setattr(lr_search, "CHECKPOINT_S", 0.0)
    done = [0]

    @contextmanager
    def killing(total: int, label: str, unit: str = "cases") -> Iterator[Advance]:
        def advance(count: int = 1) -> None:
            done[0] += unit == "steps"
            if done[0] == 5:
                raise Killed

        yield advance

    whole, folder = run(cohort, stem="standard", batch=4), tmp_path / "cell"
    with pytest.raises(Killed):
        run(cohort, stem="standard", batch=4, machine=Machine(folder=folder, progress=killing))
    assert any((folder / "checkpoints").rglob("*.pt"))
    rest = run(cohort, stem="standard", batch=4, machine=Machine(folder=folder))
    pd.testing.assert_frame_equal(rest.predictions, whole.predictions, check_exact=True)


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("modalities", ["concat", "mean"])
def test_slices_and_modalities_are_pooled_as_a_backbone_s(modalities: Any, cohort: Cohort, tmp_path: Path) -> None:
    protocol = make("scratch", **QUICK, slices="attention", stem="standard")
    result = train(
        cohort, protocol, size=16, cache=tmp_path, resamples=0, pooling=Pooling(modalities=modalities), choose="val"
    )
    assert np.isfinite(answers(result)).all()
    assert any("Missing in some training cases: b" in note for note in result.fit.notes)


@pytest.mark.usefixtures("thin")
def test_bfloat16_and_balanced_classes(run: Any, cohort: Cohort) -> None:
    options = {"class_weight": "balanced", "label_smoothing": 0.1, "stem": "standard"}
    half = run(cohort, machine=Machine(precision="bfloat16"), **options)
    assert np.isfinite(answers(half)).all()
    assert not np.array_equal(answers(half), answers(run(cohort, **options)))


def test_a_backbone_is_refused(cohort: Cohort) -> None:
    from radapt.backbones import load_backbone

    with pytest.raises(UsageError, match="takes no backbone"):
        train(cohort, "scratch", load_backbone("timm:test_vit", "random"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network": "resnet34"}, "'network' cannot be 'resnet34'"),
        ({"dims": 4}, "'dims' cannot be 4"),
        ({"batch": 1}, "'batch' cannot be 1"),
        ({"depth": 8}, "depth counts the planes"),
        ({"dims": 3, "slices": "max"}, "slices pools single slices"),
        ({"dims": 3, "slices_per_case": 4}, "slices_per_case counts single slices"),
        ({"slices": "mean", "k": 2}, "k does nothing with slices: mean"),
        ({"rank": 4}, "no option 'rank'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make("scratch", **options)


@pytest.mark.parametrize(
    ("options", "said"), [({"axis": "triplanar"}, "one axis"), ({"neighbours": 1}, "no neighbours")]
)
def test_a_volume_is_made_of_plain_planes(options: dict[str, Any], said: str, cohort: Cohort, tmp_path: Path) -> None:
    recipe = Recipe.for_kind("other", size=16, **options)
    with pytest.raises(UsageError, match=said):
        train(cohort, make("scratch", dims=3), recipe=recipe, cache=tmp_path)


def test_images_too_small_for_the_network_are_refused(run: Any, cohort: Cohort) -> None:
    with pytest.raises(UsageError, match="sides of at least 32"):
        run(cohort, network="densenet121", stem="standard")


@pytest.mark.usefixtures("thin")
def test_an_image_with_nan_is_named_by_its_case(run: Any, tmp_path: Path) -> None:
    cohort = disc_cohort(tmp_path / "i", 12)
    np.save(cohort.cases[8].images["a"].path, np.full((2, 16, 16), np.nan, np.float32))
    for dims in (2, 3):
        with pytest.raises(DataError, match=r"Case c8, a: .*NaN"):
            run(cohort, dims=dims, stem="standard", epochs=1)
