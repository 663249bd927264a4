"""`radapt verify`: a flipped bit in any file of a run is found, and a number that its predictions do not give."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.cli import main
from radapt.done_file import DONE, done_facts
from radapt.durable import write_json, write_parquet
from radapt.errors import DataError, UsageError
from radapt.reports import write_report
from radapt.reports.verification import verify_run
from radapt.studies import Settings, read_study, run_study
from radapt.studies.run_digests import DIGESTS, covered, record_digests
from toy_study import write_cohort, write_study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    cohort = write_cohort(folder / "discs", patients=48)
    cases = pd.read_csv(folder / "discs" / "cases.csv")
    cases["sex"] = ["f" if number % 8 < 4 else "m" for number in range(len(cases))]
    cases["split"] = [("train", "test")[number % 4 // 2] if number > 7 else "val" for number in range(len(cases))]
    cases.to_csv(folder / "discs" / "cases.csv", index=False)
    study = write_study(folder, [cohort], protocols=["knn"], groups=["sex"])
    run_study(read_study(study), folder / "run", Settings(cache=folder / "cache", offline=True))
    write_report(folder / "run")
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    bit %= 8 * len(data)
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def test_an_untouched_run_is_as_it_was_written(run: Path) -> None:
    found = verify_run(run)
    assert found.faults == ()
    assert (found.cells, found.unfinished) == (2, 0)
    tables = [pd.read_parquet(run / f"{name}.parquet") for name in ("comparisons", "subgroups")]
    computed = sum(table.select_dtypes("number").size for table in tables)
    assert found.numbers == len(pd.read_parquet(run / "results.parquet")) + computed
    assert found.text.endswith("2 cells and the report computed again: all as written.")


def test_a_flipped_bit_in_any_file_is_found(finished: Path, run: Path) -> None:
    rng = np.random.default_rng(0)
    files = [path for path in sorted(finished.rglob("*")) if path.is_file() and path.name not in (".lock", "log.txt")]
    assert {"model.json", DIGESTS, DONE, "report.html", "environment.json"} <= {file.name for file in files}
    for file in files:
        copy = run / file.relative_to(finished)
        flip(copy, int(rng.integers(2**40)))
        assert verify_run(run).faults, file
        shutil.copy2(file, copy)
    assert verify_run(run).faults == ()


@pytest.mark.slow
def test_a_thousand_flipped_bits_are_found(finished: Path, run: Path) -> None:
    rng = np.random.default_rng(1)
    files = [path for path in sorted(finished.rglob("*")) if path.is_file() and path.name not in (".lock", "log.txt")]
    for _ in range(1000):
        file = files[int(rng.integers(len(files)))]
        copy = run / file.relative_to(finished)
        flip(copy, int(rng.integers(2**40)))
        assert verify_run(run).faults, file
        shutil.copy2(file, copy)


@pytest.mark.parametrize(("column", "said"), [("value", "auroc of test is"), ("ci_high", "interval of auroc of test")])
def test_a_number_that_the_predictions_do_not_give_is_found(run: Path, column: str, said: str) -> None:
    """Even where somebody has written new digests."""
    cell = next((run / "cells").iterdir())
    scores = pd.read_parquet(cell / "scores.parquet")
    wanted = (scores["split"] == "test") & (scores["metric"] == "auroc")
    scores.loc[wanted, column] += 0.01
    write_parquet(cell / "scores.parquet", scores)
    stored = json.loads((cell / DONE).read_text())
    facts = {name: value for name, value in stored.items() if name not in ("files", "others", "digest")}
    write_json(cell / DONE, done_facts(cell, facts, stored["files"], stored["others"]))
    faults = verify_run(run).faults
    assert any(said in fault.what and fault.file.endswith("scores.parquet") for fault in faults)
    assert any(fault.file == "results.parquet" and "not the table of the cells" in fault.what for fault in faults)


@pytest.mark.parametrize("name", ["comparisons.parquet", "subgroups.parquet", "summary.json", "report.html"])
def test_a_report_that_the_predictions_do_not_give_is_found(run: Path, name: str) -> None:
    file = run / name
    if file.suffix == ".parquet":
        table = pd.read_parquet(file)
        column = "difference" if name.startswith("comp") else "ci_low"
        table.loc[0, column] += 1e-3
        write_parquet(file, table)
    elif file.suffix == ".json":
        stored = json.loads(file.read_text())
        stored["scores"][0]["ci_low"] += 1e-3
        write_json(file, stored)
    else:
        page = file.read_text()
        value = page.index('<td class="number value" data-sort="') + 60
        file.write_text(page[:value] + page[value:].replace("0.", "1.", 1))
    record_digests(run, only=[name])
    assert [fault.file for fault in verify_run(run).faults] == [name]


def test_a_page_without_images_is_as_it_was_written(run: Path) -> None:
    write_report(run, images=False)
    assert verify_run(run).faults == ()


def test_a_report_of_another_version_is_not_computed_again(run: Path) -> None:
    stored = json.loads((run / "summary.json").read_text()) | {"radapt": "0.1.0"}
    write_json(run / "summary.json", stored)
    record_digests(run, only=["summary.json"])
    found = verify_run(run)
    assert found.faults == ()
    assert found.numbers == len(pd.read_parquet(run / "results.parquet"))


def test_the_intervals_of_folds_are_computed_again(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "discs")
    cohort.write_text(cohort.read_text() + "split: {folds: 3}\n")
    study = write_study(tmp_path, [cohort], protocols=["knn"])
    run_study(read_study(study), tmp_path / "run", Settings(cache=tmp_path / "cache", offline=True))
    scores = pd.read_parquet(tmp_path / "run" / "results.parquet")
    assert scores["split"].str.startswith("oof:").any()
    assert verify_run(tmp_path / "run").faults == ()


def test_files_that_are_missing_or_foreign_are_named(run: Path) -> None:
    (run / "environment.json").unlink()
    (run / "notes.txt").write_text("mine")
    shutil.rmtree(next((run / "cells").glob("*/model")))
    found = {fault.file.split("/")[-1]: fault.what for fault in verify_run(run).faults}
    assert found["environment.json"] == "missing"
    assert found["notes.txt"].startswith("not written by radapt")
    assert found["model.json"] == "missing"


def test_cells_that_are_not_finished_are_counted(run: Path) -> None:
    shutil.rmtree(next((run / "cells").iterdir()))
    found = verify_run(run)
    assert (found.cells, found.unfinished, found.faults) == (1, 1, ())
    assert "1 cell not finished" in found.text


def test_damage_between_two_runs_is_not_taken_for_what_a_run_wrote(run: Path) -> None:
    flip(run / "environment.json", 1000)
    record_digests(run, since=(run / "environment.json").stat().st_mtime + 1)
    assert [fault.file for fault in verify_run(run).faults] == ["environment.json"]
    (run / "report.html").write_text("another")
    record_digests(run, only=["report.html"])
    assert [fault.file for fault in verify_run(run).faults] == ["environment.json"]
    assert "report.html" in dict(covered(run))


def test_a_folder_that_is_no_run_or_has_no_digests_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        verify_run(tmp_path)
    (run / DIGESTS).unlink()
    with pytest.raises(DataError, match=r"no digests\.json"):
        verify_run(run)


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return int(ended.value.code or 0)

    assert call("verify", run) == 0
    assert "all as written" in capsys.readouterr().out
    flip(run / "study.yaml", 9)
    assert call("verify", run, "--json", tmp_path / "found.json") == 1
    assert "study.yaml: changed since it was written" in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text())["faults"][0]["file"] == "study.yaml"
