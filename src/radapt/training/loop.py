"""The training loop: `train` trains every network of radapt."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from radapt.devices import check_count, pick_device
from radapt.errors import UsageError
from radapt.progress import ProgressMaker, silent
from radapt.trackers import Tracking, tracked_training
from radapt.training.checkpoint import Checkpoint
from radapt.training.config import TrainConfig
from radapt.training.groups import count_parameters
from radapt.training.memory import PeakMemory
from radapt.training.processes import on_several
from radapt.training.result import TrainResult
from radapt.training.state import restore
from radapt.training.step_numbers import step_numbers
from radapt.training.task import Task
from radapt.training.training_run import TrainingRun

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(
    task: Task,
    config: TrainConfig,
    *,
    seed: int,
    device: str = "cpu",
    devices: int = 1,
    checkpoint: Path | None = None,
    interval_s: float = 300.0,
    progress: ProgressMaker = silent,
    label: str = "training",
) -> TrainResult:
    """Train the module of a task; it ends with the weights of the best validation score, on the device, in eval mode.

    Equal seeds give equal weights on one kind of machine. The sample order, the seeds of samples and torch's own random
    numbers (dropout) are derived from `seed`, epoch and position; the random state of the caller does not change.
    Gradients do not depend on gradient accumulation or the number of devices, except through layers that look across
    samples (BatchNorm) and dropout. A resumed run gives the same weights bit for bit.

    With a path, `checkpoint` is written about every `interval_s` seconds and at the end. A later call resumes from it,
    even within an epoch; if training had finished, it only returns the result. Remove the file when it is no longer
    needed. When memory runs out, the batch is split in halves (see the notes of the result).

    `devices` > 1 starts one process per device on this machine (NCCL on GPUs, gloo on a CPU): the task and `progress`
    must be picklable, and a script needs `if __name__ == "__main__":`. `batch` stays the total over all devices.

    When the task reports a reason to stop (see `Task.check`), training ends and returns to the last good state: the
    result's `stopped` and `notes` say why. Inside `radapt.trackers.tracking` every step is tracked.

    Raises DataError without samples; DivergedError when the loss or the gradient is not finite, naming the samples of
    the batch; UsageError when nothing is trained, one sample does not fit in memory, there are fewer devices, or the
    task cannot be pickled.
    """
    from radapt.training.fabric import make_fabric

    target = torch.device(pick_device(device))
    check_count(target.type, devices)
    if count_parameters(task.module)[0] == 0:
        raise UsageError("There is nothing to train: no parameter of the module has requires_grad.")
    fabric = make_fabric(target, devices, config.precision)
    arguments = (task, config, seed, checkpoint, interval_s, progress, label, tracked_training(checkpoint, label))
    if devices == 1:
        fabric.launch()
        return _work(fabric, *arguments)[0]
    task.module.cpu()
    trained, weights = on_several(fabric, _work, *arguments)
    restore(task, weights)
    task.module.to(target).eval()
    return trained


def _work(
    fabric: "Fabric",
    task: Task,
    config: TrainConfig,
    seed: int,
    checkpoint: Path | None,
    interval_s: float,
    progress: ProgressMaker,
    label: str,
    tracked: Tracking | None,
) -> tuple[TrainResult, Task]:
    """The work of one process."""
    cuda = [fabric.device.index or 0] if fabric.device.type == "cuda" else []
    with PeakMemory(fabric.device) as memory, torch.random.fork_rng(devices=cuda):
        task.module.to(fabric.device)
        run = TrainingRun(fabric, task, config, seed, memory)
        first = fabric.global_rank == 0
        file = Checkpoint(checkpoint, interval_s, task, config, seed=seed)
        run.state = file.read(run.optimiser, run.state)
        with (
            (progress if first else silent)(run.total, label, "steps") as advance,
            step_numbers(run, tracked if first else None) as numbers,
        ):
            advance(run.state.step)
            for _ in run.steps():
                advance(1)
                numbers.step()
                if first and file.due:
                    numbers.flush()
                    file.write(run.optimiser, run.now())
        if not run.was_over:
            run.now()
            if first:
                file.write(run.optimiser, run.state)
    return run.result(), task
