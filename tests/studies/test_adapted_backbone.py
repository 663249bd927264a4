"""A study on the folder of an adapted backbone, and `radapt embed` with it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from radapt.backbones import load_backbone
from radapt.backbones.adapted import save_adapted
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.cli.app import app
from radapt.errors import UsageError
from radapt.studies import Outcome, Settings, read_study, run_study
from toy_study import write_cohort, write_study


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort, and two folders of one name with an adapted backbone of its sequences each."""
    folder = tmp_path_factory.mktemp("adapted")
    write_cohort(folder / "discs")
    base = load_backbone("timm:test_vit", "random")
    for number, names in enumerate((("a", "b"), ("b", "a", "c"))):
        save_adapted(folder / str(number) / "ours", MultiModalViT.of(base, names), base.card)
    return folder


def study(place: Path, backbones: list[object], **changes: object) -> Path:
    return write_study(place, [place / "discs" / "cohort.yaml"], backbones=backbones, **changes)


def run(path: Path, out: Path) -> Outcome:
    return run_study(read_study(path), out, Settings(cache=path.parent / "cache", offline=True))


def test_a_study_takes_folders_by_path_and_by_a_name_of_ones_own(place: Path, tmp_path: Path) -> None:
    backbones = ["0/ours", {"name": "mine", "weights": "1/ours", "dtype": "float32"}]
    shots = {"fewshot": {"shots": [2], "repeats": 2, "protocol": "knn"}}
    outcome = run(study(place, backbones, protocols=["knn", shots]), tmp_path / "run")
    assert (outcome.planned, outcome.finished, outcome.failures) == (6, 6, ())
    results = pd.read_parquet(tmp_path / "run" / "results.parquet")
    assert set(results["backbone"]) == {"ours", "mine"}
    facts = json.loads((tmp_path / "run" / "backbones" / "mine.json").read_text())
    assert (facts["modalities"], facts["architecture"]) == (["b", "a", "c"], "timm:test_vit")
    resolved = yaml.safe_load((tmp_path / "run" / "study.yaml").read_text())
    assert resolved["backbones"][0]["name"] == "ours"
    assert resolved["backbones"][0]["weights"] == str((place / "0" / "ours").resolve())
    again = run(tmp_path / "run" / "study.yaml", tmp_path / "run")
    assert (again.already, again.finished) == (6, 0)


def test_protocols_that_train_on_images_take_its_encoder(place: Path, tmp_path: Path) -> None:
    short = {"lora": {"epochs": 1, "lr": [1e-3], "rank": 2, "slices_per_case": 2}}
    outcome = run(study(place, ["0/ours"], protocols=[short]), tmp_path / "run")
    assert (outcome.finished, outcome.failures) == (1, ())


def test_two_folders_of_one_name_need_names(place: Path) -> None:
    with pytest.raises(UsageError, match=r"ours is given twice.*weights: FOLDER"):
        read_study(study(place, ["0/ours", "1/ours"]))


@pytest.mark.parametrize(
    ("backbones", "said"),
    [
        (["0"], "holds no adapted backbone"),
        ([{"name": "mine", "weights": "2/ours"}], "there is no file"),
        ([{"name": "mine", "weights": "a" * 300}], "there is no file"),
        ([{"name": "mine", "weights": "~no-such-user/x"}], "there is no file"),
        ([{"name": "0/ours", "as": "dinov2-s", "weights": "0/ours"}], "adapted backbone, not weights"),
        ([{"name": "dinov2-s", "weights": "0/ours"}], "adapted backbone, not weights"),
        ([{"name": "0/ours", "as": "dinov2-s"}], "leave out the architecture dinov2-s"),
        ([{"name": "0/ours", "weights": "random"}], "Unknown backbone"),
    ],
)
def test_entries_that_cannot_be_are_refused(backbones: list[object], said: str, place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        run(study(place, backbones), tmp_path / "run")


def test_a_damaged_folder_stops_the_study_at_once(place: Path, tmp_path: Path) -> None:
    base = load_backbone("timm:test_vit", "random")
    save_adapted(tmp_path / "torn", MultiModalViT.of(base, ("a", "b")), base.card)
    (tmp_path / "torn" / "backbone.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="damaged"):
        run(study(place, [str(tmp_path / "torn")]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sequences_it_does_not_know_fail_the_cells_with_their_names(place: Path, tmp_path: Path) -> None:
    base = load_backbone("timm:test_vit", "random")
    save_adapted(tmp_path / "other", MultiModalViT.of(base, ("a", "bb")), base.card)
    outcome = run(study(place, [str(tmp_path / "other")], protocols=["knn"]), tmp_path / "run")
    assert outcome.finished == 0
    assert "other was not adapted to 'b'. Did you mean 'bb'" in outcome.reasons()


def test_embed_writes_one_modality(place: Path, tmp_path: Path) -> None:
    words = ["embed", str(place / "discs" / "cohort.yaml"), "--backbone", str(place / "0" / "ours"), "--size", "32"]
    words += ["--cache", str(tmp_path / "cache"), "--dtype", "float32", "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    assert "36 of 36 cases encoded" in first.output
    assert np.load(tmp_path / "out" / "features.npy").shape == (36, 1, 8 * 64)
    facts = json.loads((tmp_path / "out" / "embed.json").read_text())
    assert facts["seen_together"] == ["a", "b"]
    assert facts["card"]["name"] == "ours"
    assert "All 36 cases were already stored." in CliRunner().invoke(app, words).output
