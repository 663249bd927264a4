"""A model of masks from its run to an answer: predicted Dice, uncertainty maps, the page, and another hospital."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from radapt.cli.app import app
from radapt.deploy.deployed_model import load_deployed
from radapt.deploy.evaluation.masks import MaskEvaluation
from radapt.deploy.evaluation.run import evaluate_model
from radapt.errors import UsageError
from radapt.studies import Settings, read_study, run_study
from toy_masks import balls_cohort
from toy_study import write_study

pytestmark = pytest.mark.slow
VIT = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]
ONCE = {"epochs": 20, "steps": None, "score_every": 0, "batch": 8, "lr": 1e-2, "decoder": "conv", "augment": "none"}
PATIENTS = 24


def written(folder: Path, patients: int) -> Path:
    """A cohort file of balls, half of them for each of two folds."""
    cohort = balls_cohort(folder / "images", splits=("train",) * patients)
    rows = [
        {"case": case.case, "patient": case.patient, "mask": str(case.mask and case.mask.path)}
        | {f"image:{name}": str(location.path) for name, location in case.images.items()}
        for case in cohort
    ]
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    facts = {"name": "balls", "kind": "mri", "cases": "cases.csv", "mask_labels": dict(cohort.mask_labels)}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(facts | {"split": {"folds": 2, "seed": 0}}))
    return folder / "cohort.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    study = write_study(folder, [written(folder, PATIENTS)], backbones=VIT, protocols=[{"segment": ONCE}])
    outcome = run_study(read_study(study), folder / "run", Settings(cache=folder / "cache"))
    assert not outcome.failures, outcome.reasons()
    return folder / "run"


def called(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def model(run: Path) -> Path:
    called(
        "export",
        run,
        "--out",
        run.parent / "model",
        "--cache",
        run.parent / "cache",
        "--alpha",
        0.2,
        "--method",
        "segment",
    )
    return run.parent / "model"


def test_the_run_keeps_the_soft_dice_of_every_mask(run: Path) -> None:
    table = pd.read_parquet(next(run.glob("cells/*/predictions.parquet")))
    drawn = table["volume_predicted_ml"] > 0
    assert table.loc[drawn, "soft_dice"].between(0, 1).all()
    assert table.loc[~drawn, "soft_dice"].isna().all()


def test_the_model_card_says_how_well_the_dice_is_predicted(model: Path) -> None:
    card = (model / "README.md").read_text()
    assert "## How well it knows its own masks" in card
    assert "(out of fold)" in card
    certainty = load_deployed(model).mask_certainty
    assert certainty is not None
    assert certainty.alpha == 0.2
    assert f"big: {PATIENTS} patients, mean error of the predicted Dice {certainty.predictors[0].error:.3f}" in card


def test_predictions_have_dice_and_uncertainty_in_the_patients_grid(model: Path, run: Path, tmp_path: Path) -> None:
    called("predict", model, run.parent / "cohort.yaml", "--out", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", index_col="case")
    assert (table["dice_at_least_big"] <= table["predicted_dice_big"]).all()
    assert table["abstained"].isin([True, False]).all()
    for case in table.index:
        mask, uncertainty = (
            nibabel.load(tmp_path / "out" / kind / f"{case}.nii.gz") for kind in ("masks", "uncertainty")
        )
        assert uncertainty.shape == mask.shape
        np.testing.assert_allclose(uncertainty.affine, mask.affine)
        values = uncertainty.get_fdata()
        assert 0 <= values.min() <= values.max() <= 1
        assert values.max() > 0.3  # at a border
    page = (tmp_path / "out" / "report.html").read_text()
    assert "predicted Dice" in page
    assert f"uncertainty/{table.index[0]}.nii.gz" in page


def test_the_models_of_folds_encode_a_case_once(model: Path) -> None:
    shared = {member.model.model.shared for member in load_deployed(model).members}
    assert len(shared) == 1
    assert None not in shared


def test_another_hospital_measures_the_prediction_and_recalibrates_it(model: Path, tmp_path: Path) -> None:
    other = written(tmp_path, 16)
    done = evaluate_model(model, other, tmp_path / "out", recalibrate=10)
    found = done.before
    assert isinstance(found, MaskEvaluation)
    assert found.cases == 6
    assert {each.structure for each in found.structures} <= {"big", "small"}
    assert 0 <= found.structures[0].error <= 1
    assert any("reach the lower bound of 80 %" in line for line in done.text)
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["recalibrated"]["cases"] == 6
    again = load_deployed(tmp_path / "out" / "model").mask_certainty
    assert again is not None
    assert again.predictors[0].patients <= 10
    assert again.source == "balls"
    with pytest.raises(UsageError, match="give --recalibrate 10 or more"):
        evaluate_model(model, other, tmp_path / "few", recalibrate=6)
