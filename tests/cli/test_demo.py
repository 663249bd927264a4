"""The demo: the whole way on a few synthetic patients, what it compares, and what it refuses."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.backbones.catalog import card
from radapt.cli import main
from radapt.cli.demo.comparisons import comparisons
from radapt.cli.demo.study import (
    ADAPTED,
    CONVOLUTIONAL,
    ENCODERS,
    METRIC,
    PROBES,
    SPLIT,
    TRANSFORMER,
    study_text,
)
from radapt.cohorts.cohort import Case, Cohort
from radapt.locations import Location
from radapt.protocols import make
from radapt.studies import Settings, read_study


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_from_nothing_to_a_report_and_once_more_without_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADAPT_CACHE", str(tmp_path / "no-weights"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    few = ("demo", "--out", tmp_path / "demo", "--patients", 30, "--external", 12, "--slices", 2, "--size", 32)
    few = (*few, "--device", "cpu")
    assert call(*few) == 0
    said = capsys.readouterr().out
    assert "SYNTHETIC" in said
    assert "NO PRETRAINED ENCODER" in said
    lines = said.splitlines()
    (line,) = [line for line in lines if line.startswith(f"  {CONVOLUTIONAL}-random ")]
    assert line.count("[") == len(PROBES) + 1
    assert not any("Pretrained weights" in line for line in lines)
    (title,) = [at for at, line in enumerate(lines) if line.startswith("  All available sequences")]
    assert "12 patients" not in lines[title + 1]  # those only who have the sequence
    report = Path(said.strip().splitlines()[-1].removeprefix("Report: "))
    assert report == tmp_path / "demo" / "run" / "report.html"
    assert report.is_file()
    cells = int(re.search(r"(\d+) cells finished now", said)[1])  # type: ignore[index]
    assert cells > len(PROBES) + 1, "the controls are cells too"
    study = tmp_path / "demo" / "study.yaml"
    study.write_text(study.read_text().replace("- linear\n", ""))
    assert call(*few) == 0
    assert f"0 cells finished now, {cells - 1} finished earlier" in capsys.readouterr().out
    assert call(*few, "--seed", 1) == 2
    assert "Name another folder" in capsys.readouterr().err


def test_a_folder_with_something_else_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADAPT_CACHE", str(tmp_path / "no-weights"))
    out = tmp_path / "demo"
    mine = out / "patients" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep me")
    assert call("demo", "--out", out, "--offline") == 2
    shown = capsys.readouterr()
    assert "no phantom" in shown.err
    assert f"The weights of {ENCODERS[0]} are not on this machine" in shown.out
    assert sorted(out.rglob("*")) == [mine.parent, mine]


@pytest.mark.parametrize("pretrained", [ENCODERS, ENCODERS[:1], ENCODERS[1:], ()])
def test_the_study_adapts_frozen_encoders_beside_one_with_random_weights(
    tmp_path: Path, pretrained: tuple[str, ...]
) -> None:
    (tmp_path / "cohort.yaml").touch()
    (tmp_path / "study.yaml").write_text(study_text(tmp_path, 96, 5, pretrained))
    study = read_study(tmp_path / "study.yaml")
    names = tuple(entry.name for entry in study.backbones)
    assert names == (pretrained or (f"{CONVOLUTIONAL}-random",))
    assert [entry.weights == "random" for entry in study.backbones] == ([False] * len(pretrained) or [True])
    assert ("random-weights" in [entry.name for entry in study.controls]) == bool(pretrained)
    adapted = make("mmdino", **study.protocols[-1].options)
    suited = [entry.name for entry in study.backbones if adapted.suits(card(entry.architecture))]
    assert suited == ([TRANSFORMER] if TRANSFORMER in pretrained else list(names))
    assert study.protocols[-1].title == ADAPTED
    assert adapted.options.slices == study.image.slices.count
    assert adapted.options.settled(pretrained=True).trained == "fusion"
    assert tuple(entry.name for entry in study.protocols[:-1]) == PROBES


def _run(folder: Path, sure: dict[tuple[str, str], float]) -> tuple[Path, Cohort]:
    """A run whose cells, one for each (backbone, protocol), answer with the given probability for the right class."""
    classes = ("calm", "wild")
    cases = [
        Case(
            case=f"c{number}", patient=f"p{number}", split=SPLIT if number >= 4 else "train",
            images={"t1": Location(Path("x.nii"))}, label=number % 2,
        )
        for number in range(44)
    ]  # fmt: skip
    cohort = Cohort(name="toy", kind="mri", cases=tuple(cases), classes=classes, modalities=("t1",))
    rng, rows = np.random.default_rng(0), []
    for at, ((backbone, protocol), share) in enumerate(sure.items()):
        truth = np.array([case.label for case in cases[4:]])
        right = share + 0.1 * rng.standard_normal(len(truth))
        wild = np.where(truth == 1, right, 1 - right)
        names = [case.case for case in cases[4:]]
        table = {"case": names, "truth": [classes[value] for value in truth], "p_calm": 1 - wild, "p_wild": wild}
        (folder / "cells" / str(at)).mkdir(parents=True)
        shuffled = pd.DataFrame(table).sample(frac=1, random_state=at)
        shuffled.to_parquet(folder / "cells" / str(at) / "predictions.parquet")
        control = "random-weights" if backbone.endswith("(random weights)") else ""
        rows.append((backbone, protocol, SPLIT, METRIC, share, control, str(at)))
    columns = ["backbone", "protocol", "split", "metric", "value", "control", "cell"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "results.parquet")
    return folder, cohort


def test_methods_are_compared_on_the_same_patients_with_the_better_one_first(tmp_path: Path) -> None:
    sure = {
        ("net", "knn"): 0.7,
        ("net", "linear"): 0.6,
        ("net-2", "linear"): 0.65,
        ("net (random weights)", "linear"): 0.4,
    }
    run, cohort = _run(tmp_path, sure)
    found = comparisons(run, cohort, Settings(cache=tmp_path))
    assert list(found) == ["Pretrained weights against random ones"]  # nothing was adapted
    (row,) = found["Pretrained weights against random ones"]
    assert (row.better, row.worse) == (
        "net linear",
        "net (random weights) linear",
    )  # the same probe of the same network
    assert row.difference == pytest.approx(row.values[0] - row.values[1])
    assert 0 < row.interval[0] < row.difference < row.interval[1]
    assert row.patients == 40
    assert "includes 0" not in row.text


def test_a_difference_that_may_be_chance_is_called_that(tmp_path: Path) -> None:
    run, cohort = _run(tmp_path, {("net", "knn"): 0.5, ("net (random weights)", "knn"): 0.5})
    ((row,),) = comparisons(run, cohort, Settings(cache=tmp_path)).values()
    assert row.interval[0] < 0 < row.interval[1]
    assert row.text.endswith("the interval includes 0")
