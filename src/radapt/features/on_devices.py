"""Several devices of this machine for one extraction: a process for each, which share the images part by part."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from radapt.backbones.lazy import LazyBackbone
from radapt.backbones.reference import BackboneReference
from radapt.devices import check_count
from radapt.errors import UsageError

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

Compute = Callable[[LazyBackbone], object]


@contextlib.contextmanager
def helped(compute: Compute, backbone: "Backbone", devices: int, cache: Path) -> Iterator[None]:
    """While the block runs, `compute` runs in `devices` - 1 other processes as well, each with the backbone on a device
    of its own. They end with the block, at the latest; what one of them leaves undone is left to the block.

    `compute` must be picklable, and a script needs `if __name__ == "__main__":`. Raises UsageError if there are fewer
    devices, and for a backbone that another process cannot build.
    """
    if devices == 1:
        yield
        return
    check_count(str(backbone.device), devices)
    reference = BackboneReference.of(backbone)
    if reference.card is None or reference.source is None or reference.source.kind == "module":
        raise UsageError(f"{backbone.name} cannot be built again in other processes. Extract on one device.")
    context = multiprocessing.get_context("spawn")
    dtype, runtime = str(backbone.dtype).removeprefix("torch."), backbone.runtime
    processes = [
        context.Process(
            target=help_on,
            args=(compute, reference, device, dtype, runtime, cache, torch.get_num_threads()),
            daemon=True,
        )
        for device in others(torch.device(backbone.device), devices)
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()  # all is stored, or the extraction failed
            process.join()


def others(first: torch.device, devices: int) -> list[str]:
    """The devices beside the `first`: other GPUs, or on a CPU as many processes."""
    if first.type == "cpu":
        return ["cpu"] * (devices - 1)
    own = first.index or 0
    return [f"{first.type}:{number}" for number in range(devices + (own >= devices)) if number != own][: devices - 1]


def help_on(
    compute: Compute, reference: BackboneReference, device: str, dtype: str, runtime: str, cache: Path, threads: int
) -> None:
    """The work of another process: as many threads as the first has, so that numbers are equal."""
    torch.set_num_threads(threads)
    compute(reference.find(dtype=dtype, device=device, runtime=runtime, cache=cache))  # type: ignore[arg-type]
