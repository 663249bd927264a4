"""One process per device: starting them, adding up their gradients, failing together instead of waiting for ever."""

import contextlib
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from radapt.errors import RadaptError, UsageError
from radapt.training.state import copied
from radapt.training.task import Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_BUCKET = 2**24  # numbers that are added up at once: 64 MiB in float32
_TASK, _RESULT, _WEIGHTS = "task.pkl", "result.pkl", "weights.pt"
_LAUNCH_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK")


def on_several(fabric: "Fabric", work: Callable[..., tuple[Any, Task]], *given: Any) -> tuple[Any, dict[str, Tensor]]:
    """Call `work(fabric, *given)` in every process; what the first one returns, and a copy of what training
    changed in its task.

    `given` is pickled. An error that `work` raises on purpose, in all processes alike, is raised here.
    """
    try:
        # Pickled here: on its own way the module would be in memory that all processes share, and write to.
        packed = pickle.dumps(given)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"Training on several devices sends the task to other processes, and it cannot be sent ({reason}). Use a "
            "class at the top of a module, without open files and lambdas, or train on one device."
        ) from error
    # By files: processes that are given much are started one after the other, and Fabric would look through what they
    # return byte by byte. Only this user may read or write the folder, so that what is unpickled is what was put there.
    with tempfile.TemporaryDirectory(prefix="radapt-") as name, _environment_kept():
        folder = Path(name)
        (folder / _TASK).write_bytes(packed)
        del packed
        fabric.launch(_in_process, work, folder)
        result = pickle.loads((folder / _RESULT).read_bytes())
        if isinstance(result, RadaptError):
            raise result
        return result, torch.load(folder / _WEIGHTS, weights_only=True)


def _in_process(fabric: "Fabric", work: Callable[..., tuple[Any, Task]], folder: Path) -> None:
    """Leave what `work` returned in the first process, or its error, and what its task changed, in `folder`."""
    try:
        result, task = work(fabric, *pickle.loads((folder / _TASK).read_bytes()))
    except RadaptError as error:
        result = error
    else:
        if fabric.global_rank == 0:
            torch.save(copied(task), folder / _WEIGHTS)
    if fabric.global_rank == 0:
        (folder / _RESULT).write_bytes(pickle.dumps(result))


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """Fabric leaves its port in the environment, where the next launch would take it for the user's wish."""
    before = {name: os.environ.get(name) for name in _LAUNCH_VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def fail_together(fabric: "Fabric", failure: Exception | None) -> None:
    """Raise the failure of this process, or of the first one that has any, in all processes."""
    if fabric.world_size > 1:
        count = fabric.all_reduce(torch.tensor(float(failure is not None), device=fabric.device), reduce_op="sum")
        if not float(count):
            return
        failures: list[Exception | None] = [None] * fabric.world_size
        torch.distributed.all_gather_object(failures, _sendable(failure))
        failure = next(each for each in failures if each is not None)
    if failure is not None:
        raise failure


def _sendable(failure: Exception | None) -> Exception | None:
    if failure is None or isinstance(failure, RadaptError):
        return failure
    return RuntimeError("".join(traceback.format_exception(failure)))  # others may not survive pickling


def add_up(fabric: "Fabric", parameters: list[nn.Parameter], loss: float) -> float:
    """Replace gradients by their sums over processes, and return the sum of `loss`.

    A parameter that was used in one process only has no gradient in the others, and counts as zero there; one that
    no process used stays without. Fabric's wrapper for this would do it during the backward pass, but
    cannot start again when memory runs out in the middle of it.
    """
    if fabric.world_size == 1:
        return loss
    used = [float(each.grad is not None) for each in parameters]
    counts = fabric.all_reduce(torch.tensor([loss, *used], dtype=torch.float64, device=fabric.device), reduce_op="sum")
    total, *anywhere = counts.tolist()
    for each, count in zip(parameters, anywhere, strict=True):
        if count and each.grad is None:
            each.grad = torch.zeros_like(each)
    for bucket in _buckets([each.grad for each in parameters if each.grad is not None]):
        flat = fabric.all_reduce(torch.cat([each.flatten() for each in bucket]), reduce_op="sum")
        for gradient, summed in zip(bucket, flat.split([each.numel() for each in bucket]), strict=True):
            gradient.copy_(summed.view_as(gradient))
    return float(total)


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Lists of tensors of one type, each of about `_BUCKET` numbers."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(map(Tensor.numel, bucket)) >= _BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
