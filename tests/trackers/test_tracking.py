"""What trackers receive: every step once, also after a kill, and nothing of it changes a number."""

import csv
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from radapt.cli import app
from radapt.errors import UsageError
from radapt.trackers import Where, tracking
from radapt.trackers.csv_run import CsvRun
from radapt.trackers.tracking import Tracking
from radapt.training import train
from radapt.training.checkpoint import Checkpoint
from radapt.training.prefetch import Part, cut
from toy_study import write_cohort, write_study
from toy_task import ToyTask, config, records, same, weights

STEPS = 20
KINDS = ("csv", "tensorboard")
Numbers = dict[str, dict[int, float]]


class Killed(BaseException):
    """As a signal: nothing catches it."""


def read_csv(folder: Path) -> Numbers:
    """{name: {step: value}} of the only file; a step that stands there twice is an error."""
    (path,) = folder.rglob("*.csv")
    found: Numbers = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            assert found.setdefault(row["name"], {}).setdefault(int(row["step"]), float(row["value"])) is not None
    with path.open(newline="") as file:
        assert max(Counter((row["name"], row["step"]) for row in csv.DictReader(file)).values()) == 1
    return found


def read_tensorboard(folder: Path) -> Numbers:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (place,) = {path.parent for path in folder.rglob("events.out.*")}
    events = EventAccumulator(str(place), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    events.Reload()
    found = {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert all(len(values) == len(dict(values)) for values in found.values())
    return {name: dict(values) for name, values in found.items()}


READ = {"csv": read_csv, "tensorboard": read_tensorboard}


def tracked(folder: Path, kind: str, task: ToyTask, checkpoint: Path | None = None) -> Any:
    with tracking([f"{kind}:{folder}"], "cell", "a cell", folder.parent, {"cohort": "toy"}):
        return train(task, config(), seed=3, checkpoint=checkpoint, label="toy")


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_there_and_the_training_is_the_same(tmp_path: Path, kind: str) -> None:
    if kind != "csv":
        pytest.importorskip(kind, reason=f"{kind} is not installed")
    plain, watched = ToyTask(), ToyTask()
    expected = train(plain, config(), seed=3)
    result = tracked(tmp_path / kind, kind, watched)
    assert same(weights(plain), weights(watched))
    assert records(result.history) == records(expected.history)
    found = READ[kind](tmp_path / kind)
    assert list(found["loss"]) == list(found["lr"]) == list(found["gradient_norm"]) == list(range(1, STEPS + 1))
    assert list(found["epoch/score"]) == [entry["step"] for entry in expected.history]
    assert found["epoch/score"][STEPS] == pytest.approx(expected.history[-1]["score"])
    order = np.arange(23)
    sizes = [len(part.indices) for part in cut(Part(0, 0, 23, order, order), 5)]
    mean = sum(found["loss"][step] * size for step, size in enumerate(sizes, start=1)) / 23
    assert found["epoch/loss"][5] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("stored", "lost"), [(3, 7), (5, 6), (0, 4)])
def test_a_killed_training_writes_no_step_twice(
    tmp_path: Path, kind: str, stored: int, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint after `stored` steps, a kill before step `lost` + 1, and the same call again."""
    if kind != "csv":
        pytest.importorskip(kind, reason=f"{kind} is not installed")
    whole = READ[kind](_whole(tmp_path, kind))
    turns = iter([step == stored for step in range(1, STEPS + 1)])

    def before_loss(count: int, batch: Any) -> None:
        if count == lost:
            raise Killed

    task, again = ToyTask(), ToyTask()
    task.before_loss = before_loss
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoint, "due", property(lambda _: next(turns)))
        tracked(tmp_path / "killed" / kind, kind, task, tmp_path / "killed" / "checkpoints" / "0.pt")
    tracked(tmp_path / "killed" / kind, kind, again, tmp_path / "killed" / "checkpoints" / "0.pt")
    assert READ[kind](tmp_path / "killed" / kind) == whole
    tracked(tmp_path / "killed" / kind, kind, ToyTask(), tmp_path / "killed" / "checkpoints" / "0.pt")
    assert READ[kind](tmp_path / "killed" / kind) == whole, "a finished training adds nothing"


def _whole(folder: Path, kind: str) -> Path:
    tracked(folder / "whole" / kind, kind, ToyTask(), folder / "whole" / "checkpoints" / "0.pt")
    return folder / "whole" / kind


def test_a_line_that_a_kill_cut_off_is_written_again(tmp_path: Path) -> None:
    run = CsvRun(tmp_path, "a/b", "title")
    run.log(1, {"loss": 0.5, "undefined": float("nan")})
    run.log(2, {"loss": 0.25})
    run.close()
    path = tmp_path / "a" / "b.csv"
    path.write_text(path.read_text()[:-4])
    again = CsvRun(tmp_path, "a/b", "title")
    again.log(1, {"loss": 7.0})
    again.log(2, {"loss": 0.25})
    again.close()
    assert path.read_text() == "step,name,value\n1,loss,0.5\n2,loss,0.25\n"


def test_trainings_are_named_by_their_checkpoints() -> None:
    root = Path("/run/cells/abc")
    run = Tracking((), "abc", "lgg × vit", root)
    key = "0123456789abcdef" * 2
    one = run.training(root / "folds" / "TCGA CS" / "checkpoints" / key / "0.pt", "lora, learning rate 0.001")
    assert (one.run, one.title) == ("abc/TCGA-CS-01234567-0", "lgg × vit: lora, learning rate 0.001")
    assert run.training(Path("/elsewhere/x.pt"), "x").run == "abc/x"
    assert run.training(None, "mil").run.startswith("abc/mil-2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tensorboard", "expected KIND:FOLDER"),
        ("tensorbord:x", "Did you mean 'tensorboard'"),
        ("csv:https://example.org", "writes to a folder of this machine"),
        ("csv:{file}", "is a file; expected a folder"),
    ],
)
def test_what_is_no_tracker_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=says):
        Where.of(text.format(file=tmp_path / "file"))


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.trackers.where.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'radapt\[wandb\]'"):
        Where.of("wandb:x")
    assert str(Where.of("csv:x", Path("/base"))) == "csv:/base/x"


def test_a_tracker_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: CsvRun, step: int, numbers: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CsvRun, "_write", full)
    task, plain = ToyTask(), ToyTask()
    train(plain, config(), seed=3)
    with caplog.at_level(logging.WARNING):
        tracked(tmp_path / "csv", "csv", task)
    assert same(weights(task), weights(plain))
    (said,) = [record.getMessage() for record in caplog.records if "Tracker" in record.getMessage()]
    assert "is left out from here: OSError" in said


def test_a_study_has_results_in_its_trackers_and_the_same_numbers(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "discs", patients=24)
    vit = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]
    tables = []
    for name, changes, more in (("plain", {}, []), ("watched", {"track": ["csv:numbers"]}, ["--track", "csv:{}/cli"])):
        (tmp_path / name).mkdir()
        study = write_study(tmp_path / name, [cohort], backbones=vit, protocols=["knn"], **changes)
        words = ["run", study, "--out", tmp_path / name / "run", "--cache", tmp_path / "cache", "--offline"]
        words += [word.format(tmp_path / name) for word in more]
        done = CliRunner().invoke(app, list(map(str, words)))
        assert done.exit_code == 0, done.output
        tables.append(pd.read_parquet(tmp_path / name / "run" / "results.parquet"))
    unequal = ["seconds", "peak_memory_mb", "minutes"]
    pd.testing.assert_frame_equal(*(table.drop(columns=unequal) for table in tables))
    test = tables[0].query("split == 'test' and metric == 'auroc'").iloc[0]
    for place in ("numbers", "cli"):
        found = read_csv(tmp_path / "watched" / place)
        assert found["test/auroc"] == {0: test["value"]}
        assert found["elsewhere/mcc_ci_low"].keys() == {0}
