"""The run folder: a cell counts as done only once everything about it is written."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import radapt.studies.ledger as ledger_module
from radapt.errors import UsageError
from radapt.studies.ledger import Ledger

TABLE = pd.DataFrame({"case": ["c0"], "p_ill": [0.25]})


def finish(ledger: Ledger) -> None:
    ledger.finish("a", {"id": "a"}, TABLE, TABLE, 1.0)


@pytest.mark.parametrize("writer", ["write_json", "write_parquet"])
@pytest.mark.parametrize("written", [0, 1])
def test_a_cell_that_is_run_again_and_stopped_is_not_done(
    writer: str, written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files of before still stand there, so that only the order of writing tells that they are old."""
    ledger = Ledger(tmp_path)
    finish(ledger)
    assert ledger.is_done("a")
    left, write = [written], getattr(ledger_module, writer)

    def stopped(path: Path, content: object) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(ledger_module, writer, stopped)
    with pytest.raises(KeyboardInterrupt):
        finish(ledger)
    assert not ledger.is_done("a")
    monkeypatch.undo()
    finish(ledger)
    assert ledger.is_done("a")


CELL = {"id": "a", "cohort": "lgg", "backbone": "dino", "label": "knn", "seed": 0}
SCORES = pd.DataFrame({
    "metric": ["auroc", "mcc"], "value": [0.75, 0.5], "ci_low": 0.1, "ci_high": 0.9, "n_patients": 9, "n_scored": 9,
    "n_unscored": 0, "n_undefined": 0, "split": "test",
})  # fmt: skip


def test_results_are_those_of_the_last_time_that_a_cell_was_finished(tmp_path: Path) -> None:
    """Rows are kept in memory, and must neither outlive their cell nor be shared with the caller."""
    ledger = Ledger(tmp_path)
    ledger.finish("a", {"id": "a", "look": "whole"}, TABLE, SCORES, 1.0)
    first = ledger.results([CELL])
    assert first["value"].tolist() == [0.75, 0.5]
    assert (first["look"].iloc[0], first["contamination"].iloc[0], first["seconds"].iloc[0]) == ("whole", None, 1.0)
    first["value"] = -1.0
    assert ledger.results([CELL])["value"].tolist() == [0.75, 0.5]
    assert ledger.results([CELL | {"seed": None}])["seed"].isna().all()
    ledger.finish("a", {"id": "a"}, TABLE, SCORES.assign(value=0.25), 2.0)
    again = ledger.results([CELL])
    assert (again["value"].tolist(), again["seconds"].tolist()) == ([0.25, 0.25], [2.0, 2.0])
    pd.testing.assert_frame_equal(again, Ledger(tmp_path).results([CELL]))
    (ledger.cell("a") / "scores.parquet").write_bytes(b"damaged")
    assert ledger.results([CELL]).empty


@pytest.mark.parametrize("name", ["done.json", "cell.json", "predictions.parquet", "scores.parquet", "subsets.parquet"])
def test_a_flipped_bit_makes_a_cell_unfinished(name: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.opened("a")
    TABLE.to_parquet(ledger.cell("a") / "subsets.parquet")
    finish(ledger)
    path = ledger.cell("a") / name
    content = path.read_bytes()
    for at in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert not ledger.is_done("a")
        assert ledger.damaged("a") is not None
    path.write_bytes(content)
    assert ledger.is_done("a")
    assert ledger.damaged("a") is None


@pytest.mark.parametrize("text", ["{}", "[]", '{"seconds": null}', "[" * 100_000, "null"])
@pytest.mark.parametrize("name", ["done.json", "cell.json"])
def test_json_of_another_shape_makes_a_cell_unfinished(name: str, text: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    finish(ledger)
    (ledger.cell("a") / name).write_text(text)
    assert not ledger.is_done("a")
    assert ledger.results([{"id": "a"}]).empty


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    kept = [tmp_path / "photos/.holiday.part/a.jpg", tmp_path / "thesis/.iso.0123abcd.part", tmp_path / "study.yaml"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    with pytest.raises(UsageError, match=r"not a run folder.*photos.*--out"), Ledger(tmp_path).writing():
        pass
    assert all(path.read_text() == "mine" for path in kept)
    assert not (tmp_path / ".lock").exists()


def test_only_partial_files_of_its_own_are_removed_from_a_run_folder(tmp_path: Path) -> None:
    with Ledger(tmp_path).writing():
        Ledger(tmp_path).write_plan("name: toy", [])
    kept = [tmp_path / "notes/.big.0123abcd.part", tmp_path / "cells/.movie.part"]
    own = [tmp_path / ".results.parquet.0123abcd.part", tmp_path / "cells/a/.done.json.0123abcd.part"]
    for path in (*kept, *own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    with Ledger(tmp_path).writing():
        pass
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in own)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")],
)
def test_running_out_of_memory_says_the_peak_and_what_to_set_lower(error: Exception, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.fail("a", {"id": "a"}, error)
    reason = json.loads((ledger.cell("a") / "failed.json").read_text())["reason"]
    assert re.search(r"Out of memory.*held [0-9.]+ GiB at most.*'batch'.*image: size", reason)


def test_a_failure_is_never_without_a_reason(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.fail("a", {"id": "a"}, AssertionError())
    assert json.loads((ledger.cell("a") / "failed.json").read_text())["reason"] == "AssertionError"
