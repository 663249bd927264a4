"""`radapt evaluate-model`: what it says of another hospital, recalibration, and what is wrong with its inputs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from radapt.cli import app
from radapt.deploy.deployed_model import load_deployed
from radapt.deploy.evaluation.run import evaluate_model
from radapt.deploy.export.export_model import export_model
from radapt.errors import UsageError


@pytest.fixture(scope="module")
def model(with_folds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    table = with_folds.parent / "discs" / "cases.csv"
    export_model(with_folds, out, cache=with_folds.parent / "cache", alpha=0.2)
    assert table.is_file()
    return out


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another hospital: brighter images, older patients."""
    from toy_study import write_cohort

    folder = tmp_path_factory.mktemp("other") / "discs"
    path = write_cohort(folder, patients=30, seed=7, name="elsewhere")
    for image in (folder / "images").iterdir():
        np.save(image, 255 - np.load(image))
    table = pd.read_csv(folder / "cases.csv").assign(age=[70 + row for row in range(30)])
    table.to_csv(folder / "cases.csv", index=False)
    return path


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate-model", *map(str, arguments)])


def test_another_hospital_is_described(model: Path, other: Path, tmp_path: Path) -> None:
    done = command(model, other, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    for word in (
        "elsewhere: 30 labelled cases, 30 patients.",
        "balanced_accuracy:",
        "oof of the study",
        "Calibration of all classes: slope",
        "Sets of 80 %, all:",
        "Sets of 80 %, healthy:",
        "Sets of 80 %, a + b:",
        "The model abstains in",
        "refused as unlike the training cases",
        "Unlike training: features: a",
    ):
        assert word in done.output, done.output
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert stored["recalibrated"] is None
    assert stored["as_exported"]["patients"] == 30
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "evaluation.json",
        "scores.csv",
        "summary.txt",
    ]
    scores = pd.read_csv(tmp_path / "out" / "scores.csv").set_index("metric")
    assert scores.loc["accuracy", "n_patients"] == 30


def test_without_a_cache_nothing_of_a_patient_is_kept(
    model: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADAPT_CACHE", str(tmp_path / "cache"))
    evaluate_model(model, other)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_hospital_it_learned_from_is_no_drift(model: Path, with_folds: Path) -> None:
    found = evaluate_model(model, with_folds.parent / "discs" / "cohort.yaml").before
    assert found.drift
    assert not any(each.differs for each in found.drift)
    assert next(each for each in found.coverage if each.group == "all").patients == 24


def test_recalibration_writes_a_model_and_judges_the_rest(model: Path, other: Path, tmp_path: Path) -> None:
    done = evaluate_model(model, other, tmp_path / "out", recalibrate=12)
    assert done.after is not None
    assert done.before.patients == done.after.patients == 18
    assert done.before.scores == done.after.scores
    new = load_deployed(tmp_path / "out" / "model")
    assert new.assessor is not None
    assert new.deployment.notes[-1] == "Recalibrated with 12 cases of 12 patients of elsewhere."
    assert sum(group.patients for group in new.assessor.certainty.sets[0].groups if group.sequences is None) == 12
    old = load_deployed(model)
    assert old.assessor is not None
    assert new.assessor.certainty.alpha == old.assessor.certainty.alpha
    assert new.assessor.record["novelty"] == old.assessor.record["novelty"]
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert stored["recalibrated"]["patients"] == 18


def test_the_same_seed_draws_the_same_patients(model: Path, other: Path, tmp_path: Path) -> None:
    one, two, three = (
        evaluate_model(model, other, tmp_path / str(name), recalibrate=12, seed=seed)
        for name, seed in enumerate((1, 1, 2))
    )
    assert one.text == two.text
    assert one.text != three.text


def test_labels_that_the_model_does_not_know(model: Path, other: Path, tmp_path: Path) -> None:
    shutil.copytree(other.parent, tmp_path / "discs")
    path = tmp_path / "discs" / "cohort.yaml"
    table = pd.read_csv(tmp_path / "discs" / "cases.csv")
    table.loc[:3, "label"] = "unsure"
    table.to_csv(tmp_path / "discs" / "cases.csv", index=False)
    path.write_text(path.read_text().replace("- ill", "- ill\n- unsure"))
    found = evaluate_model(model, path).before
    assert found.cases == 26
    assert "4 cases of classes that the model does not know are left out: unsure." in found.notes
    table.assign(label="sick").to_csv(tmp_path / "discs" / "cases.csv", index=False)
    path.write_text("name: strange\nkind: other\ncases: cases.csv\nclasses: [sick, sound]\n")
    done = command(model, path)
    assert done.exit_code != 0
    assert isinstance(done.exception, UsageError)
    assert "no label that the model knows" in str(done.exception)


def test_a_cohort_of_one_class_is_evaluated(model: Path, other: Path, tmp_path: Path) -> None:
    """Nothing is learned from it: one class, and no case in train, are no error."""
    shutil.copytree(other.parent, tmp_path / "discs")
    table = pd.read_csv(tmp_path / "discs" / "cases.csv")
    table[table["label"] == "ill"].assign(split="test").to_csv(tmp_path / "discs" / "cases.csv", index=False)
    done = evaluate_model(model, tmp_path / "discs" / "cohort.yaml")
    assert done.before.cases == 15
    assert "Calibration of all classes: undefined, the labels are of one class." in done.text


def test_an_image_that_cannot_be_read_is_left_out(model: Path, other: Path, tmp_path: Path) -> None:
    shutil.copytree(other.parent, tmp_path / "discs")
    (tmp_path / "discs" / "images" / "1-a.npy").write_bytes(b"nothing")
    found = evaluate_model(model, tmp_path / "discs" / "cohort.yaml").before
    assert found.cases == 29
    assert "1 case could not be predicted: c1." in found.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recalibrate": 12}, "give its folder with --out"),
        ({"recalibrate": 0, "out": "new"}, "1 or more"),
        ({"recalibrate": 30, "out": "new"}, "none is left to evaluate on"),
        ({"recalibrate": 2, "out": "new"}, "too few for a coverage of 80 %"),
        ({"out": "."}, "left alone"),
    ],
)
def test_options_that_do_not_fit(model: Path, other: Path, tmp_path: Path, options: dict, message: str) -> None:
    (tmp_path / "file").touch()
    given = {name: tmp_path / value if name == "out" else value for name, value in options.items()}
    with pytest.raises(UsageError, match=message):
        evaluate_model(model, other, **given)
    assert not (tmp_path / "new").exists()


def test_too_few_cases_to_recalibrate_with_are_refused_before_any_is_predicted(
    model: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radapt.deploy.evaluation.run.labelled_cases", lambda *_: pytest.fail("cases were predicted"))
    with pytest.raises(UsageError, match="3 cases are too few for a coverage of 80 %; give --recalibrate 4 or more"):
        evaluate_model(model, other, tmp_path / "new", recalibrate=3)


def test_a_model_without_calibration_is_refused(with_val: Path, other: Path) -> None:
    folder = next(path for path in sorted((with_val / "cells").glob("*/model")) if path.is_dir())
    with pytest.raises(UsageError, match="has no calibration"):
        evaluate_model(folder, other)
