"""`radapt verify`: a flipped bit in any file of a run is found, and a number that its predictions do not give."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radapt.cli import main
from radapt.cohorts import Cohort, load_cohort
from radapt.done_file import DONE, done_facts
from radapt.durable import write_json, write_parquet
from radapt.errors import DataError, UsageError
from radapt.protocols import score_subsets
from radapt.reports import export_report, write_report
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
    add_subsets(folder / "run", load_cohort(cohort))
    write_report(folder / "run")
    return folder / "run"


def add_subsets(run: Path, cohort: Cohort) -> None:
    """To the first cell what a model that answers from any subset of sequences would have left there."""
    cell = first_cell(run)
    noise = np.random.default_rng(1).normal(size=(2, len(cohort)))

    def predict(rows: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        logit = sum(cohort.labels[rows] - 0.5 + noise["ab".index(name), rows] for name in names)
        return np.stack([1 / (1 + np.exp(logit)), 1 / (1 + np.exp(-logit))], axis=1)

    _, scoring = np.random.default_rng(json.loads((cell / "cell.json").read_text())["seed"]).spawn(2)
    draws = scoring.spawn(pd.read_parquet(cell / "scores.parquet")["split"].nunique() + 1)[-1]
    score_subsets(predict, cohort, ("a", "b"), draws, 200, np.array([0.5, 0.5])).write(cell)
    seal(cell)


def first_cell(run: Path) -> Path:
    return min((run / "cells").iterdir())


def seal(cell: Path) -> None:
    """New digests of a cell's files, as somebody who changed them would write."""
    stored = json.loads((cell / DONE).read_text())
    facts = {name: value for name, value in stored.items() if name not in ("files", "others", "digest")}
    names = [path.name for path in cell.iterdir() if path.suffix in (".json", ".parquet") and path.name != DONE]
    write_json(cell / DONE, done_facts(cell, facts, names, stored["others"]))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    bit %= 8 * len(data)
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


COUNTED = ("n_cases", "n_patients", "splits", "sites")


def facts_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "cohorts" / "discs" / "cohort.json").read_text())
    return found


def leaves(value: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        yield value
        return
    for one in value.values():
        yield from leaves(one)


def test_an_untouched_run_is_as_it_was_written(run: Path) -> None:
    found = verify_run(run)
    assert found.faults == ()
    assert (found.cells, found.unfinished) == (2, 0)
    files = [
        *run.glob("cells/*/s[uh]*s.parquet"),
        *run.glob("cells/*/shapley.parquet"),
        *run.glob("*/*/shortcuts/*.parquet"),
    ]
    tables = [pd.read_parquet(run / f"{name}.parquet") for name in ("comparisons", "subgroups")]
    tables += [pd.read_parquet(file) for file in files if file.name != "subset_predictions.parquet"]
    assert len(tables) == 6
    computed = sum(table.select_dtypes("number").size for table in tables)
    counts = len(list(leaves({key: value for key, value in facts_of(run).items() if key in COUNTED})))
    assert found.numbers == len(pd.read_parquet(run / "results.parquet")) + computed + counts
    assert found.text.endswith("2 cells and the report computed again: all as written.")


def test_a_flipped_bit_in_any_file_is_found(finished: Path, run: Path) -> None:
    rng = np.random.default_rng(0)
    every = [path for path in sorted(finished.rglob("*")) if path.is_file() and path.name not in (".lock", "log.txt")]
    files = list({path.name: path for path in every}.values())  # one of each kind; the slow test flips bits of all
    assert {"model.json", DIGESTS, DONE, "report.html", "environment.json"} <= {file.name for file in files}
    alone = [[file] for file in files if file.name in (DIGESTS, DONE, "plan.json")]  # without these less is compared
    for group in [*alone, [file for file in files if [file] not in alone]]:
        names = {str(file.relative_to(finished)) for file in group}
        for name in names:
            flip(run / name, int(rng.integers(2**40)))
        assert names <= {fault.file for fault in verify_run(run).faults}
        for name in names:
            shutil.copy2(finished / name, run / name)
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
    cell = first_cell(run)
    scores = pd.read_parquet(cell / "scores.parquet")
    wanted = (scores["split"] == "test") & (scores["metric"] == "auroc")
    scores.loc[wanted, column] += 0.01
    write_parquet(cell / "scores.parquet", scores)
    seal(cell)
    faults = verify_run(run).faults
    assert any(said in fault.what and fault.file.endswith("scores.parquet") for fault in faults)
    assert any(fault.file == "results.parquet" and "not the table of the cells" in fault.what for fault in faults)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("subsets.parquet", "value"), ("subsets.parquet", "ci_low"), ("subsets.parquet", "n_without"),
        ("shapley.parquet", "value"), ("shapley.parquet", "ci_high"), ("shapley.parquet", "n_with"),
        ("subset_predictions.parquet", "p_ill"),
    ],
)  # fmt: skip
def test_what_a_subset_scores_or_brings_is_computed_again(run: Path, name: str, column: str) -> None:
    cell = first_cell(run)
    change(cell / name, column)
    seal(cell)
    assert verify_run(run).faults
    assert all(fault.file.startswith(f"cells/{cell.name}/s") for fault in verify_run(run).faults)


def test_subsets_without_their_predictions_are_a_fault(run: Path) -> None:
    cell = first_cell(run)
    (cell / "subset_predictions.parquet").unlink()
    seal(cell)
    (fault,) = verify_run(run).faults
    assert "cannot be computed again" in fault.what


@pytest.mark.parametrize(
    "column", ["readable", "readable_low", "label_high", "strongest_value", "p_holm", "n_patients"]
)
def test_shortcuts_are_computed_again_from_their_probes(run: Path, column: str) -> None:
    file = min((run / "cohorts" / "discs" / "shortcuts").glob("*.parquet"))
    change(file, column)
    record_digests(run, only=[(name := file.relative_to(run).as_posix())])
    assert [fault.file for fault in verify_run(run).faults] == [name]


def test_what_the_probes_said_decides_the_shortcuts(run: Path) -> None:
    file = min((run / "cohorts" / "discs" / "shortcuts" / "answers").glob("*.parquet"))
    change(file, "logit_0", by=9.0)
    record_digests(run, only=[file.relative_to(run).as_posix()])
    assert [fault.file for fault in verify_run(run).faults] == [f"cohorts/discs/shortcuts/{file.name}"]


@pytest.mark.parametrize("key", ["n_patients", "splits.test.labelled", "splits.test.missing.b", "sites.home"])
def test_counts_of_a_cohort_are_taken_again(run: Path, key: str) -> None:
    facts = facts_of(run)
    *outer, last = key.split(".")
    place = facts
    for one in outer:
        place = place[one]
    place[last] += 1
    write_json(run / "cohorts" / "discs" / "cohort.json", facts)
    record_digests(run, only=["cohorts/discs/cohort.json"])
    (fault,) = verify_run(run).faults
    assert fault.what.startswith(f"{key}: not what cases.parquet gives")


@pytest.mark.parametrize("column", ["patient", "truth", "split"])
def test_predictions_are_of_the_cases_of_the_cohort(run: Path, column: str) -> None:
    """Where somebody has exchanged two patients, or their truths, and written everything else to fit."""
    cell = first_cell(run)
    table = pd.read_parquet(cell / "predictions.parquet")
    table[column] = table[column].to_numpy()[::-1]
    write_parquet(cell / "predictions.parquet", table)
    seal(cell)
    assert any(fault.what == f"{column} is not that of cases.parquet" for fault in verify_run(run).faults)


def test_every_file_of_an_export_is_written_again(run: Path, tmp_path: Path) -> None:
    export_report(run, tmp_path / "paper")
    assert verify_run(run, tmp_path / "paper").faults == ()
    texts = [
        file for file in (tmp_path / "paper").rglob("*") if file.suffix in (".csv", ".md", ".tex", ".svg", ".json")
    ]
    assert {file.parent.name for file in texts} == {"paper", "tables", "figures", "checklists"}
    for file in texts:
        text = file.read_text()
        digit = next(place for place, letter in reversed(list(enumerate(text))) if letter.isdigit())
        file.write_text(f"{text[:digit]}{(int(text[digit]) + 1) % 10}{text[digit + 1 :]}")
    changed = {fault.file for fault in verify_run(run, tmp_path / "paper").faults}
    assert changed == {str(file) for file in texts}
    with pytest.raises(UsageError, match="is no folder; expected that of `radapt report RUN --export`"):
        verify_run(run, tmp_path / "none")


def change(file: Path, column: str, by: float = 0.01) -> None:
    """Another number in the first row of a table that has one."""
    table = pd.read_parquet(file)
    row = table[column].notna().idxmax()
    table.loc[row, column] += 1 if pd.api.types.is_integer_dtype(table[column]) else by
    write_parquet(file, table)


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


@pytest.mark.slow
def test_a_page_without_images_is_as_it_was_written(run: Path) -> None:
    write_report(run, images=False)
    assert verify_run(run).faults == ()


def test_a_report_of_another_version_is_not_computed_again(run: Path) -> None:
    stored = json.loads((run / "summary.json").read_text()) | {"radapt": "0.1.0"}
    write_json(run / "summary.json", stored)
    record_digests(run, only=["summary.json"])
    found = verify_run(run)
    assert found.faults == ()
    assert not found.report
    assert "The report is of radapt 0.1.0; this is" in found.text


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
