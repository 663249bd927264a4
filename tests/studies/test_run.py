"""A study from its file to results, in one process."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from radapt.cohorts import load_cohort
from radapt.errors import UsageError
from radapt.studies import Ledger, Outcome, Settings, plan_study, read_study, run_study
from radapt.studies.ledger import RESULT_COLUMNS
from toy_study import write_cohort, write_study

CLOCKS = ["seconds", "minutes", "peak_memory_mb"]
"""Columns of the results that no seed decides."""


def run(study: Path, out: str = "run") -> Outcome:
    settings = Settings(cache=study.parent / "cache", offline=True)
    return run_study(read_study(study), study.parent / out, settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that was run to its end, in its subfolder `run`."""
    folder = tmp_path_factory.mktemp("study")
    outcome = run(write_study(folder, [write_cohort(folder / "discs")], seeds=[0, 1]))
    assert (outcome.planned, outcome.finished, outcome.failures) == (8, 8, ())
    return folder


def test_results_have_the_contract_columns_and_a_row_per_cell_split_and_metric(finished: Path) -> None:
    results = pd.read_parquet(finished / "run" / "results.parquet")
    assert list(results.columns) == RESULT_COLUMNS
    assert set(results["split"]) == {"val", "test", "elsewhere"}
    assert set(results["protocol"]) == {"knn", "linear"}
    assert not results.duplicated(["cell", "split", "metric"]).any()
    assert len(set(results.groupby("cell").size())) == 1, "every cell has the same rows"
    scored = results[results["metric"] == "auroc"]
    assert (scored["ci_low"] <= scored["value"]).all()
    assert (scored["value"] <= scored["ci_high"]).all()


def test_predictions_cover_every_case_that_was_not_trained_on(finished: Path) -> None:
    cohort = load_cohort(finished / "discs" / "cohort.yaml")
    expected = {case.case for case in cohort if case.split != "train"}
    for path in (finished / "run").glob("cells/*/predictions.parquet"):
        table = pd.read_parquet(path)
        assert list(table.columns) == [
            "cell",
            "case",
            "patient",
            "site",
            "split",
            "truth",
            "p_healthy",
            "p_ill",
            "decision",
        ]
        assert set(table["case"]) == expected
        assert np.allclose(table["p_healthy"] + table["p_ill"], 1)


def test_the_bright_disc_is_found(finished: Path) -> None:
    results = pd.read_parquet(finished / "run" / "results.parquet")
    scored = results[(results["metric"] == "auroc") & (results["protocol"] == "linear") & (results["split"] == "test")]
    assert scored["value"].max() > 0.9


def test_finished_cells_are_never_run_again(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "run").glob("cells/*/*")}
    outcome = run(finished / "study.yaml")
    assert (outcome.finished, outcome.already) == (0, 8)
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "run").glob("cells/*/*")}


@pytest.mark.parametrize("name", ["done.json", "cell.json", "predictions.parquet", "scores.parquet"])
def test_a_cell_whose_files_were_damaged_is_run_again(name: str, finished: Path) -> None:
    before = pd.read_parquet(finished / "run" / "results.parquet")
    damaged = next((finished / "run").glob(f"cells/*/{name}"))
    damaged.write_bytes(damaged.read_bytes()[:9])
    outcome = run(finished / "study.yaml")
    assert (outcome.already, outcome.finished) == (7, 1)
    after = pd.read_parquet(finished / "run" / "results.parquet")
    pd.testing.assert_frame_equal(before.drop(columns=CLOCKS), after.drop(columns=CLOCKS), check_exact=True)


def test_another_folder_gives_the_same_numbers(finished: Path) -> None:
    run(finished / "study.yaml", "again")
    tables = [pd.read_parquet(finished / out / "results.parquet").drop(columns=CLOCKS) for out in ("run", "again")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_moved_cohort_keeps_its_cells_and_a_changed_pixel_does_not(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache", offline=True)

    def ids(cohort: Path) -> list[str]:
        study = read_study(write_study(tmp_path, [cohort]))
        return [cell.id for cell in plan_study(study, settings).cells]

    cohort = write_cohort(tmp_path / "discs")
    before = ids(cohort)
    moved = cohort.parent.rename(tmp_path / "elsewhere") / "cohort.yaml"
    assert ids(moved) == before
    image = moved.parent / "images" / "0-a.npy"
    np.save(image, np.load(image) + 1)
    assert not set(ids(moved)) & set(before)


def test_the_split_of_every_case_is_written_down(finished: Path) -> None:
    table = pd.read_parquet(finished / "run" / "cohorts" / "discs" / "cases.parquet")
    assert list(table["split"]) == [case.split for case in load_cohort(finished / "discs" / "cohort.yaml")]
    facts = json.loads((finished / "run" / "cohorts" / "discs" / "cohort.json").read_text())
    assert facts["slices_per_image"] == {"min": 5, "median": 5.0, "max": 5}
    assert facts["splits"]["test"]["missing"] == {"a": 0, "b": int((~table["has:b"][table["split"] == "test"]).sum())}


def test_a_broken_image_fails_its_cohort_alone_and_is_named(tmp_path: Path) -> None:
    good, bad = (write_cohort(tmp_path / name, name=name) for name in ("good", "bad"))
    broken = bad.parent / "images" / "5-a.npy"
    broken.write_bytes(broken.read_bytes()[:200])
    outcome = run(write_study(tmp_path, [bad, good], protocols=["knn"]))
    assert (outcome.planned, outcome.finished) == (4, 2)
    assert {failure.what.split(" × ")[0] for failure in outcome.failures} == {"bad"}
    assert all("5-a.npy" in failure.reason for failure in outcome.failures)
    assert outcome.reasons().count("5-a.npy") == 1, "a reason is said once, however many cells it stopped"
    assert set(pd.read_parquet(tmp_path / "run" / "results.parquet")["cohort"]) == {"good"}
    failed = list((tmp_path / "run").glob("cells/*/failed.json"))
    assert len(failed) == 2
    assert "5-a.npy" in json.loads(failed[0].read_text())["reason"]


def test_fixed_cohort_resumes_where_it_failed(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "discs")
    image = cohort.parent / "images" / "5-a.npy"
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    study = write_study(tmp_path, [cohort], protocols=["knn"])
    assert run(study).failures
    image.write_bytes(whole)
    assert run(study).failures == ()
    assert len(pd.read_parquet(tmp_path / "run" / "results.parquet")["cell"].unique()) == 2


def test_weights_that_cannot_be_had_stop_their_own_cells_only(tmp_path: Path) -> None:
    backbones = ["dinov2-s", {"name": "vit", "as": "timm:test_vit", "weights": "random"}]
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=backbones, protocols=["knn"])
    outcome = run(study)
    assert outcome.finished == 1
    assert "--weights" in outcome.failures[0].reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocols": ["linnear"]}, "Did you mean 'linear'"),
        ({"protocols": [{"knn": {"neighbours": 3}}]}, "knn"),
        ({"backbones": ["dinov2s"]}, "Did you mean 'dinov2-s'"),
        ({"image": {"recipe": {"percentile": [1, 99]}}}, "percentiles"),
        ({"image": {"size": 0}}, "size"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [0, 0]}, "twice"),
        ({"resamples": 3}, "resamples"),
        ({"choose": "test"}, "choose"),
        ({"select_by": "mmc"}, "Did you mean 'mcc'"),
        ({"decision": "best"}, "decision"),
        ({"chose": "val"}, "choose"),
        ({"name": "../up"}, "name"),
        ({"backbones": [{"name": "ours", "as": "dinov2-s", "weights": "gone.pth"}]}, "gone.pth"),
        ({"cohorts": ["gone.yaml"]}, "gone.yaml"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")], **changes)
    with pytest.raises(UsageError, match=said):
        run(study)
    assert not (tmp_path / "run").exists()


def test_a_weight_file_of_another_architecture_stops_the_study_before_anything_is_written(tmp_path: Path) -> None:
    weights = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(8, 3, 3, 3)}, weights)
    backbones = [{"name": "ours", "as": "timm:test_vit", "weights": str(weights)}]
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=backbones)
    with pytest.raises(UsageError, match=r"other\.safetensors"):
        run(study)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("names", [("same", "same"), ("site a", "site-a")])
def test_two_cohorts_that_would_share_a_folder_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    cohorts = [write_cohort(tmp_path / str(place), name=name) for place, name in enumerate(names)]
    with pytest.raises(UsageError, match=f"'{names[1]}'"):
        run(write_study(tmp_path, cohorts))


def test_an_entry_that_asks_for_the_same_numbers_again_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")], protocols=["knn", {"knn": {"temperature": 0.07}}])
    with pytest.raises(UsageError, match="same cell twice"):
        run(study)


def test_a_protocol_more_does_not_run_the_others_again(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "discs")
    nearest = {"knn": {"k": [1]}}
    first = run(write_study(tmp_path, [cohort], protocols=[nearest]))
    second = run(write_study(tmp_path, [cohort], protocols=[nearest, "knn"]))
    assert (first.finished, second.already, second.finished) == (2, 2, 2)
    assert set(pd.read_parquet(tmp_path / "run" / "results.parquet")["protocol"]) == {
        "knn",
        "knn (k=[1])",
    }


def test_pictures_follow_the_images_and_never_cost_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = write_cohort(tmp_path / "discs")
    run(write_study(tmp_path, [cohort], protocols=["knn"]))
    before = (tmp_path / "run" / "pictures" / "discs" / "vit" / "0.png").read_bytes()
    run(write_study(tmp_path, [cohort], protocols=["knn"], image={"size": 48}))
    assert (tmp_path / "run" / "pictures" / "discs" / "vit" / "0.png").read_bytes() != before
    with Image.open(tmp_path / "run" / "pictures" / "discs" / "vit" / "0-pca.png") as picture:
        assert min(picture.size) >= 16 * 16, "at least 16 patches of 16 pixels along a side"
    monkeypatch.setattr("radapt.studies.run.write_pictures", lambda *_: 1 / 0)
    outcome = run(write_study(tmp_path, [cohort], protocols=["knn"], image={"size": 64}))
    assert (outcome.finished, outcome.failures) == (2, ())


def test_a_run_that_has_nothing_to_do_does_not_claim_today_s_versions(finished: Path) -> None:
    path = finished / "run" / "environment.json"
    before = path.read_bytes()
    run(finished / "study.yaml")
    assert path.read_bytes() == before
    facts = json.loads(next((finished / "run").glob("cells/*/cell.json")).read_text())
    assert {"radapt", "python", "torch", "numpy"} <= set(facts["versions"])


def test_a_damaged_cell_that_fails_again_is_not_done(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    cell = next((tmp_path / "run" / "cells").iterdir())
    Ledger(tmp_path / "run").fail(cell.name, json.loads((cell / "cell.json").read_text()), ValueError("no"))
    assert not Ledger(tmp_path / "run").is_done(cell.name)
    assert (cell / "failed.json").is_file()


def test_a_resolved_study_reads_back_as_itself(finished: Path) -> None:
    first = read_study(finished / "study.yaml")
    again = finished / "resolved.yaml"
    again.write_text(first.resolved())
    assert read_study(again) == first


def test_parts_of_a_killed_run_are_tidied(tmp_path: Path) -> None:
    part = tmp_path / "cells" / "x" / ".done.json.0123abcd.part"
    part.parent.mkdir(parents=True)
    part.write_text("{")
    (tmp_path / "plan.json").write_text('{"cells": []}')
    with Ledger(tmp_path).writing():
        assert not part.exists()
