"""`radapt predict` on DICOM: the results it writes beside its table, and patients it must not name."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import nibabel
import numpy as np
import pandas as pd
import pytest
from pydicom import Dataset, dcmread
from typer.testing import CliRunner, Result

import radapt
from radapt.cli import app
from radapt.cohorts.cohort import Case
from radapt.deploy.deployed_model import DeployedModel, load_deployed
from radapt.deploy.dicom.predicted import DicomWriter
from radapt.deploy.export.export_model import export_model
from radapt.deploy.prediction import CasePrediction
from radapt.locations import Location
from radapt.protocols import Machine, make
from report_page import Page
from toy_dicom import ToySeries, content_items, frames_of_segmentation
from toy_masks import balls_cohort

LPS = np.diag([-1.0, -1.0, 1.0])


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


@pytest.fixture(scope="module")
def classifier(with_val: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("classifier") / "model"
    export_model(with_val, out, cache=with_val.parent / "cache")
    return out


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net that has learned next to nothing, which is enough to draw."""
    folder = tmp_path_factory.mktemp("segmenter")
    cohort = balls_cohort(folder / "balls", labels={1: "tumour", 2: "wibble"})
    protocol = make("unet", steps=2, scores=1, features=4, batch=2, longest=32)
    radapt.train(cohort, protocol, size=32, machine=Machine(folder=folder), cache=folder / "cache", resamples=0)
    return folder / "model"


def dicom_study(folder: Path, description: str, slices: int = 5, tilt: float = 0.0) -> Path:
    pixels = np.random.default_rng(3).integers(60, 180, (slices, 16, 20)).astype(np.uint8)
    tags = {"SeriesDescription": description, "Modality": "MR"}
    return ToySeries(pixels, step=np.array([0, tilt, 2.5]), spacing=(1.0, 1.0), tags=tags).write(folder)


def measured(report: Dataset, meaning: str) -> list[float]:
    return [float(item.MeasuredValueSequence[0].NumericValue) for item in content_items(report, meaning)]


def private_words(out: Path) -> list[str]:
    """Files other than DICOM objects that hold something of the patient, and file names that do."""
    secret = ("SECRET-17", "Müller", "19700101", "1.2.826.0.1.3680043.8.498")
    named = [str(path) for path in out.rglob("*") for word in secret if word in path.name]
    texts = [path for path in out.rglob("*") if path.suffix in (".csv", ".json", ".html")]
    return named + [f"{path}: {word}" for path in texts for word in secret if word in path.read_text(encoding="utf-8")]


def test_a_classifier_writes_a_report_beside_its_table(classifier: Path, tmp_path: Path) -> None:
    done = predict(classifier, dicom_study(tmp_path / "study", "a"), "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    written = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out" / "dicom").iterdir()]
    row = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False, dtype=str).iloc[0]
    assert written == [f"dicom/{row['case']}-sr.dcm"]
    report = dcmread(tmp_path / "out" / written[0])
    assert (report.PatientID, report.StudyInstanceUID) == ("SECRET-17", "1.2.826.0.1.3680043.8.498.7")
    said = [item.TextValue for item in content_items(report, "Comment")]
    assert said[0].startswith("Research use only")
    assert said[2:4] == ["Sequences read: a.", "Sequences missing: b."]
    assert "Probabilities are calibrated." not in said, "9 patients of val are too few for that"
    assert json.loads((classifier / "deployment.json").read_text())["name"] in report.SeriesDescription
    for name in ("healthy", "ill"):
        shown = measured(report, f"Probability of {name}")
        assert shown == [pytest.approx(float(row[f"p_{name}"]), abs=1e-6)]
    assert len(content_items(report, "Predicted class")) == (row["abstained"] != "true")
    assert private_words(tmp_path / "out") == []


def test_the_page_names_the_series_that_were_taken(classifier: Path, tmp_path: Path) -> None:
    done = predict(classifier, dicom_study(tmp_path / "study", "AX 2"), "--map", "ax-2=a", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "Read: a (the series ax-2);" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("abstained", [False, True])
def test_a_decision_is_reported_unless_the_model_abstains(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstained: bool
) -> None:
    monkeypatch.setattr(DeployedModel, "is_calibrated", True)
    case = Case("c", "p", "test", {"a": Location(dicom_study(tmp_path / "study", "a"))})
    found = CasePrediction(
        "c", {"healthy": 0.25, "ill": 0.75}, "ill", ("a", "b"), set=("ill",), abstained=abstained, reason="odd"
    )
    assert DicomWriter(load_deployed(classifier), tmp_path / "out").write("c", case, found).notes == ()
    report = dcmread(tmp_path / "out" / "c-sr.dcm")
    decided = [item.ConceptCodeSequence[0].CodeMeaning for item in content_items(report, "Predicted class")]
    assert decided == ([] if abstained else ["ill"])
    assert measured(report, "Probability of ill") == [0.75]
    for calibrated in ({"healthy": 0.4, "ill": 0.6}, None):
        DicomWriter(load_deployed(classifier), tmp_path / "x").write("c", case, replace(found, calibrated=calibrated))
        again = dcmread(tmp_path / "x" / "c-sr.dcm")
        assert measured(again, "Probability of ill") == [0.6 if calibrated else 0.75]
        words = [item.TextValue for item in content_items(again, "Comment")]
        assert ("Probabilities are calibrated." in words) == bool(calibrated)
    said = [item.TextValue for item in content_items(report, "Comment")]
    assert ("The model abstains: odd." in said) == abstained
    assert said[2:4] == [
        "Sequences read: a, b.",
        *(["The model abstains: odd."] if abstained else ["Not excluded: ill."]),
    ]


@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_a_segmenter_writes_what_its_nifti_holds(segmenter: Path, tmp_path: Path, tilt: float) -> None:
    study = dicom_study(tmp_path / "study", "t1", tilt=tilt)
    done = predict(segmenter, study, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    nifti = nibabel.load(next((tmp_path / "out" / "masks").iterdir()))
    stored, inverse = np.asarray(nifti.dataobj), np.linalg.inv(nifti.affine)
    frames = frames_of_segmentation(next((tmp_path / "out" / "dicom").glob("*-seg.dcm")))
    assert (stored > 0).any()
    assert sum(frame.inside.sum() for frame in frames) == (stored > 0).sum()
    for frame in frames:
        index = nibabel.affines.apply_affine(inverse, frame.points() @ LPS)
        np.testing.assert_allclose(index, np.rint(index), atol=1e-3)
        assert (stored[tuple(np.rint(index).astype(int).T)] == frame.segment).all()
    assert len(list((tmp_path / "out" / "dicom").glob("*-sr.dcm"))) == 1
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    linked = [unquote(found["href"]) for tag, found in page.elements if tag == "a" and found["href"] != "#main"]
    written = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")]
    assert sorted([*linked, "done.json", "report.html"]) == sorted(written)
    row = pd.read_csv(tmp_path / "out" / "predictions.csv").iloc[0]
    assert "no SNOMED CT code is known for wibble" in row["reason"]
    volume = (stored == 1).sum() * 2.5 / 1000
    assert row["volume_ml_tumour"] == pytest.approx(volume)
    report = dcmread(next((tmp_path / "out" / "dicom").glob("*-sr.dcm")))
    assert measured(report, "Volume")[0] == pytest.approx(volume, rel=1e-5)
    assert private_words(tmp_path / "out") == []


def test_dicom_can_be_left_out_and_needs_its_extra(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = dicom_study(tmp_path / "study", "a")
    assert predict(classifier, study, "--out", tmp_path / "out", "--no-dicom").exit_code == 0
    assert not (tmp_path / "out" / "dicom").exists()
    monkeypatch.setattr("radapt.deploy.dicom.predicted.find_spec", lambda name: None)
    done = predict(classifier, study, "--out", tmp_path / "bare")
    assert done.exit_code == 0, done.output
    assert "pip install 'radapt[dicom-out]'" in done.output
    assert not (tmp_path / "bare" / "dicom").exists()


def test_a_study_that_cannot_carry_results_is_predicted_all_the_same(classifier: Path, tmp_path: Path) -> None:
    study = dicom_study(tmp_path / "study", "a")
    for path in study.iterdir():
        data = dcmread(path)
        del data.FrameOfReferenceUID
        data.save_as(path)
    done = predict(classifier, study, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    row = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False).iloc[0]
    assert row["p_ill"] != ""
    assert "no DICOM result" in row["reason"]
    assert "FrameOfReferenceUID" in row["reason"]
