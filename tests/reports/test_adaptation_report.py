"""The page of one adaptation: result, training history, provenance, missing facts and damaged files."""

import math
from pathlib import Path

import pytest

from radapt.durable import write_json
from radapt.errors import DataError, UsageError
from radapt.reports import write_adapt_report
from radapt.reports.training_history import training_history
from report_page import HOSTILE, Page
from toy_subsets import subset_tables

HISTORY = [
    {"epoch": e, "step": 10 * e, "loss": 3.0 / e, "lr": 1e-4, "score": math.nan, "dino": 2.0 / e} for e in range(1, 5)
]
CHECKS = [{"step": s, "good": s < 30, "rank": 40.0 - s, "teacher_entropy": 0.5} for s in (0, 20, 40)]


FIT = {"candidates": [{"options": {"strength": 0.01}, "val": {}}], "chosen": 0}


def facts(**changes: object) -> dict[str, object]:
    trained = {
        "steps": 40, "epochs": 4, "seconds": 75.0, "peak_memory_mb": 1234.0, "trained_parameters": 5, "parameters": 10,
        "stopped": None, "good_step": 20, "history": HISTORY, "checks": CHECKS,
    }  # fmt: skip
    made = {
        "cohort": "glioma", "backbone": "dinov2-s", "weights": "file", "preset": "default", "options": {"batch": 64},
        "modalities": ["t1", "flair"], "outputs": ["a", "b"], "seed": 0, "notes": ["One case has no sequence."],
        "counts": {"cases": 70, "patients": 60, "labelled": 20, "with": {"t1": 61, "flair": 50}}, "source": {},
        "versions": {"radapt": "1.2.3"}, "fit": FIT, "trained": trained,
    }  # fmt: skip
    return made | changes


def written(folder: Path, made: dict[str, object], subsets: bool = True) -> Page:
    write_json(folder / "adapt.json", made)
    if subsets:
        subset_tables(0).write(folder)
    path = write_adapt_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_page_shows_result_subsets_training_and_provenance(tmp_path: Path) -> None:
    page = written(tmp_path, facts())
    assert "dinov2-s adapted to glioma" in page.text
    assert "On test, MCC is" in page.text
    assert "Contribution of each sequence to MCC: its Shapley value" in page.text
    assert "60 patients, 70 cases, 20 labelled" in page.text
    assert "t1 61; flair 50" in page.text
    assert "5 of 10" in page.text
    assert "strength 0.01" in page.text
    assert "One case has no sequence." in page.text
    assert "1 min 15 s of training" in page.text
    titles = [a["aria-label"] for tag, a in page.elements if tag == "svg"]
    assert [title.split(":")[0] for title in titles] == [
        "Loss", "Learning rate", "DINO", "Effective rank of features",
        "Entropy of the teacher",
    ]  # fmt: skip
    assert len(page.ids) == len(set(page.ids))
    assert "weights were random" not in page.text
    assert "stopped early" not in page.text


def test_page_is_self_contained_small_and_deterministic(tmp_path: Path) -> None:
    page = written(tmp_path, facts())
    first = (tmp_path / "report.html").read_bytes()
    write_adapt_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first
    assert len(first) < 400_000
    assert not [a for _, a in page.elements if any(a.get(name, "").startswith("http") for name in ("src", "href"))]


def test_early_stop_states_reason_and_restored_step(tmp_path: Path) -> None:
    trained = facts()["trained"] | {"stopped": "Features collapsed. Use a larger batch."}  # type: ignore[operator]
    page = written(tmp_path, facts(trained=trained))
    assert "Training stopped early at step 40 and restored the weights of step 20. Features collapsed." in page.text
    marks = {a["x1"] for tag, a in page.elements if tag == "line" and a.get("class") == "restored"}
    assert marks == {"50.0"}


def test_points_of_a_series_are_in_place_and_gaps_stay_open() -> None:
    history = [{"step": s, "loss": v} for s, v in ((1, 4.0), (2, 2.0), (3, math.nan), (4, 0.0))]
    (series,) = training_history({"trained": {"history": history}}).losses
    assert series.lines == ("25.0,0.0 50.0,20.0", "100.0,40.0")
    assert (series.first, series.last, series.low, series.high) == ("4", "0", "0", "4")


def test_long_histories_are_thinned_and_a_constant_is_a_line() -> None:
    history = [{"step": s, "loss": 1.0, "ok": True, "name": "x"} for s in range(1, 5001)]
    (series,) = training_history({"trained": {"history": history}}).losses
    points = series.lines[0].split()
    assert len(points) <= 241
    assert points[-1] == "100.0,20.0"


def test_missing_facts_are_left_out(tmp_path: Path) -> None:
    page = written(tmp_path, {"cohort": "glioma"}, subsets=False)
    assert "was not evaluated" in page.text
    assert "No training history was recorded." in page.text
    assert "Subsets of sequences" not in page.text


def test_random_weights_and_synthetic_patients_are_flagged(tmp_path: Path) -> None:
    page = written(tmp_path, facts(weights="random:0", source={"title": "Synthetic phantom patients"}))
    assert "weights were random before" in page.text
    assert "Synthetic patients." in page.text


def test_names_are_escaped(tmp_path: Path) -> None:
    page = written(tmp_path, facts(cohort=HOSTILE, notes=[HOSTILE], backbone=HOSTILE))
    assert not [a for tag, a in page.elements if tag == "img"]
    assert HOSTILE in "".join(page.texts)


def test_other_folders_and_damaged_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no adapt\.json"):
        write_adapt_report(tmp_path)
    (tmp_path / "adapt.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"adapt\.json cannot be read"):
        write_adapt_report(tmp_path)


def test_study_report_shows_the_first_adapted_run_of_each_method(toy_run, toy_cohort) -> None:
    from report_page import page_of

    toy = toy_cohort()
    run = toy_run.cohort(toy).backbone("dinov2-s")
    for label in ("mmdino", "mmdino (preset=supervised)"):
        for seed in (0, 1):
            id_ = run.cell(toy, "dinov2-s", label, seed=seed)
            write_json(run.path / "cells" / id_ / "adapt.json", facts())
    page = page_of(run.finish())
    assert "Training of the adaptation" in page.text
    assert len([tag for tag, attributes in page.elements if tag == "svg" and "class" not in attributes]) == 2 * 5
    assert len(page.ids) == len(set(page.ids))
