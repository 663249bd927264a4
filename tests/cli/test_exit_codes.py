"""Exit codes and messages of the command line: one paragraph, no traceback, the right number."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from radapt import __version__
from radapt.cli import main


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = ["case,patient,image,label,split"]
    for index in range(12):
        np.save(tmp_path / f"{index}.npy", rng.random((12, 12), dtype=np.float32))
        rows.append(f"c{index},p{index},{index}.npy,{index % 2},{['train', 'val', 'test'][index // 2 % 3]}")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "cohort.yaml").write_text("name: toy\nkind: other\ncases: cases.csv\n")
    return tmp_path / "cohort.yaml"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out.strip() == f"radapt {__version__}"


def test_check_of_a_clean_cohort(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tmp_path / "found.json"
    assert call("check", cohort, "--json", found, "--cache", tmp_path / "cache") == 0
    assert "0 errors" in capsys.readouterr().out
    assert json.loads(found.read_text())["findings"] == []


def test_check_of_a_broken_cohort(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "3.npy").write_bytes(b"")
    assert call("check", cohort, "--cache", tmp_path / "cache") == 1
    assert "3.npy" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["check", "run", "report"])
def test_a_file_that_is_not_there(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(verb, tmp_path / "gone.yaml") == 2
    said = capsys.readouterr().err
    assert "gone.yaml" in said
    assert "Traceback" not in said


def test_an_unknown_verb_and_an_unknown_option() -> None:
    assert call("chekc") == 2
    assert call("run", "--no-such-option") == 2


def test_a_study_with_a_cohort_that_has_errors(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cases.csv").write_text("case,image,label\nc0,0.npy,0\nc0,1.npy,1\n")
    study = tmp_path / "study.yaml"
    study.write_text("name: s\ncohorts: [cohort.yaml]\nbackbones: [dinov2-s]\nprotocols: [knn]\n")
    assert call("run", study, "--out", tmp_path / "run", "--cache", tmp_path / "cache", "--offline") == 1
    assert "'c0' is also in row 2" in capsys.readouterr().err
    assert call("run", study, "--plan", "--cache", tmp_path / "cache", "--offline") == 1


@pytest.mark.parametrize("options", [("check", "--json"), ("embed", "--backbone", "timm:test_vit", "--out")])
def test_an_output_that_cannot_be_written(
    options: tuple[str, ...], cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    verb, *rest = options
    more = ["--weights", "random", "--size", "32"] if verb == "embed" else []
    assert call(verb, cohort, *more, "--cache", tmp_path / "cache", *rest, tmp_path / "file" / "x") == 2
    assert "cannot be" in capsys.readouterr().err


def test_a_command_that_is_stopped_says_how_it_goes_on(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("radapt.doctor.check_cohort", stop)
    assert call("check", cohort) == 130
    assert "the same command resumes it" in capsys.readouterr().err


def test_debug_shows_the_traceback_and_its_absence_hides_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "radapt", "run", str(tmp_path / "gone.yaml")]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert plain.returncode == 2


@pytest.mark.parametrize("verb", ["demo", "scan", "check", "backbones", "embed", "adapt", "run", "report"])
def test_every_verb_of_the_contract_is_there(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(verb, "--help") == 0
    assert f"radapt {verb}" in capsys.readouterr().out
