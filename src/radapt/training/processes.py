"""One process per device: start them, sum their gradients, and fail together instead of waiting forever."""

import contextlib
import os
import pickle
import socket
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

_BUCKET = 2**24  # numbers that are summed at once: 64 MiB in float32
_TASK, _RESULT, _WEIGHTS = "task.pkl", "result.pkl", "weights.pt"
_PORTS = 3
_PORT_TAKEN = ("EADDRINUSE", "ddress already in use")
_LAUNCH_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK")


def on_several(
    fabric: "Fabric", work: Callable[..., tuple[Any, Task]], *arguments: Any
) -> tuple[Any, dict[str, Tensor]]:
    """Call `work(fabric, *arguments)` in every process; returns the result of the first one and a copy of what training
    changed in its task.

    `arguments` are pickled. A `RadaptError` that `work` raises in all processes is raised here.
    """
    try:
        # Pickled here: torch would otherwise put the module into memory that all processes share and write to.
        packed = pickle.dumps(arguments)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"Training on several devices sends the task to other processes, and it cannot be sent ({reason}). Use a "
            "class at the top of a module, without open files and lambdas, or train on one device."
        ) from error
    # Through files: processes with large arguments start one after the other, and Fabric scans return values byte by
    # byte. Only this user can read or write the folder, so unpickling is safe.
    with tempfile.TemporaryDirectory(prefix="radapt-") as name, _restored_environment():
        folder = Path(name)
        (folder / _TASK).write_bytes(packed)
        del packed
        _launch(fabric, work, folder)
        result = pickle.loads((folder / _RESULT).read_bytes())
        if isinstance(result, RadaptError):
            raise result
        return result, torch.load(folder / _WEIGHTS, weights_only=True)


def _launch(fabric: "Fabric", work: Callable[..., tuple[Any, Task]], folder: Path) -> None:
    """Start the processes; again with another port if a program took the port that was free a moment ago."""
    for remaining in reversed(range(_PORTS)):
        try:
            fabric.launch(_in_process, work, folder)
            return
        except Exception as error:
            if not remaining or not any(word in str(error) for word in _PORT_TAKEN):
                raise
        with socket.create_server(("127.0.0.1", 0)) as free:
            fabric.strategy.cluster_environment.main_port = free.getsockname()[1]


def _in_process(fabric: "Fabric", work: Callable[..., tuple[Any, Task]], folder: Path) -> None:
    """Write the result or error of `work` in the first process, and what its task changed, into `folder`."""
    try:
        result, task = work(fabric, *pickle.loads((folder / _TASK).read_bytes()))
    except RadaptError as error:
        result = error
    else:
        if fabric.global_rank == 0:
            torch.save(copied(task), folder / _WEIGHTS)
    if fabric.global_rank == 0:
        (folder / _RESULT).write_bytes(pickle.dumps(result))
    if torch.distributed.is_initialized():
        # Together: a process that ends while another one's threads still talk to it can abort that one.
        fabric.barrier()
        torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _restored_environment() -> Iterator[None]:
    """Restore the environment: Fabric leaves its port there, and the next launch would take it as the user's choice."""
    before = {name: os.environ.get(name) for name in _LAUNCH_VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def fail_together(fabric: "Fabric", failure: Exception | None) -> None:
    """Raise, in all processes, the failure of the first process that has one."""
    if fabric.world_size > 1:
        count = fabric.all_reduce(torch.tensor(float(failure is not None), device=fabric.device), reduce_op="sum")
        if not float(count):
            return
        failures: list[Exception | None] = [None] * fabric.world_size
        torch.distributed.all_gather_object(failures, _sendable(failure))
        failure = next(error for error in failures if error is not None)
    if failure is not None:
        raise failure


def _sendable(failure: Exception | None) -> Exception | None:
    if failure is None or isinstance(failure, RadaptError):
        return failure
    return RuntimeError("".join(traceback.format_exception(failure)))  # others may not survive pickling


def add_up(fabric: "Fabric", parameters: list[nn.Parameter], loss: float) -> float:
    """Replace gradients by their sums over processes, and return the sum of `loss`.

    A parameter that only some processes used counts as zero in the others; one that no process used keeps no gradient.
    Fabric's wrapper would sum during the backward pass, and cannot restart when memory runs out within it.
    """
    if fabric.world_size == 1:
        return loss
    used = [float(parameter.grad is not None) for parameter in parameters]
    counts = fabric.all_reduce(torch.tensor([loss, *used], dtype=torch.float64, device=fabric.device), reduce_op="sum")
    total, *anywhere = counts.tolist()
    for parameter, count in zip(parameters, anywhere, strict=True):
        if count and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
        flat = fabric.all_reduce(torch.cat([gradient.flatten() for gradient in bucket]), reduce_op="sum")
        for gradient, summed in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
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
