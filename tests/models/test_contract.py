"""Every protocol's model is saved, loaded again, and gives the stored predictions back bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest

import radapt
from radapt.cohorts.cohort import Cohort
from radapt.deploy.load import load_exported
from radapt.errors import UsageError
from radapt.protocols import PROTOCOLS, LoadedModel, Machine, Result, make
from toy_adaptation import QUICK as ADAPT
from toy_images import discs, image_cohort
from toy_masks import balls_cohort

SPLITS = ("train", "train", "train", "val", "test", "external")
VIT = ("timm:test_vit", "random")
TRAIN: dict[str, Any] = {"epochs": 1, "batch": 4, "lr": 3e-3}
LOGISTIC: dict[str, Any] = {"C": [1e-3, 1e-1], "blocks": 1}
QUICK: dict[str, dict[str, Any]] = {
    "logistic": LOGISTIC,
    "combined": {"options": LOGISTIC},
    "shuffled-labels": {"options": LOGISTIC},
    "fewshot": {"shots": [2], "repeats": 2},
    "mil": {**TRAIN, "slices": "attention"},
    "scratch": TRAIN | {"stem": "standard"},
    "partial": TRAIN | {"blocks": 1},
    "lora": TRAIN | {"rank": 2},
    "dora": TRAIN | {"rank": 2},
    "mmdino": ADAPT,
    "segment": TRAIN | {"steps": 2, "decoder": "linear", "encoder": "bitfit"},
    "transunet": {"network": "tiny", "steps": 1, "batch": 4},
    "unet": {"steps": 2, "scores": 1, "features": 4, "batch": 2, "longest": 32},
    **dict.fromkeys(("finetune", "bitfit", "norm", "ia3"), TRAIN),
}
"""Options that make a protocol cheap; one that is not named is cheap as it is."""


def disc_cohort(folder: Path, labels: np.ndarray, outputs: int) -> Cohort:
    """Volumes of one to three slices of two modalities, the second of which every third case lacks."""
    rng, images = np.random.default_rng(0), []
    for number, label in enumerate(np.nan_to_num(labels.reshape(len(labels), -1)[:, 0])):
        images.append({"a": discs(rng, int(label), slices=1 + number % 3)})
        if number % 3:
            images[-1]["b"] = discs(rng, int(label), slices=1 + number % 3)
    splits = [SPLITS[number // 2 % 6] for number in range(len(labels))]
    cohort = image_cohort(folder, images, labels, splits, outputs=outputs, modalities=("a", "b"))
    ages = [{"age": "" if number % 5 == 0 else str(20 + number * 7 % 50)} for number in range(len(labels))]
    cases = tuple(replace(case, metadata=own) for case, own in zip(cohort, ages, strict=True))
    return replace(cohort, cases=cases)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cohort]:
    """Two classes, three, and two findings of which some answers are unknown."""
    folder, number = tmp_path_factory.mktemp("cohorts"), np.arange(30)
    findings = np.stack([number % 2, number // 2 % 2], axis=1).astype(float)
    findings[::7, 1] = np.nan
    return {
        "two classes": disc_cohort(folder / "two", number % 2, 2),
        "three classes": disc_cohort(folder / "three", number % 3, 3),
        "findings": disc_cohort(folder / "findings", findings, 2),
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def fit(cache: Path) -> Callable[..., Result]:
    def call(name: str, cohort: Cohort, folder: Path, *, look: str = "foreground", **options: Any) -> Result:
        """Fit a protocol quickly; its model is in `folder/model`."""
        protocol = make(name, **(QUICK.get(name, {}) | options))
        backbone = radapt.load_backbone(*VIT) if protocol.uses_backbone else None
        if protocol.reads == "features":
            features = radapt.extract(cohort, backbone, size=16, look=look, cache=cache)  # type: ignore[arg-type]
            return radapt.evaluate(features, protocol, folder=folder, resamples=0)
        size = 32 if protocol.aim == "segmentation" else 16
        return radapt.train(
            cohort, protocol, backbone, size=size, look=look, machine=Machine(folder=folder), cache=cache, resamples=0
        )

    return call


def same_tests(model: LoadedModel, cohort: Cohort, stored: pd.DataFrame) -> None:
    """The model's predictions for the test sets of the cohort are those that are stored, bit for bit, whoever else is
    predicted."""
    found = model.predict(cohort)
    for rows in ([1], [9, 4], list(range(5, 12))):
        pd.testing.assert_frame_equal(
            model.predict(cohort, rows=rows), found.iloc[rows].reset_index(drop=True), check_exact=True
        )
    found = found.set_index("case")
    stored = stored[stored["split"] != "val"].set_index("case")
    columns = [name for name in stored if name.startswith("p_")]
    assert [name for name in found if name.startswith("p_")] == columns
    pd.testing.assert_frame_equal(found.loc[stored.index, columns], stored[columns], check_exact=True)
    assert (found.loc[stored.index, ["patient", "split"]] == stored[["patient", "split"]]).all(axis=None)


def same_for_new_patients(folder: Path, cohort: Cohort, stored: pd.DataFrame) -> None:
    """`radapt predict` gives the stored predictions for the test sets, bit for bit, without the cache of the study."""
    found = load_exported(folder).predict(cohort).table.set_index("case")
    stored = stored[stored["split"] != "val"].set_index("case")
    columns = [name for name in stored if name.startswith("p_")]
    pd.testing.assert_frame_equal(found.loc[stored.index, columns], stored[columns], check_exact=True)
    if "decision" in stored:
        assert (found.loc[stored.index, "prediction"] == stored["decision"]).all()


PROBES = ["knn", "linear", "logistic", "mil", "combined"]
IMAGE_CLASSIFIERS = ["finetune", "partial", "bitfit", "norm", "lora", "dora", "ia3", "scratch"]
SEGMENTERS = ["segment", "transunet", "unet"]
CONTROLS = ["metadata", "first-order", "shuffled-labels"]
OTHERS = ["fewshot", "mmdino", "lesion-numbers"]


def test_every_protocol_is_held_to_this_contract() -> None:
    assert sorted(PROTOCOLS) == sorted([*PROBES, *CONTROLS, *IMAGE_CLASSIFIERS, *SEGMENTERS, *OTHERS])


TASKS = ["two classes", "three classes", "findings"]


def _probes_of_tasks() -> list[Any]:
    """Every probe with every task, by default with one, in turn."""
    found = []
    for number, name in enumerate([*PROBES, *CONTROLS]):
        for at, task in enumerate(TASKS):
            more = at != number % len(TASKS)
            found.append(pytest.param(name, task, marks=pytest.mark.slow if more else ()))
    return found


@pytest.mark.parametrize(("name", "task"), _probes_of_tasks())
def test_a_probe_comes_back(
    name: str, task: str, cohorts: dict[str, Cohort], fit: Callable[..., Result], cache: Path, tmp_path: Path
) -> None:
    stored = fit(name, cohorts[task], tmp_path).predictions
    model = radapt.load_model(tmp_path / "model", cache=cache)
    same_tests(model, cohorts[task], stored)
    assert model.card.outputs == cohorts[task].outputs
    model.save(tmp_path / "whole")
    same_tests(radapt.load_model(tmp_path / "whole", cache=tmp_path / "other"), cohorts[task], stored)
    same_for_new_patients(tmp_path / "whole", cohorts[task], stored)


LIKE_OTHERS = ("norm", "dora", "ia3")
"""Keep what `bitfit` and `lora` keep: the numbers of the encoder that are trained."""


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each in LIKE_OTHERS else ()) for each in IMAGE_CLASSIFIERS]
)
def test_a_classifier_of_images_comes_back(
    name: str, cohorts: dict[str, Cohort], fit: Callable[..., Result], cache: Path, tmp_path: Path
) -> None:
    task = "findings" if name == "partial" else "three classes" if name == "scratch" else "two classes"
    stored = fit(name, cohorts[task], tmp_path).predictions
    same_tests(radapt.load_model(tmp_path / "model", cache=cache), cohorts[task], stored)
    same_for_new_patients(tmp_path / "model", cohorts[task], stored)


def test_the_model_of_every_draw_comes_back(
    cohorts: dict[str, Cohort], fit: Callable[..., Result], cache: Path, tmp_path: Path
) -> None:
    stored = fit("fewshot", cohorts["two classes"], tmp_path).predictions
    for repeat, rows in stored.groupby("repeat"):
        model = radapt.load_model(tmp_path / f"2-shots-repeat-{repeat}" / "model", cache=cache)
        same_tests(model, cohorts["two classes"], rows)
        model.save(tmp_path / f"whole-{repeat}")
        same_for_new_patients(tmp_path / f"whole-{repeat}", cohorts["two classes"], rows)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenter_comes_back(name: str, fit: Callable[..., Result], cache: Path, tmp_path: Path) -> None:
    splits = ("train", "train", "train", "val", "test", "test")
    cohort = balls_cohort(tmp_path / "i", splits=splits, modalities=("t1", "t2"), missing={1: "t1", 4: "t1"})
    fit(name, cohort, tmp_path)
    model, new = radapt.load_model(tmp_path / "model", cache=cache), load_exported(tmp_path / "model").predict(cohort)
    assert (model.card.mask_labels, model.card.outputs) == ({1: "big", 2: "small"}, ())
    for row in (4, 5):
        drawn, stored = model.segment(cohort, row), nibabel.load(tmp_path / "masks" / f"c{row}.nii.gz")
        np.testing.assert_array_equal(drawn.array, np.asarray(stored.dataobj))
        np.testing.assert_array_equal(drawn.affine, stored.affine)
        np.testing.assert_array_equal(new[row].mask.array, drawn.array)
    with pytest.raises(UsageError, match="draws label maps"):
        model.predict(cohort)


@pytest.mark.parametrize(
    ("base", "options"), [("bitfit", {**TRAIN, "lr": [3e-3]}), pytest.param("mmdino", ADAPT, marks=pytest.mark.slow)]
)
def test_a_model_of_images_and_table_comes_back(
    base: str, options: dict[str, Any], cohorts: dict[str, Cohort], fit: Callable[..., Result], cache: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    cohort = cohorts["two classes"]
    stored = fit("combined", cohort, tmp_path, protocol=base, options=options).predictions
    same_tests(radapt.load_model(tmp_path / "model", cache=cache), cohort, stored)
    same_for_new_patients(tmp_path / "model", cohort, stored)
    alone = fit(base, cohort, tmp_path / "alone", **options).predictions
    p = [name for name in stored if name.startswith("p_")]
    for row, case in enumerate(stored["case"]):
        same = (stored.loc[row, p] == alone.loc[row, p]).all()
        age = next(each.metadata["age"] for each in cohort if each.case == case)
        assert same == (age == "")


@pytest.mark.parametrize("task", [pytest.param("two classes", marks=pytest.mark.slow), "findings"])
def test_an_adaptation_comes_back_for_any_sequences(
    task: str, cohorts: dict[str, Cohort], fit: Callable[..., Result], cache: Path, tmp_path: Path
) -> None:
    cohort = cohorts[task]
    stored = fit("mmdino", cohort, tmp_path).predictions
    model = radapt.load_model(tmp_path / "model", cache=cache)
    same_tests(model, cohort, stored)
    alone = model.predict(cohort, modalities=["a"]).set_index("case")
    whole = model.predict(cohort).set_index("case")
    has_b = [case.case for case in cohort if "b" in case.images]
    has_a_only = [case.case for case in cohort if "b" not in case.images]
    pd.testing.assert_frame_equal(alone.loc[has_a_only], whole.loc[has_a_only])
    assert not np.allclose(alone.loc[has_b].filter(regex="^p_"), whole.loc[has_b].filter(regex="^p_"))
    with pytest.raises(UsageError, match="does not know 'c'"):
        model.predict(cohort, modalities=["c"])
    assert radapt.load_backbone(str(tmp_path / "model")).modalities == ("a", "b")
    model.save(tmp_path / "copy")
    same_tests(radapt.load_model(tmp_path / "copy", cache=cache), cohort, stored)
    same_for_new_patients(tmp_path / "copy", cohort, stored)
