"""MLflow and Weights & Biases, read back by themselves or from their files. Their imports take seconds."""

import struct
from pathlib import Path
from typing import Any

import pytest

from radapt.trackers import tracking
from radapt.training import train
from radapt.training.checkpoint import Checkpoint
from toy_task import ToyTask, config, same, weights

pytestmark = pytest.mark.slow
STEPS = 20


class Killed(BaseException):
    """As a signal: nothing catches it."""


def killed_and_resumed(place: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with a checkpoint after step 3 and a kill after step 7, then to the end, with results; and compare."""
    turns = iter([step == 3 for step in range(1, STEPS + 1)])

    def before_loss(count: int, batch: Any) -> None:
        if count == 7:
            raise Killed

    def tracked(task: ToyTask) -> None:
        with tracking([place], "cell", "a cell", folder, {"cohort": "toy"}) as run:
            train(task, config(), seed=3, checkpoint=folder / "checkpoints" / "0.pt", label="toy")
            assert run is not None
            run.results({"test/auroc": 0.75, "test/mcc": float("nan")})

    first, last, plain = ToyTask(), ToyTask(), ToyTask()
    first.before_loss = before_loss
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoint, "due", property(lambda _: next(turns)))
        tracked(first)
    tracked(last)
    train(plain, config(), seed=3)
    assert same(weights(last), weights(plain))


@pytest.mark.parametrize("kind", ["folder", "uri"])
def test_mlflow_has_a_training_and_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    where = {"folder": str(tmp_path / "ml"), "uri": f"file://{tmp_path / 'ml'}"}[kind]
    killed_and_resumed(f"mlflow:{where}", tmp_path, monkeypatch)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"file://{tmp_path / 'ml'}")
    experiment = client.get_experiment_by_name("radapt")
    assert experiment is not None
    runs = {run.data.tags["radapt.run"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"cell", "cell/0"}
    loss = client.get_metric_history(runs["cell/0"].info.run_id, "loss")
    assert sorted(each.step for each in loss) == list(range(1, STEPS + 1))
    assert runs["cell/0"].info.status == "FINISHED"
    assert runs["cell"].data.metrics == {"test/auroc": 0.75}
    assert runs["cell"].data.params == {"cohort": "toy"}


def test_wandb_is_offline_and_holds_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nothing listens there
    killed_and_resumed(f"wandb:{tmp_path / 'wb'}", tmp_path, monkeypatch)
    from wandb.proto.wandb_internal_pb2 import Record

    steps: dict[str, list[int]] = {}
    for path in (tmp_path / "wb" / "wandb").glob("offline-run-*/*.wandb"):
        for data in log_records(path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            for item in record.history.item:
                name = item.key or "/".join(item.nested_key)
                steps.setdefault(name, []).append(record.history.step.num)
    assert sorted(steps["loss"]) == list(range(1, STEPS + 1))
    assert steps["test/auroc"] == [0]


def log_records(data: bytes) -> list[bytes]:
    """The records of a LevelDB log with a header of 7 bytes: blocks of 32 KiB, pieces of crc, length and type."""
    found, at, piece = [], 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        piece += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(piece)
            piece = b""
    return found
