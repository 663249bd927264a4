"""`radapt predict`: inputs of every kind, the files it writes, and what is wrong with an input, in words."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from radapt.cli import app
from radapt.deploy.export.export_model import export_model
from radapt.deploy.patients import notes_of
from radapt.deploy.prediction import CasePrediction
from radapt.errors import UsageError


@pytest.fixture(scope="module")
def model(with_val: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "model"
    export_model(with_val, out, cache=with_val.parent / "cache")
    return out


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def rows(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "predictions.csv", keep_default_na=False).set_index("case")


@pytest.fixture
def some(with_val: Path, tmp_path: Path) -> Path:
    """A cohort file with four of the study's patients."""
    discs = with_val.parent / "discs"
    shutil.copytree(discs / "images", tmp_path / "images")
    pd.read_csv(discs / "cases.csv").head(4).to_csv(tmp_path / "cases.csv", index=False)
    shutil.copy(discs / "cohort.yaml", tmp_path / "cohort.yaml")
    return tmp_path / "cohort.yaml"


def test_a_cohort_gives_the_table_of_the_contract(model: Path, some: Path, tmp_path: Path, with_val: Path) -> None:
    done = predict(model, some, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = rows(tmp_path / "out")
    assert list(found.reset_index()) == [
        "case", "prediction", "p_healthy", "p_ill", "calibrated_healthy", "calibrated_ill", "set", "abstained",
        "reason", "sequences_used", "seconds", "doubt",
    ]  # fmt: skip
    decided = [row[f"calibrated_{row['prediction']}"] for _, row in found.iterrows()]
    np.testing.assert_allclose(found["doubt"].astype(float), 1 - np.asarray(decided, float), atol=1e-12)
    assert list(found["sequences_used"]) == ["a", "a;b", "a;b", "a"]
    assert "Of 4 cases with a label" in done.output
    assert json.loads((tmp_path / "out" / "done.json").read_text())["cases"] == 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["done.json", "predictions.csv", "report.html"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "Not calibrated: " in done.output
    assert "20 are needed. The columns calibrated_ and doubt hold the probabilities as they are." in done.output
    assert "<th>calibrated</th>" not in page
    assert "calibrated probability" not in page
    assert '<ul class="nearest"><li><span><code>c0</code>' in page
    assert "http" not in page.replace("http-equiv", "")


def test_what_is_no_model_is_answered_with_what_is(some: Path, tmp_path: Path) -> None:
    for other in (some.parent, tmp_path / "gone"):
        said = str(predict(other, some, "--out", tmp_path / "out").exception)
        assert "`radapt export RUN --out MODEL` or `radapt adapt` wrote" in said


def test_abstentions_and_empty_masks_are_counted() -> None:
    sure, unsure = (CasePrediction(name, {}, "ill", abstained=name == "b") for name in "ab")
    resolved = SimpleNamespace(notes=())

    def notes(*cases: CasePrediction, masks: bool) -> tuple[str, ...]:
        model = SimpleNamespace(
            assessor=object(), is_calibrated=True, draws_masks=masks, members=(1,), outputs=("ill",)
        )
        return notes_of(model, cases, resolved)  # type: ignore[arg-type]

    assert notes(sure, unsure, masks=False) == ("The model abstains in 1 of 2 cases; see reason.",)
    assert notes(sure, masks=False) == ()
    empty, failed = CasePrediction("c", {}, ""), CasePrediction("d", {}, "", failed=True)
    assert notes(sure, empty, failed, masks=True) == ("Empty masks, without any structure: 1 of 2 (c).",)
    assert notes(sure, unsure, masks=True) == ()


def test_a_training_cohort_gives_pictures_of_the_nearest_cases_and_another_one_is_refused(
    model: Path, some: Path, tmp_path: Path, with_val: Path
) -> None:
    cohort = with_val.parent / "discs" / "cohort.yaml"
    done = predict(model, some, "--out", tmp_path / "out", "--training-cohort", cohort)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count('alt="Training case ') == 4 * 5
    table = pd.read_csv(some.with_name("cases.csv"))
    table.assign(case=[f"other{row}" for row in range(len(table))]).to_csv(some.with_name("cases.csv"), index=False)
    refused = predict(model, some, "--out", tmp_path / "new", "--training-cohort", some)
    assert isinstance(refused.exception, UsageError)
    assert "has no training case of this model" in str(refused.exception)
    assert not (tmp_path / "new").exists()


def test_the_digits_of_the_table_are_all_there(model: Path, with_val: Path, tmp_path: Path) -> None:
    from radapt.deploy.export.winner import choose_cell

    assert predict(model, with_val.parent / "discs" / "cohort.yaml", "--out", tmp_path / "out").exit_code == 0
    stored = pd.read_parquet(choose_cell(with_val)[0].folder / "predictions.parquet").set_index("case")
    stored = stored[stored["split"] != "val"]
    found = rows(tmp_path / "out").loc[stored.index]
    for name in ("p_healthy", "p_ill"):
        np.testing.assert_array_equal(found[name].astype(float), stored[name])


def test_a_damaged_image_fails_its_case_alone(model: Path, some: Path, tmp_path: Path) -> None:
    broken = some.parent / "images" / "1-b.npy"
    broken.write_bytes(broken.read_bytes()[:200])
    done = predict(model, some, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "Failed: c1: " in done.output
    found = rows(tmp_path / "out")
    assert list(found["prediction"] == "") == [False, True, False, False]
    assert found.loc["c1", "reason"].startswith("b: ")
    assert "1-b.npy" in found.loc["c1", "reason"]
    assert "the table" not in found.loc["c1", "reason"]  # which a folder of images does not have


def test_files_are_grouped_by_the_names_of_sequences(model: Path, some: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for patient, sequence in (("1", "a"), ("1", "b"), ("2", "b")):
        shutil.copy(some.parent / "images" / f"{patient}-{sequence}.npy", folder / f"pat{patient}_{sequence}.npy")
    assert predict(model, folder, "--out", tmp_path / "out").exit_code == 0
    assert predict(model, some, "--out", tmp_path / "same").exit_code == 0
    found, same = rows(tmp_path / "out"), rows(tmp_path / "same")
    assert dict(found["sequences_used"]) == {"pat1": "a;b", "pat2": "b"}
    assert found.loc["pat1", "p_ill"] == same.loc["c1", "p_ill"]


def test_an_image_without_a_name_needs_a_mapping(model: Path, some: Path, tmp_path: Path) -> None:
    image = tmp_path / "scan.npy"
    shutil.copy(some.parent / "images" / "0-a.npy", image)
    done = predict(model, image, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "No usable sequence: the model reads a, b; the study has 'scan'" in done.output
    assert "--map scan=a" in done.output
    assert predict(model, image, "--out", tmp_path / "mapped", "--map", "scan=a").exit_code == 0
    assert list(rows(tmp_path / "mapped")["sequences_used"]) == ["a"]
    done = predict(model, image, "--out", tmp_path / "no", "--map", "scan=c")
    assert (done.exit_code, str(done.exception)) == (1, "--map scan=c: Known: a, b.")


def test_an_empty_folder_and_a_text_file_fail(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    done = predict(model, tmp_path / "empty", tmp_path / "notes.txt", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "is empty" in done.output
    assert "is not an image that radapt reads" in done.output


def test_a_label_that_the_model_does_not_know_is_counted(model: Path, some: Path, tmp_path: Path) -> None:
    table = pd.read_csv(some.parent / "cases.csv")
    table["label"] = ["healthy", "odd", "odd", "healthy"]
    table.to_csv(some.parent / "cases.csv", index=False)
    some.write_text(some.read_text().replace("- ill", "- odd"))
    done = predict(model, some, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "Of 2 cases with a label" in done.output
    assert "2 cases with a label that the model does not know ('odd'); it knows healthy, ill." in done.output


def test_finished_and_foreign_folders_are_left_alone(model: Path, some: Path, tmp_path: Path) -> None:
    assert predict(model, some, "--out", tmp_path / "out").exit_code == 0
    before = (tmp_path / "out" / "predictions.csv").read_bytes()
    assert "holds finished predictions" in str(predict(model, some, "--out", tmp_path / "out").exception)
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == before
    assert "is not empty" in str(predict(model, some, "--out", some.parent / "images").exception)


def test_an_interrupted_batch_goes_on(model: Path, some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.deploy.batch.GROUP", 2)
    assert predict(model, some, "--out", tmp_path / "whole").exit_code == 0
    calls = []

    def fails(path: Path, text: str) -> None:
        calls.append(path)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("radapt.deploy.batch.write_text", fails)
        assert isinstance(predict(model, some, "--out", tmp_path / "out").exception, OSError)
    assert not (tmp_path / "out" / "predictions.csv").exists()
    assert not list((tmp_path / "out").rglob("*.part"))
    with monkeypatch.context() as patched:
        patched.setattr("radapt.deploy.batch.predict_patients", None)  # everything is predicted already
        assert predict(model, some, "--out", tmp_path / "out").exit_code == 0
    columns = ["prediction", "p_healthy", "p_ill", "reason", "set"]
    pd.testing.assert_frame_equal(rows(tmp_path / "out")[columns], rows(tmp_path / "whole")[columns])
    assert (tmp_path / "out" / "report-2.html").is_file()
    other = predict(model, some.parent / "images" / "0-a.npy", "--map", "0-a=a", "--out", tmp_path / "out")
    assert "holds finished predictions" in str(other.exception)


def test_nothing_is_read_from_outside_the_model(model: Path, some: Path, tmp_path: Path) -> None:
    """The model folder alone, without a cache and without network, in another process's home."""
    moved = tmp_path / "moved"
    shutil.copytree(model, moved)
    runner = CliRunner(env={"HF_HUB_OFFLINE": "1", "RADAPT_CACHE": str(tmp_path / "none"), "HOME": str(tmp_path)})
    done = runner.invoke(app, ["predict", str(moved), str(some), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "none").exists()
