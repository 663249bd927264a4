"""Models that were trained on images, and on an adapted encoder: exported, and asked for the study's patients."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

from radapt.cohorts import Cohort
from radapt.deploy.export.export_model import export_model
from radapt.deploy.export.winner import choose_cell
from radapt.deploy.load import load_exported
from radapt.studies import Settings, read_study, run_study
from toy_adaptation import QUICK
from toy_masks import balls_cohort
from toy_study import write_cohort, write_study

from .conftest import VIT

pytestmark = pytest.mark.slow
ONCE = {"epochs": 1, "batch": 4, "lr": 3e-3}


def run(folder: Path, cohort: Path, **changes: object) -> Path:
    study = write_study(folder, [cohort], **{"backbones": VIT, **changes})
    outcome = run_study(read_study(study), folder / "run", Settings(cache=folder / "cache"))
    assert not outcome.failures, outcome.reasons()
    return folder / "run"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    protocols = [{"lora": {**ONCE, "rank": 2}}, {"scratch": ONCE}, {"mmdino": {**QUICK, "trained": "full"}}]
    return run(folder, write_cohort(folder / "discs", patients=24), protocols=protocols, choose="val")


def same_as_the_study(run: Path, method: str, out: Path) -> None:
    cell = choose_cell(run, method=method)[0]
    export_model(run, out, method=method, cache=run.parent / "cache")
    stored = pd.read_parquet(cell.folder / "predictions.parquet").set_index("case")
    stored = stored[stored["split"] != "val"]
    found = load_exported(out).predict(run.parent / "discs" / "cohort.yaml")
    table = found.table.set_index("case").loc[stored.index]
    columns = ["p_healthy", "p_ill"]
    pd.testing.assert_frame_equal(table[columns], stored[columns], check_exact=True)
    own = [bool(case.nearest) for case in found]
    assert all(own) or method == "scratch"


@pytest.mark.parametrize("method", ["lora", "scratch", "mmdino"])
def test_trained_networks_come_along(trained: Path, method: str, tmp_path: Path) -> None:
    same_as_the_study(trained, method, tmp_path / "model")


def test_a_probe_on_an_adapted_encoder_brings_it(trained: Path, tmp_path: Path) -> None:
    adapted = choose_cell(trained, method="mmdino")[0].models[0]
    cohort = write_cohort(tmp_path / "discs", patients=24)
    again = run(tmp_path, cohort, backbones=[{"name": "ours", "weights": str(adapted)}], protocols=["linear"])
    same_as_the_study(again, "linear", tmp_path / "model")
    assert (tmp_path / "model" / "encoder" / "backbone.safetensors").is_file()


def written(cohort: Cohort, folder: Path) -> Path:
    """The cohort as a file."""
    rows = [
        {
            "case": case.case,
            "patient": case.patient,
            "split": case.split,
            "mask": str(case.mask and case.mask.path),
        }
        | {f"image:{name}": str(location.path) for name, location in case.images.items()}
        for case in cohort
    ]
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    facts = {"name": "balls", "kind": "mri", "cases": "cases.csv", "mask_labels": dict(cohort.mask_labels)}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(facts))
    return folder / "cohort.yaml"


def test_masks_of_an_ensemble_lie_in_the_patients_grid(tmp_path: Path) -> None:
    cohort = written(balls_cohort(tmp_path / "i", splits=("train",) * 6), tmp_path)
    cohort.write_text(cohort.read_text() + "split: {folds: 2, seed: 0}\n")
    options = {**ONCE, "steps": 2, "decoder": "linear", "encoder": "frozen"}
    folder = run(tmp_path, cohort, protocols=[{"segment": options}])
    export_model(folder, tmp_path / "model", method="segment", cache=tmp_path / "cache")
    found = load_exported(tmp_path / "model").predict(cohort)
    assert len(found) == 6
    for case in found:
        image = nibabel.load(tmp_path / "i" / f"{case.case}_t1.nii.gz")
        assert case.mask is not None
        assert case.mask.array.shape == image.shape
        np.testing.assert_allclose(case.mask.affine, image.affine)
        assert set(case.volumes_ml or {}) == {"big", "small"}
        assert case.agreement is not None
