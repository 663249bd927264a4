"""What is wrong with a model folder is said in a sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import radapt
from radapt.backbones import load_backbone
from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.protocols import Machine
from toy_images import discs, image_cohort

SPLITS = ("train", "train", "train", "val", "test")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    rng, number = np.random.default_rng(0), range(20)
    images = [{"a": discs(rng, each % 2)} for each in number]
    splits = [SPLITS[each // 2 % 5] for each in number]
    return image_cohort(tmp_path_factory.mktemp("i"), images, [each % 2 for each in number], splits)


@pytest.fixture(scope="module")
def trained(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`knn/model` and `bitfit/model`, with the cache they were made with."""
    folder, vit = tmp_path_factory.mktemp("run"), load_backbone("timm:test_vit", "random")
    features = radapt.extract(cohort, vit, size=16, cache=folder / "cache")
    radapt.evaluate(features, "knn", folder=folder / "knn", resamples=0)
    radapt.train(
        cohort, "bitfit", vit, size=16, cache=folder / "cache", resamples=0, epochs=1, lr=1e-3,
        machine=Machine(folder=folder / "bitfit"),
    )  # fmt: skip
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def changed(**facts: Any) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        path = model / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | facts))

    return change


def flip(model: Path) -> None:
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def lacking(name: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        stored = json.loads((model / "model.json").read_text())
        del stored[name]
        (model / "model.json").write_text(json.dumps(stored))

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip, "model.safetensors does not match its digest in model.json"),
        (lambda model: (model / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda model: (model / "model.json").unlink(), "holds no model: it has no model.json"),
        (lambda model: (model / "model.json").write_text("{"), "model.json cannot be read"),
        (lambda model: (model / "model.json").write_text("[]"), "model.json cannot be read"),
        (changed(format=1, radapt="0.4.0"), "format 1 of radapt 0.4.0; radapt .* reads format 2"),
        (changed(format=99), "format 99"),
        (changed(recipe_digest="0"), "an earlier state of radapt .* prepared; .* Train again"),
        (changed(protocol="foo"), "of protocol 'foo', which is not here"),
        (changed(files=[]), "was not written by radapt"),
        (changed(recipe={}), "was not written by radapt"),
        (lacking("backbone"), r"was not written by radapt .*KeyError: 'backbone'"),
    ],
)
def test_a_damaged_folder_is_refused(damage: Callable[[Path], Any], said: str, folder: Path) -> None:
    model = folder / "bitfit" / "model"
    radapt.load_model(model)
    damage(model)
    with pytest.raises(UsageError, match=said):
        radapt.load_model(model)


def test_what_is_no_model_folder_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a folder\. A model is the folder that"):
        radapt.load_model(folder / "nothing")
    with pytest.raises(UsageError, match=r"it has no model.json. Give .*bitfit/model"):
        radapt.load_model(folder / "bitfit")


@pytest.mark.parametrize("name", ["knn", "bitfit"])
def test_another_backbone_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(UsageError, match="was trained with other weights"):
        radapt.load_model(folder / name / "model", load_backbone("timm:test_vit", "random:1"))


def test_neighbours_want_the_features_they_were_looked_up_in(folder: Path, cohort: Cohort) -> None:
    path = folder / "knn" / "model" / "model.json"
    stored = json.loads(path.read_text())
    facts = stored["facts"]
    assert not [name for name in stored["files"] if name != "model.safetensors"]
    other = facts["stored"] | {"digest": "0" * 32}
    path.write_text(json.dumps(stored | {"facts": facts | {"stored": other}}))
    with pytest.raises(UsageError, match="are not those that the model"):
        radapt.load_model(path.parent)
    gone = facts["stored"] | {"folder": str(folder / "gone")}
    path.write_text(json.dumps(stored | {"facts": facts | {"stored": gone}}))
    with pytest.raises(UsageError, match="no longer among the features"):
        radapt.load_model(path.parent)


def test_a_cohort_of_other_modalities_is_refused(folder: Path, cohort: Cohort) -> None:
    from dataclasses import replace

    cases = tuple(replace(case, images={"z": case.images["a"]}) for case in cohort)
    other = replace(cohort, cases=cases, modalities=("z",))
    with pytest.raises(UsageError, match="has z; the model reads a"):
        radapt.load_model(folder / "knn" / "model").predict(other)


def test_what_a_model_cannot_do_is_said(folder: Path, cohort: Cohort) -> None:
    model = radapt.load_model(folder / "bitfit" / "model", cache=folder / "cache")
    with pytest.raises(UsageError, match="draws no label maps"):
        model.segment(cohort, 0)
    with pytest.raises(UsageError, match="leave out modalities"):
        model.predict(cohort, modalities=["a"])
    with pytest.raises(UsageError, match="rows should be from 0 to 19"):
        model.predict(cohort, rows=[20])
