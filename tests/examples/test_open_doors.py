"""radapt from Python with things of one's own: a network and a table, with features as arrays."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn

import radapt
from radapt.backbones.backbone import Backbone
from radapt.cohorts import Cohort, load_cohort
from radapt.errors import DataError, UsageError
from radapt.features import Features
from toy_study import write_cohort


class Net(nn.Module):
    """Two convolutions: a feature map of 6 channels, a quarter of the image's size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load_cohort(write_cohort(tmp_path_factory.mktemp("doors") / "discs"))


@pytest.fixture(scope="module")
def features(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Features:
    own = Backbone.from_module(Net(), size=32, name="net")
    return radapt.extract(cohort, own, size=32, cache=tmp_path_factory.mktemp("cache"))


def test_a_network_of_ones_own_is_a_backbone(cohort: Cohort, features: Features) -> None:
    backbone = Backbone.from_module(Net(), size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert (backbone.card.width, backbone.card.patch, backbone.depth) == (6, 4, 1)
    images = torch.rand(2, 3, 32, 32)
    tokens = backbone.tokens(images)
    expected = Net()((images - 0.5) / 0.25).permute(0, 2, 3, 1)
    torch.testing.assert_close(tokens.patches, expected)
    torch.testing.assert_close(tokens.cls, expected.mean((1, 2)))
    assert backbone.tokens(torch.rand(1, 1, 80, 50)).patches.shape == (1, 8, 8, 6), "resized to its own size"
    result = radapt.evaluate(features, "logistic", resamples=100)
    assert result.scores.set_index(["split", "metric"]).loc[("test", "auroc"), "value"] > 0.5


@pytest.mark.parametrize(
    ("tokens", "cls", "patches"),
    [
        (lambda net, x: net(x).mean((2, 3)), (2, 6), (2, 1, 1, 6)),
        (lambda net, x: (net(x).amax((2, 3)), net(x).permute(0, 2, 3, 1)), (2, 6), (2, 8, 8, 6)),
    ],
)
def test_tokens_may_be_a_vector_or_a_pair(tokens: object, cls: tuple[int, ...], patches: tuple[int, ...]) -> None:
    found = Backbone.from_module(Net(), size=32, tokens=tokens).tokens(torch.rand(2, 3, 32, 32))  # type: ignore[arg-type]
    assert (tuple(found.cls.shape), tuple(found.patches.shape)) == (cls, patches)


def test_other_weights_are_another_encoder() -> None:
    one, same, other = (Backbone.from_module(Net(), size=32) for _ in range(3))
    with torch.no_grad():
        other.module.body[2].bias[3] += 1e-6  # type: ignore[index, union-attr]
    other = Backbone.from_module(other.module, size=32)
    assert one.identity == same.identity != other.identity
    assert Backbone.from_module(Net(), size=32, mean=(0, 0, 0)).identity != one.identity
    changed = Backbone.from_module(Net(), size=32, tokens=lambda net, x: net(x) * 2)
    assert changed.identity != one.identity


@pytest.mark.parametrize(
    ("module", "settings", "words"),
    [
        (Net(), {"size": 32, "tokens": lambda net, x: net(x).flatten(1, 2)}, r"expected a vector per image"),
        (Net(), {"size": 32, "tokens": lambda net, x: {"x": net(x)}}, r"gave dict for 1 images"),
        (nn.Identity(), {"size": 32}, "has no weights"),
        (Net(), {"size": 32, "std": (1, 1, 0)}, "above 0"),
        (Net(), {"size": 0}, "size 0"),
    ],
)
def test_what_cannot_be_a_backbone_is_refused(module: nn.Module, settings: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Backbone.from_module(module, **settings)


def test_moving_to_a_device_that_is_not_there() -> None:
    backbone = Backbone.from_module(Net(), size=32)
    assert backbone.to("cpu") is backbone
    with pytest.raises(UsageError, match="Device 'quantum' is not usable"):
        backbone.to("quantum")


def test_a_model_on_it_is_loaded_with_it(cohort: Cohort, features: Features, tmp_path: Path) -> None:
    result = radapt.evaluate(features, "logistic", resamples=100, folder=tmp_path)
    backbone = Backbone.from_module(Net(), size=32, name="net")
    loaded = radapt.load_model(tmp_path / "model", backbone=backbone, cache=tmp_path / "cache")
    table = loaded.predict(cohort).set_index("case")
    stored = result.predictions[result.predictions["split"] == "test"].set_index("case")
    pd.testing.assert_series_equal(table.loc[stored.index, "p_ill"], stored["p_ill"])
    with pytest.raises(UsageError, match="Give the backbone"):
        radapt.load_model(tmp_path / "model").predict(cohort)


def test_features_as_arrays_and_tables(features: Features) -> None:
    array = np.asarray(features)
    assert array.shape == (len(features), 2 * 12) == (36, 24)
    np.testing.assert_array_equal(array, features.pooled().reshape(36, -1))
    table = features.to_pandas()
    assert list(table.columns[[0, 6, 12]]) == ["a:cls-1:0", "a:patch_mean-1:0", "b:cls-1:0"]
    assert list(table.index) == [case.case for case in features.cohort]
    np.testing.assert_array_equal(table.to_numpy(), array)
    assert np.asarray(features, dtype=np.float64).dtype == np.float64


def test_result_predicts_for_other_cases(cohort: Cohort, features: Features, tmp_path: Path) -> None:
    result = radapt.evaluate(features, "logistic", resamples=100)
    others = cohort[6:12]
    own = radapt.extract(others, Backbone.from_module(Net(), size=32, name="net"), size=32, cache=tmp_path)
    table = result.predict(own)
    assert list(table.columns) == ["case", "patient", "p_healthy", "p_ill", "decision"]
    assert list(table["case"]) == [case.case for case in others]
    stored = result.predictions.query("split == 'test'").set_index("case")
    both = [case for case in table["case"] if case in stored.index]
    assert both
    np.testing.assert_allclose(table.set_index("case").loc[both, "p_ill"], stored.loc[both, "p_ill"], atol=1e-6)
    forest = radapt.evaluate(features, RandomForestClassifier(5), resamples=100)
    with pytest.raises(UsageError, match="no model that can answer for other cases"):
        forest.predict(own)


def test_result_of_training_on_images_predicts_for_a_cohort(cohort: Cohort, features: Features, tmp_path: Path) -> None:
    result = radapt.train(cohort, "first-order", resamples=100, cache=tmp_path)
    table = result.predict(cohort).set_index("case")
    stored = result.predictions.query("split == 'test'").set_index("case")
    pd.testing.assert_series_equal(table.loc[stored.index, "p_ill"], stored["p_ill"])
    assert cohort.path is not None
    assert result.predict(cohort.path)["p_ill"].tolist() == table["p_ill"].tolist()
    with pytest.raises(UsageError, match=r"reads images: give result.predict\(cohort\)"):
        result.predict(features)
    probe = radapt.evaluate(features, "knn", resamples=100)
    with pytest.raises(UsageError, match=r"reads features: give result.predict\(radapt.extract"):
        probe.predict(cohort)
    with pytest.raises(UsageError, match=r"evaluate reads features and was given a Cohort.*radapt.train\(cohort"):
        radapt.evaluate(cohort, "knn")  # type: ignore[arg-type]


def test_models_are_moved_with_the_words_of_the_command_line(cohort: Cohort, tmp_path: Path) -> None:
    wrong = "Device 'quantum' is not usable"
    with pytest.raises(UsageError, match=wrong):
        radapt.load_backbone("timm:test_vit", weights="random", device="quantum")
    vit = radapt.load_backbone("timm:test_vit", weights="random")
    features = radapt.extract(cohort, vit, size=32, cache=tmp_path)
    radapt.evaluate(features, "knn", resamples=100, folder=tmp_path)
    with pytest.raises(UsageError, match=wrong):
        radapt.load_model(tmp_path / "model", device="quantum")
    model = radapt.load_model(tmp_path / "model", cache=tmp_path)
    with pytest.raises(UsageError, match=wrong):
        model.to("quantum")
    assert cohort.path is not None
    moved, table = model.to("cpu"), model.predict(cohort.path)
    assert moved is not model
    pd.testing.assert_frame_equal(moved.predict(cohort), table)  # type: ignore[arg-type]
    given = radapt.load_model(tmp_path / "model", backbone=vit, cache=tmp_path)
    with pytest.raises(UsageError, match="encoder was given as a loaded backbone"):
        given.to("cpu")


def test_cases_are_taken_by_number_id_slice_and_mask(cohort: Cohort) -> None:
    assert cohort[0] is cohort.cases[0]
    assert cohort[-1].case == "c35"
    assert cohort["c7"].patient == "p7"
    assert [case.case for case in cohort[2:4]] == ["c2", "c3"]
    assert len(cohort[cohort.labels == 1]) == 18
    with pytest.raises(KeyError, match="no case 'c99'"):
        cohort["c99"]
    with pytest.raises(IndexError):
        cohort[36]


def test_a_cohort_from_a_table_in_memory(cohort: Cohort) -> None:
    assert cohort.path is not None
    folder = cohort.path.parent
    table = pd.read_csv(folder / "cases.csv")
    made = Cohort.from_pandas(table, name="discs", root=folder, classes=["healthy", "ill"])
    assert [case.images for case in made] == [case.images for case in cohort]
    assert made.labels.tolist() == cohort.labels.tolist()
    assert made.splits.tolist() == cohort.splits.tolist()
    drawn = Cohort.from_pandas(table.drop(columns="split").set_index("case"), root=folder, seed=3)
    again = Cohort.from_pandas(table.drop(columns="split").set_index("case"), root=folder, seed=3)
    assert [case.case for case in drawn] == [case.case for case in cohort]
    assert set(drawn.splits) == {"train", "val", "test"}
    assert drawn.splits.tolist() == again.splits.tolist()
    assert not list(folder.glob("*.splits.csv"))
    assert Cohort.from_pandas(table, root=folder, folds=3).folds


def test_a_table_with_mistakes_is_refused_with_all_of_them(cohort: Cohort) -> None:
    assert cohort.path is not None
    table = pd.read_csv(cohort.path.parent / "cases.csv")
    table.loc[3, "case"] = table.loc[2, "case"]
    with pytest.raises(DataError, match="c2"):
        Cohort.from_pandas(table, root=cohort.path.parent)
    with pytest.raises(DataError, match="There is no 'image' column"):
        Cohort.from_pandas(table[["label"]])
    with pytest.raises(UsageError, match="kind 'mr'"):
        Cohort.from_pandas(table, kind="mr")
