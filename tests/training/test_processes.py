"""Two processes give what one gives, and fail together."""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from radapt.errors import DataError, UsageError
from radapt.training import train
from radapt.training.processes import on_several
from toy_task import ToyTask, config, weights


class Two(ToyTask):
    """Without dropout, whose masks depend on the batch; the second layer is used for some samples only.

    In one process memory runs out for more than two samples, and a label is not finite where one is asked for.
    """

    def __init__(self, broken: int | None = None) -> None:
        super().__init__(9, dropout=0.0)
        self.before_loss = None  # type: ignore[assignment]
        if broken is not None:
            self.y[broken] = torch.nan

    def loss(self, batch: dict[str, Tensor], seeds: np.ndarray) -> Tensor:
        if os.environ.get("LOCAL_RANK") == "0" and len(batch["x"]) > 2:
            raise torch.OutOfMemoryError("out of memory")
        hidden = self.module[:3](batch["x"])
        rows = (batch["x"][:, 0] > 0).nonzero()[:, 0]
        answer = hidden.sum(1, keepdim=True) * 0.1
        if len(rows):
            answer = answer.index_add(0, rows, self.module[3](hidden[rows]))
        return (answer - batch["y"][0]).square().mean()


def test_two_processes_train_what_one_does() -> None:
    """Real processes and gloo, with batches that do not halve, a process out of memory, and unused parameters."""
    one, two = Two(), Two()
    made = config(batch=9, epochs=6)
    expected = train(one, made, seed=3)
    environment = dict(os.environ)  # importing Fabric, just now, has set a variable
    result = train(two, made, seed=3, devices=2)
    assert dict(os.environ) == environment
    first, second = weights(one), weights(two)
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-5
    assert result.score == pytest.approx(expected.score, rel=1e-5)
    assert [entry["loss"] for entry in result.history] == pytest.approx(
        [entry["loss"] for entry in expected.history], rel=1e-5
    )
    assert (result.steps, result.micro_batch, expected.micro_batch) == (6, 2, 9)
    assert result.notes == ["Parts of 4 samples did not fit in memory: 2 at a time."]
    assert not two.module.training


class Launcher:
    """Stands for Fabric, and fails as often as its port is taken."""

    world_size, global_rank = 2, 0

    def __init__(self, taken: int) -> None:
        self.ports, self.taken = [1], taken
        self.strategy = SimpleNamespace(cluster_environment=self)

    main_port = property(lambda self: self.ports[-1], lambda self, port: self.ports.append(port))

    def launch(self, function: Callable[..., None], *arguments: Any) -> None:
        if len(self.ports) <= self.taken:
            raise RuntimeError(f"The server socket has failed to bind to port {self.ports[-1]}. code: -98, EADDRINUSE")
        function(self, *arguments)


def done(fabric: Any, answer: str) -> tuple[str, ToyTask]:
    return answer, ToyTask()


def test_a_port_that_another_program_took_is_replaced() -> None:
    launcher = Launcher(taken=2)
    assert on_several(launcher, done, "done")[0] == "done"  # type: ignore[arg-type]
    assert len(set(launcher.ports)) == 3
    with pytest.raises(RuntimeError, match="EADDRINUSE"):
        on_several(Launcher(taken=9), done, "done")  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_and_names_the_case() -> None:
    with pytest.raises(DataError, match=r"The loss became nan at step \d.*case-4"):
        train(Two(broken=4), config(batch=9), seed=3, devices=2)


def test_less_than_one_device_is_refused() -> None:
    with pytest.raises(UsageError, match="0 devices of type cpu: expected 1"):
        train(ToyTask(), config(), seed=3, devices=0)


def test_a_task_that_cannot_be_sent_to_processes_is_an_error_with_what_to_do() -> None:
    task = ToyTask()
    task.before_loss = lambda count, batch: None
    with pytest.raises(UsageError, match=r"sends the task to other processes, and it cannot be sent .*lambda"):
        train(task, config(), seed=3, devices=2)
