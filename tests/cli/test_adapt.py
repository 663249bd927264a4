"""radapt adapt: what it leaves in its folder, going on after a kill, and everything it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import radapt
from radapt.cli import main
from radapt.cli.adapt import Preset
from radapt.errors import UsageError
from radapt.mmdino.folder import load_adaptation
from radapt.mmdino.options import PRESETS
from radapt.mmdino.task import AdaptTask
from toy_adaptation import QUICK
from toy_study import write_cohort


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def words(cohort: Path, out: Path, *more: object, **changed: Any) -> list[object]:
    options = [word for name, value in (QUICK | changed).items() for word in ("--set", f"{name}={value}")]
    given = ["adapt", cohort, "--out", out, "--cache", cohort.parent.parent / "cache", "--size", 32, "--device", "cpu"]
    given += ["--precision", "float32", "--resamples", 100, "--offline", *options, *more]
    return given if "--backbone" in more else [*given, "--backbone", "timm:test_vit", "--weights", "random"]


def without(cohort: Path, name: str, **columns: Any) -> Path:
    """A copy of a cohort with columns of its table replaced."""
    folder = cohort.parent.parent / name
    folder.mkdir()
    shutil.copytree(cohort.parent / "images", folder / "images")
    table = pd.read_csv(cohort.parent / "cases.csv").assign(**columns)
    table.to_csv(folder / "cases.csv", index=False)
    shutil.copy(cohort, folder / "cohort.yaml")
    return folder / "cohort.yaml"


def stamps(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("adapt") / "discs", patients=18)


@pytest.fixture(scope="module")
def folder(cohort: Path) -> Path:
    """A finished adaptation, made by a first call that ended before it scored, and a second one."""
    out = cohort.parent.parent / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radapt.mmdino.adapt_run.score_fitted", _interrupted)
        assert call(*words(cohort, out)) == 130
    assert (out / "checkpoints" / "training.pt").is_file()
    assert not (out / "done.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdaptTask, "loss", _trained_twice)
        assert call(*words(cohort, out)) == 0
    return out


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _trained_twice(*_: object) -> None:
    raise AssertionError("what was trained was trained again")


def test_the_folder_holds_all_that_the_contract_says(folder: Path) -> None:
    left = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert left == {
        "request.json", "backbone.json", "backbone.safetensors", "model.json", "model.safetensors",
        "predictions.parquet", "scores.parquet", "subsets.parquet", "shapley.parquet",
        "subset_predictions.parquet", "adapt.json", "report.html",
        "done.json",
    }  # fmt: skip
    facts = json.loads((folder / "adapt.json").read_text())
    assert (facts["cohort"], facts["backbone"], facts["preset"], facts["seed"]) == (
        "discs",
        "timm:test_vit",
        "default",
        0,
    )
    assert facts["weights"].startswith("random")
    assert facts["counts"] == {"cases": 12, "patients": 12, "labelled": 12, "with": {"a": 12, "b": 8}}
    assert facts["trained"]["steps"] == QUICK["steps"]
    subsets = pd.read_parquet(folder / "subsets.parquet")
    assert set(subsets["subset"]) == {"", "a", "b", "a + b"}


def test_the_folder_is_a_backbone_and_a_classifier(folder: Path, cohort: Path) -> None:
    backbone = radapt.load_backbone(str(folder))
    assert backbone.modalities == ("a", "b")
    table = radapt.load_cohort(cohort)
    from radapt.images import SliceCache

    rows = np.flatnonzero(table.splits == "test")
    answers = load_adaptation(folder).predict(table, SliceCache(cohort.parent.parent / "cache"), rows)
    written = pd.read_parquet(folder / "predictions.parquet").set_index("case")
    said = written.loc[[table.cases[row].case for row in rows], [f"p_{name}" for name in table.outputs]].to_numpy()
    np.testing.assert_allclose(answers, said, atol=1e-6)
    with pytest.raises(UsageError, match="is one name"):
        load_adaptation(folder).predict(table, SliceCache(cohort.parent.parent / "cache"), rows, "a")


def test_an_adapted_folder_is_adapted_again(
    folder: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words(cohort, tmp_path / "again", "--backbone", folder)) == 0
    assert f"{folder.name} was adapted to a, b before, and training continues from there." in capsys.readouterr().out
    assert json.loads((tmp_path / "again" / "adapt.json").read_text())["weights"].startswith("adapted:")
    assert call(*words(cohort, folder, "--backbone", folder)) == 2
    assert "the backbone was another one" in capsys.readouterr().err


def test_going_on_ends_with_the_same_numbers(folder: Path, cohort: Path, tmp_path: Path) -> None:
    assert call(*words(cohort, tmp_path / "whole")) == 0
    for name in ("predictions", "subsets", "shapley"):
        one, other = (pd.read_parquet(place / f"{name}.parquet") for place in (folder, tmp_path / "whole"))
        pd.testing.assert_frame_equal(one, other)


def test_a_finished_folder_is_left_as_it_is(folder: Path, cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stamps(folder)
    assert call(*words(cohort, folder)) == 0
    said = capsys.readouterr().out
    assert "is finished; nothing was done" in said
    assert said.strip().splitlines()[-1] == f"Report: {folder / 'report.html'}"
    assert stamps(folder) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--seed", 1), "seed was 0 and is 1"),
        (("--set", "lr=0.5"), "lr was 0.0001 and is 0.5"),
        (("--weights", "random:1"), "the backbone was another one"),
        (("--every", 2), "images were prepared differently"),
        (("--preset", "supervised"), "dino was 1.0 and is 0.0"),
    ],
)
def test_another_request_is_refused(
    folder: Path, cohort: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...], said: str
) -> None:
    before = stamps(folder)
    assert call(*words(cohort, folder, "--backbone", "timm:test_vit", "--weights", "random", *more)) == 2
    assert said in capsys.readouterr().err
    assert stamps(folder) == before


@pytest.mark.parametrize("where", ["train", "test"])
def test_images_that_are_mended_are_taken_by_the_same_command(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    """Of the first request nothing came, so that it binds nobody. A sequence no training case has is named."""
    splits = pd.read_csv(cohort.parent / "cases.csv")["split"].tolist()
    lacking = {"image:b": [f"images/{at}-b.npy" if split != "train" else "" for at, split in enumerate(splits)]}
    mended = without(cohort, f"mended-{where}", **lacking)
    image = mended.parent / "images" / f"{splits.index(where)}-a.npy"
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    assert call(*words(mended, tmp_path / "out")) == 1
    assert image.name in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".lock", "request.json"}
    image.write_bytes(whole)
    assert call(*words(mended, tmp_path / "out")) == 0
    assert "No training case has b: left out" in capsys.readouterr().out


def test_a_folder_with_something_else_is_left_alone(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    assert call(*words(cohort, tmp_path)) == 2
    assert "holds something else (mine.txt)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert call(*words(cohort, tmp_path / "mine.txt")) == 2
    assert "is a file" in capsys.readouterr().err


def test_a_cohort_without_labels_gives_a_backbone_alone(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = without(cohort, "bare")
    pd.read_csv(bare.parent / "cases.csv").drop(columns="label").to_csv(bare.parent / "cases.csv", index=False)
    bare.write_text("name: bare\nkind: other\ncases: cases.csv\n")
    assert call(*words(bare, tmp_path / "out", classifier="head")) == 0
    said = capsys.readouterr().out
    assert "There is no labelled training case: the backbone is adapted without" in said
    assert "Without a classifier nothing was scored" in said
    assert radapt.load_backbone(str(tmp_path / "out")).modalities == ("a", "b")
    assert not (tmp_path / "out" / "predictions.parquet").exists()
    assert (tmp_path / "out" / "report.html").is_file()
    assert call(*words(bare, tmp_path / "labels-alone", "--preset", "supervised")) == 1
    assert "no labelled training case" in capsys.readouterr().err


@pytest.mark.parametrize("label", ["healthy", ""])
def test_labels_that_teach_nothing_are_refused_at_once(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], label: str
) -> None:
    """One class in train, or labels in val and test sets alone."""
    table = pd.read_csv(cohort.parent / "cases.csv")
    labels = table["label"].where(table["split"] != "train", label)
    assert call(*words(without(cohort, f"taught-{label}", label=labels), tmp_path / "out")) == 1
    said = capsys.readouterr().err
    assert f"holds {'only cases of the class ' + repr(label) if label else 'no labelled case'}" in said
    assert "give labelled patients of each the split 'train', or leave out the labels to use the images alone" in said
    assert not (tmp_path / "out").exists()


def test_a_cohort_without_a_test_set_is_adapted_to_and_not_scored(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = ["val" if number % 4 == 0 else "train" for number in range(18)]
    assert call(*words(without(cohort, "untested", split=splits), tmp_path / "out")) == 0
    assert "nothing was scored" in capsys.readouterr().out
    assert set(pd.read_parquet(tmp_path / "out" / "scores.parquet")["split"]) == {"val"}
    assert not (tmp_path / "out" / "subsets.parquet").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--set", "lr"), "expected NAME=VALUE"),
        (("--set", "lrr=1"), "Did you mean 'lr'?"),
        (("--set", "seed=1"), "has no option 'seed'"),
        (("--set", "steps=5"), "gives 'steps' twice"),
        (("--set", "dino=[1"), "not valid YAML"),
        (("--set", "dino=-1"), "option 'dino' cannot be -1"),
        (("--set", "zoom_slices=none"), "option 'zoom_slices' cannot be 'none'"),
        (("--set", "rank=None"), "option 'rank' cannot be 'None'"),
        (("--set", "clip=much"), "option 'clip' cannot be 'much'"),
        (("--backbone", "timm:test_resnet", "--weights", "random"), "plain vision transformer"),
        (("--backbone", "dinov2-z"), "dinov2-s"),
        (("--backbone", "timm:test_vit", "--weights", "gone.pt"), "gone.pt"),
    ],
)
def test_what_is_wrong_with_the_command_is_said(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...], said: str
) -> None:
    assert call(*words(cohort, tmp_path / "out", *more)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_preset_is_on_the_command_line() -> None:
    assert tuple(preset.value for preset in Preset) == PRESETS


def test_a_second_process_waits_its_turn(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        assert call(*words(cohort, tmp_path / "out")) == 2
    assert "Another process is adapting" in capsys.readouterr().err
