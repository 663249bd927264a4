"""The part of a study that fits into a time, by costs that can be added by hand."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from radapt.cli import main
from radapt.errors import UsageError
from radapt.studies import Settings, Study, choose, parse_time, plan_study, read_study
from radapt.studies.costs import GroupCost
from radapt.studies.costs.estimate import CellCost
from radapt.studies.costs.pilots import GroupPilot
from toy_study import write_cohort, write_study

NANO = [{"name": "nano", "as": "vit-nano", "weights": "random", "dtype": "float32"}]
CURVE = {"fewshot": {"protocol": "knn", "shots": [1], "repeats": 4}, "title": "curve"}
SECONDS = {"knn": 1.0, "curve": 2.0, "lora": 100.0}
"""Of a cell; encoding takes 20 s. With two seeds and four repeats 2 + 16 + 200 + 20 = 238 s."""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    cohort = write_cohort(folder, patients=24)
    return write_study(folder, [cohort], backbones=NANO, protocols=["knn", CURVE, "lora"], seeds=[0, 1])


def costs(study: Study, cache: Path, seconds: Mapping[str, float] = SECONDS) -> list[GroupCost]:
    plan = plan_study(study, Settings(cache=cache, offline=True))
    known = {cell.id: CellCost(seconds[cell.job.entry.label], 0) for cell in plan.cells}
    return [GroupCost(plan.cells, GroupPilot(1.0, 20.0, 0.0, planes=5.0), known)]


def extent(study: Study) -> tuple[list[str], int, int, int]:
    """Titles of protocols, every how many slices, seeds, repeats of the learning curve."""
    curve = next((entry for entry in study.protocols if entry.name == "fewshot"), None)
    repeats = curve.options["repeats"] if curve else 0
    return [entry.label for entry in study.protocols], study.image.slices.every, len(study.seeds), repeats


ALL = ["knn", "curve", "lora"]


@pytest.mark.parametrize(
    ("time", "taken", "expected"),
    [
        (300, 238, (ALL, 1, 2, 4)),
        (262, 234, (ALL, 1, 2, 3)),  # a repeat goes first
        (250, 129, (ALL, 1, 1, 4)),  # then a seed: 2 + 4 + 200 + 20 s with one repeat are too long
        (120, 69, (ALL, 2, 1, 4)),  # then half of the slices: 1 + 8 + 50 + 10
        (40, 35, (ALL, 4, 1, 2)),  # a quarter: 1 + 4 + 25 + 5
        (30, 26, (["knn", "curve"], 1, 2, 1)),  # then the dearest protocol
        (20, 16, (["knn", "curve"], 2, 2, 1)),
    ],
)
def test_as_little_as_needed_is_left_out(
    toy: Path, tmp_path: Path, time: float, taken: float, expected: tuple[list[str], int, int, int]
) -> None:
    study = read_study(toy)
    choice = choose(study, costs(study, tmp_path), time)
    assert extent(choice.study) == expected
    assert choice.seconds == pytest.approx(taken)
    said = " ".join(choice.dropped)
    assert ("lora" in said) == ("lora" not in expected[0])
    assert ("slices" in said) == (expected[1] > 1)
    assert ("seeds: 1 of 2" in said) == (expected[2] == 1)


def test_the_least_that_would_do_is_named(toy: Path, tmp_path: Path) -> None:
    study = read_study(toy)
    with pytest.raises(UsageError, match=r"least that would do is 6\.7 s"):  # (1 + 20 / 4) / 0.9
        choose(study, costs(study, tmp_path), 5)


def test_a_part_has_cells_of_the_whole(toy: Path, tmp_path: Path) -> None:
    study, settings = read_study(toy), Settings(cache=tmp_path, offline=True)
    part = choose(study, costs(study, tmp_path), 262).study
    ids = {cell.id for cell in plan_study(study, settings).cells}
    assert {cell.id for cell in plan_study(part, settings).cells} < ids


@pytest.mark.parametrize(("text", "seconds"), [("8h", 28800), ("1.5h", 5400), ("90min", 5400), ("45s", 45)])
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["8", "h", "-1h", "nanh", "8 days", "infs"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a time with its unit"):
        parse_time(text)


def test_shards_run_what_was_chosen_once(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(plan: object, ledger: object, settings: Settings) -> list[GroupCost]:
        return costs(read_study(toy), settings.cache)

    monkeypatch.setattr("radapt.studies.costs.fitted.estimate", measured)
    words = ["run", str(toy), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache"), "--fit", "20s"]
    for shard in ("1/2", "2/2"):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--shard", shard])
        assert ended.value.code == 0
        assert "left out: lora: " in capsys.readouterr().out
        monkeypatch.setattr("radapt.studies.costs.fitted.estimate", lambda *_: pytest.fail("measured again"))
    chosen = read_study(tmp_path / "run" / "fitted.yaml")
    assert extent(chosen) == (["knn", "curve"], 2, 2, 1)
    assert (tmp_path / "run" / "study.yaml").read_text() == chosen.resolved()
