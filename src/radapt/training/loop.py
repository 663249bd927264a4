"""The one training loop: every network of radapt is trained by `train`."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from radapt.devices import check_count, pick_device
from radapt.errors import UsageError
from radapt.progress import ProgressMaker, silent
from radapt.training.checkpoint import Checkpoint
from radapt.training.config import TrainConfig
from radapt.training.groups import count_parameters
from radapt.training.memory import PeakMemory
from radapt.training.processes import on_several
from radapt.training.result import TrainResult
from radapt.training.state import restore
from radapt.training.task import Task
from radapt.training.training_run import TrainingRun

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(
    task: Task,
    regime: TrainConfig,
    *,
    seed: int,
    device: str = "cpu",
    devices: int = 1,
    checkpoint: Path | None = None,
    interval_s: float = 300.0,
    progress: ProgressMaker = silent,
    label: str = "training",
) -> TrainResult:
    """Train the module of a task, and leave it with the weights that were best on val, on the device, in eval mode.

    Equal seeds give equal weights on one kind of machine. Order, the seeds of samples and torch's own random numbers
    (dropout) are derived from `seed`, epoch and position; the random state of the caller is as before. Cutting
    batches smaller, other numbers of devices and going on after a kill give the same gradients, the last one the
    same bits; only layers that look across samples (BatchNorm) and dropout notice how batches are cut.

    With a path, `checkpoint` is written about every `interval_s` seconds and at the end; a later call goes on from
    it in the middle of an epoch, and does nothing more if training was over. Remove it when it is no longer
    needed. Where memory runs out, the batch goes through in halves of its size (see the notes of the result).

    `devices` > 1 starts so many processes on this machine (GPUs, or on a CPU gloo): the task and `progress` must be
    picklable, and a script needs its `if __name__ == "__main__":`. `batch` stays the number of samples
    over all of them.

    Where the task says that its health is lost (see `Task.check`), training stops there and goes back to the last state
    that was good: the result's `stopped` and `notes` say why.

    Raises DataError where there are no samples, and DivergedError where the loss or the gradient is not finite, naming
    the samples of the batch; UsageError where nothing is trained, one sample does not fit in memory, there are fewer
    devices, the task cannot be sent to processes, or 3D convolutions are to be trained in bfloat16 on a CPU.
    """
    from radapt.training.fabric import make_fabric

    chosen = torch.device(pick_device(device))
    check_count(chosen.type, devices)
    if count_parameters(task.module)[0] == 0:
        raise UsageError("There is nothing to train: no parameter of the module has requires_grad.")
    _check_precision(task.module, regime, chosen)
    fabric = make_fabric(chosen, devices, regime.precision)
    given = (task, regime, seed, checkpoint, interval_s, progress, label)
    if devices == 1:
        fabric.launch()
        return _work(fabric, *given)[0]
    task.module.cpu()
    trained, weights = on_several(fabric, _work, *given)
    restore(task, weights)
    task.module.to(chosen).eval()
    return trained


def _check_precision(module: nn.Module, regime: TrainConfig, device: torch.device) -> None:
    # torch 2.14 on CPUs with AVX-512 BF16: at some sizes the weight gradient is never written. It then holds whatever
    # was in memory, differs from run to run and is at times not finite.
    if regime.precision != "bfloat16" or device.type != "cpu":
        return
    if any(isinstance(part, nn.Conv3d | nn.ConvTranspose3d) for part in module.modules()):
        raise UsageError(
            "On a CPU, torch computes wrong gradients of 3D convolutions in bfloat16. Train with precision float32."
        )


def _work(
    fabric: "Fabric",
    task: Task,
    regime: TrainConfig,
    seed: int,
    checkpoint: Path | None,
    interval_s: float,
    progress: ProgressMaker,
    label: str,
) -> tuple[TrainResult, Task]:
    """What each process does."""
    cuda = [fabric.device.index or 0] if fabric.device.type == "cuda" else []
    with PeakMemory(fabric.device) as memory, torch.random.fork_rng(devices=cuda):
        task.module.to(fabric.device)
        course = TrainingRun(fabric, task, regime, seed, memory)
        first = fabric.global_rank == 0
        file = Checkpoint(checkpoint, interval_s, task, regime, seed=seed)
        course.state = file.read(course.optimiser, course.state)
        with (progress if first else silent)(course.total, label, "steps") as advance:
            advance(course.state.step)
            for _ in course.steps():
                advance(1)
                if first and file.due:
                    file.write(course.optimiser, course.now())
        if not course.was_over:
            course.now()
            if first:
                file.write(course.optimiser, course.state)
    return course.result(), task
