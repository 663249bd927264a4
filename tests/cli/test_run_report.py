"""The end of a run: its report is written again only if something has changed, and the run starts quickly."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from radapt.cli import main
from radapt.studies import Ledger
from toy_study import write_cohort, write_study

NANO = [{"name": "nano", "as": "vit-nano", "weights": "random", "dtype": "float32"}]
PROTOCOLS = ["knn", {"mmdino": {"trained": "lora", "global_size": 32, "local_size": 16}}]
HEAVY = ("timm", "torchvision", "torch._dynamo", "monai", "sklearn", "scipy.stats", "transformers", "jinja2", "sympy")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The arguments of a study that is run but for its adaptation."""
    tmp_path = tmp_path_factory.mktemp("study")
    study = write_study(tmp_path, [write_cohort(tmp_path, patients=24)], backbones=NANO, protocols=PROTOCOLS)
    arguments = ["run", study, "--out", tmp_path / "run", "--cache", tmp_path / "cache", "--cells", "knn"]
    run(given := list(map(str, arguments)))
    return given


def run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def test_a_run_with_nothing_to_do_imports_no_heavy_library(given: list[str]) -> None:
    """In particular, no network is built to see that a protocol supports an encoder, and no report is written."""
    code = (
        "import sys, atexit; from radapt.cli import main\n"
        f"atexit.register(lambda: print([name for name in {HEAVY!r} if name in sys.modules]))\n"
        f"main({given!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "0 cells finished now, 1 finished earlier" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_the_same_is_printed_without_a_new_report(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    report = Path(given[3]) / "report.html"
    written = report.stat().st_mtime_ns
    run(given)
    kept = capsys.readouterr().out
    assert report.stat().st_mtime_ns == written
    shutil.rmtree(Path(given[5]) / "reports")
    run(given)
    assert capsys.readouterr().out == kept
    assert "nano with knn" in kept
    assert report.stat().st_mtime_ns > written


def _changed_cell(folder: Path) -> None:
    Ledger(folder).log(next((folder / "cells").iterdir()).name, "a new line")


def _changed_report(folder: Path) -> None:
    (folder / "report.html").write_text("something else")


def _no_summary(folder: Path) -> None:
    (folder / "summary.json").unlink()


@pytest.mark.parametrize("change", [_changed_cell, _changed_report, _no_summary])
def test_a_change_of_the_run_folder_gives_a_new_report(given: list[str], change: Callable[[Path], None]) -> None:
    folder = Path(given[3])
    report, summary = ((folder / name).read_bytes() for name in ("report.html", "summary.json"))
    written = (folder / "report.html").stat().st_mtime_ns
    change(folder)
    run(given)
    assert (folder / "report.html").stat().st_mtime_ns > written
    assert (folder / "report.html").read_bytes() == report
    assert (folder / "summary.json").read_bytes() == summary


def test_a_damaged_note_of_the_report_is_not_believed(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (note,) = (Path(given[5]) / "reports").iterdir()
    note.write_text(note.read_text().replace("nano with knn", "nano with foo"))
    run(given)
    assert "foo" not in capsys.readouterr().out
