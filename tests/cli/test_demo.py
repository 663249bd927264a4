"""The demo: the whole way on a few synthetic patients, and what it refuses."""

from pathlib import Path

import pytest

from radapt.cli import main
from radapt.cli.demo_study import ADAPTED, STEPS, SUPERVISED, study_text
from radapt.protocols import make
from radapt.studies import read_study


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_from_nothing_to_a_report_and_once_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ("demo", "--out", tmp_path / "demo", "--patients", 30, "--slices", 2, "--size", 32, "--steps", 2)
    few = (*few, "--device", "cpu")
    assert call(*few) == 0
    said = capsys.readouterr().out
    assert "SYNTHETIC" in said
    assert "RANDOM weights" in said
    lines = said.splitlines()
    for title in (ADAPTED, SUPERVISED):
        (line,) = [line for line in lines if line.startswith(f"  {title} ")]
        assert "one more sequence missing costs" in line
    report = Path(said.strip().splitlines()[-1].removeprefix("Report: "))
    assert report == tmp_path / "demo" / "run" / "report.html"
    assert report.is_file()
    assert "16 cells finished now" in said
    study = tmp_path / "demo" / "study.yaml"
    study.write_text(study.read_text().replace("- linear\n", ""))
    assert call(*few) == 0
    assert "0 cells finished now, 14 finished earlier" in capsys.readouterr().out
    assert call(*few, "--seed", 1) == 2
    assert "Name another folder" in capsys.readouterr().err


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "patients" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep me")
    assert call("demo", "--out", tmp_path) == 2
    assert "no phantom" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == [mine.parent, mine]


def test_both_adaptations_of_the_demo_learn_as_long_from_the_same_labels(tmp_path: Path) -> None:
    (tmp_path / "cohort.yaml").touch()
    (tmp_path / "study.yaml").write_text(study_text(tmp_path, 96, 10, STEPS))
    rows = {entry.title: entry.options for entry in read_study(tmp_path / "study.yaml").protocols if entry.title}
    assert set(rows) == {ADAPTED, SUPERVISED}
    made = {title: make("mmdino", **options["options"]) for title, options in rows.items()}
    assert rows[ADAPTED]["fractions"] == rows[SUPERVISED]["fractions"]
    for name in ("steps", "batch", "global_size", "slices"):
        assert getattr(made[ADAPTED].options, name) == getattr(made[SUPERVISED].options, name)
