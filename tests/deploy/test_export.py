"""From a run to a model folder: which cell, what is in it, and what it predicts."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

import radapt
from radapt.deploy.deployment import Deployment, EvaluationScore, TrainingFacts, read_deployment
from radapt.deploy.export.export_model import export_model, intended_use_of, unnamed_structures
from radapt.deploy.export.licence_chain import inherited
from radapt.deploy.export.model_card import model_card
from radapt.deploy.export.winner import choose_cell
from radapt.deploy.load import ExportedModel
from radapt.errors import UsageError


@pytest.fixture(scope="module")
def exported(with_val: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    export_model(with_val, out, cache=with_val.parent / "cache")
    return out


@pytest.fixture(scope="module")
def ensemble(with_folds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ensemble") / "model"
    export_model(with_folds, out, cache=with_folds.parent / "cache")
    return out


def loaded(folder: Path) -> ExportedModel:
    model = radapt.load_model(folder)
    assert isinstance(model, ExportedModel)
    return model


def scores(run: Path, split: str, metric: str) -> pd.Series:
    table = pd.read_parquet(run / "results.parquet")
    return table[(table["split"] == split) & (table["metric"] == metric)].set_index("protocol")["value"]


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


def test_the_winner_is_the_best_on_val(with_val: Path) -> None:
    cell, selection = choose_cell(with_val)
    of_val = scores(with_val, "val", "mcc")
    assert cell.label == of_val.idxmax()
    assert selection.source == "val"
    assert {each.method: each.score for each in selection.candidates} == of_val.to_dict()
    assert f"{of_val.max():.3f}" in selection.why


def test_no_test_score_decides(with_val: Path, tmp_path: Path) -> None:
    """The same cell wins when the tables hold no test set at all, and when they hold other numbers."""
    run = copied(with_val, tmp_path / "run")
    before = choose_cell(run)[0].id
    rng = np.random.default_rng(0)
    for path in run.glob("cells/*/scores.parquet"):
        table = pd.read_parquet(path)
        table.loc[table["split"] != "val", "value"] = rng.random((table["split"] != "val").sum())
        table.to_parquet(path)
        done = json.loads((path.parent / "done.json").read_text())
        from radapt.done_file import done_facts

        facts = {name: value for name, value in done.items() if name not in ("files", "digest")}
        (path.parent / "done.json").write_text(json.dumps(done_facts(path.parent, facts, done["files"])))
    assert choose_cell(run)[0].id == before


def test_folds_are_compared_by_their_inner_score(with_folds: Path) -> None:
    cell, selection = choose_cell(with_folds)
    stored = cell.facts["folds"]
    inner = [fit["candidates"][fit["chosen"]]["val"]["mcc"] for fit in stored.values()]
    assert selection.source == "inner folds"
    assert selection.candidates[0].score == pytest.approx(np.mean(inner))
    assert selection.candidates[0].score != scores(with_folds, "oof", "mcc").iloc[0]


def test_what_is_asked_for_goes_before_the_winner(with_val: Path) -> None:
    assert choose_cell(with_val, method="knn")[0].label == "knn"
    assert choose_cell(with_val, method="vit linear")[0].label == "linear"
    one = choose_cell(with_val, method="knn")[0].id
    assert choose_cell(with_val, cell=one[:6])[0].id == one
    with pytest.raises(UsageError, match=r"no finished method 'knm'.*Did you mean"):
        choose_cell(with_val, method="knm")
    with pytest.raises(UsageError, match="no finished cell begins with it"):
        choose_cell(with_val, cell="zzz")
    with pytest.raises(UsageError, match="--cohort dscs: Did you mean 'discs'"):
        choose_cell(with_val, cohort="dscs")
    with pytest.raises(UsageError, match="not a run folder"):
        choose_cell(with_val.parent)


def test_without_any_score_a_method_has_to_be_named(with_val: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.deploy.export.candidates._scores", lambda *_: {})
    with pytest.raises(UsageError, match=r"a test set must not choose\. Name the method with --method"):
        choose_cell(with_val)
    assert choose_cell(with_val, method="linear")[0].label == "linear"


def test_the_model_card_is_one_of_the_hub(ensemble: Path, with_folds: Path) -> None:
    text = (ensemble / "README.md").read_text()
    card = ModelCard(text)
    found = {(each.dataset_split, each.metric_type): each for each in card.data.eval_results}
    oof = found["oof", "mcc"]
    assert oof.metric_value == scores(with_folds, "oof", "mcc").iloc[0]
    assert re.fullmatch(r"MCC \(95 % CI -?\d\.\d{3} to -?\d\.\d{3}, 24 patients\)", oof.metric_name)
    assert card.data.library_name == "radapt"
    assert "north 12; south 12" in text
    assert "| training data | Discs | CC BY-NC-SA 4.0 |" in text
    assert "The model inherits: non-commercial, share-alike, attribution." in text


def test_where_patients_are_unknown_the_card_counts_images() -> None:
    facts = TrainingFacts("discs", 24, 24, {"north": 24}, unit="image")
    score = EvaluationScore("test", "mcc", 0.5, 0.25, 0.75, 6)
    model = Deployment(
        name="m", method="knn", aim="classification", kind="xray", sequences=(), members=("m",), scores=(score,),
        training=facts,
    )  # fmt: skip
    text = model_card(model, ("well", "ill"), ())
    assert "95 % CI 0.250 to 0.750, 6 images" in text
    assert "| interval | images |" in text
    assert "24 images, 24 cases. Images by site: north 24" in text
    assert "each image counts as a patient" in text
    known = model_card(replace(model, training=replace(facts, unit="patient")), ("well", "ill"), ())
    assert "image" not in known.replace("no images", "").replace("image-", "")
    assert "24 patients, 24 cases" in known


def test_terms_are_inherited_from_every_link() -> None:
    from radapt.deploy.deployment import LicenceLink

    assert inherited((LicenceLink("encoder", "x", "MIT"),)) == ()
    assert inherited((LicenceLink("encoder", "x", "fair-noncommercial-research-license"),)) == ("non-commercial",)
    assert inherited((LicenceLink("training data", "x", "unknown"),)) == ("unknown licence of training data",)
    assert inherited((LicenceLink("training data", "x", "CC BY-ND 4.0"),)) == ("no derivatives", "attribution")


def test_it_predicts_what_the_study_did(exported: Path, with_val: Path) -> None:
    cell = read_deployment(exported).selection.candidates  # type: ignore[union-attr]
    winner = choose_cell(with_val)[0]
    stored = pd.read_parquet(winner.folder / "predictions.parquet").set_index("case")
    stored = stored[stored["split"] != "val"]
    found = loaded(exported).predict(with_val.parent / "discs" / "cohort.yaml").table.set_index("case")
    columns = ["p_healthy", "p_ill"]
    pd.testing.assert_frame_equal(found.loc[stored.index, columns], stored[columns], check_exact=True)
    assert (found.loc[stored.index, "prediction"] == stored["decision"]).all()
    assert winner.id in {each.cell for each in cell}


def test_the_folder_needs_nothing_else(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is moved, and neither says where it was made nor holds an image."""
    moved = copied(exported, tmp_path / "elsewhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = loaded(moved)
    assert model.training is not None
    assert model.to("cpu").digest == model.digest
    assert model.training.cases[0].startswith("c")
    for path in moved.rglob("*.json"):
        assert str(exported.parent.parent) not in path.read_text()
    assert {path.suffix for path in moved.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".md"}


def test_an_ensemble_is_the_mean_of_its_folds(ensemble: Path, with_folds: Path) -> None:
    model = loaded(ensemble)
    cohort = radapt.load_cohort(with_folds.parent / "discs" / "cohort.yaml")
    found = model.predict(cohort)
    cache = with_folds.parent / "cache"
    members = [
        radapt.load_model(path.parent, cache=cache).predict(cohort)["p_ill"]  # type: ignore[index]
        for path in choose_cell(with_folds)[0].folder.glob("model/*/model.json")
    ]
    np.testing.assert_array_equal(found.table["p_ill"], np.mean(members, axis=0))
    assert set(found.table["agreement"]) <= {0.5, 1.0}
    own = next(case for case in found if case.case == "c1")
    assert own.nearest[0].case == "c1"
    assert own.nearest[0].similarity == pytest.approx(1, abs=1e-4)
    assert any("mean of 2 models" in note for note in found.notes)
    assert any("Of 24 cases with a label" in note for note in found.notes)


@pytest.mark.parametrize("damage", ["change", "remove", "record"])
def test_a_damaged_folder_is_refused(exported: Path, tmp_path: Path, damage: str) -> None:
    model = copied(exported, tmp_path / "model")
    file = next(model.glob("members/*/model.safetensors"))
    if damage == "remove":
        file.unlink()
    elif damage == "change":
        file.write_bytes(file.read_bytes()[:-1] + b"\0")
    else:
        record = model / "deployment.json"
        record.write_text(record.read_text().replace("discs", "disks"))
    says = {"remove": r"model.safetensors is missing", "change": r"model.safetensors was changed", "record": "changed"}
    with pytest.raises(UsageError, match=says[damage]):
        radapt.load_model(model)


def test_a_failed_export_leaves_nothing(with_val: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("radapt.deploy.export.export_model.write_text", full)
    with pytest.raises(OSError, match="No space left"):
        export_model(with_val, tmp_path / "model", cache=with_val.parent / "cache")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(with_val: Path, exported: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        export_model(with_val, exported)


@pytest.mark.parametrize(("unit", "alike"), [("patient", "of patients like the 46"), ("image", "like the 46")])
def test_the_intended_use_says_whom_the_model_learned_from(unit: str, alike: str) -> None:
    facts = TrainingFacts("films", 46, 46, {}, unit=unit)
    deployment = Deployment(
        name="m", method="segment", aim="segmentation", kind="other", sequences=(), members=(), training=facts
    )
    said = intended_use_of(deployment)
    assert f"For images {alike} of cohort films that it learned from." in said


def test_structures_known_by_their_value_alone_should_be_named() -> None:
    (note,) = unnamed_structures({255: "255", 1: "heart"})
    assert note.startswith(
        "Structures without a name: 255. Name them in the cohort file, such as mask_labels: {255: lung}"
    )
    assert unnamed_structures({1: "heart"}) == ()
