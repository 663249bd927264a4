"""Extraction by each runtime relative to PyTorch in float32, in one run.

    python benchmarks/runtimes.py [--backbone dinov2-s-focus efficientnet-lite0] [--cases 4] [--slices 8] [--threads 2]
    python benchmarks/runtimes.py --limit [--backbone dinov2-s-focus]

Extraction is end to end: synthetic volumes are read, prepared, encoded and stored, starting without features but with
converted networks, as every study after the first has them. Runtimes take turns, and the fastest round of each counts,
so that other load affects all alike. On a busy machine the CPU seconds of one thread (`--threads 1`) say more than wall
seconds: they hold no waiting for other processes, nor for a thread that another process delays.

`--limit` asks how much faster any runtime could be in float32: the CPU seconds of one thread by each runtime, beside
those of the products of the encoder's linear layers alone, as if attention, GELU and norms took no time.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from extraction import make_cohort
from radapt.backbones import load_backbone
from radapt.features import extract
from radapt.features.encode import CPU_BATCH
from radapt.images import Recipe
from radapt.runtimes.runtime import RUNTIMES, is_installed

ROUNDS = 3


def extraction(name: str, weights: str | None, cases: int, slices: int, folder: Path) -> None:
    cohort = make_cohort(folder, cases)
    recipe = Recipe.for_kind("mri", size=224, count=slices)
    tried = [(runtime, "float32") for runtime in RUNTIMES if is_installed(runtime)]
    loaded = {
        each: load_backbone(name, weights, dtype=each[1], runtime=each[0], cache=folder / "cache") for each in tried
    }
    seconds: dict[tuple[str, str], list[float]] = {each: [] for each in tried}
    computing: dict[tuple[str, str], list[float]] = {each: [] for each in tried}
    for _ in range(ROUNDS + 1):  # the first round converts, and decodes the slices
        for each, backbone in loaded.items():
            shutil.rmtree(folder / "cache" / "features", ignore_errors=True)
            start, busy = time.perf_counter(), time.process_time()
            extract(cohort, backbone, recipe=recipe, cache=folder / "cache")
            seconds[each].append(time.perf_counter() - start)
            computing[each].append(time.process_time() - busy)
    usual, usual_busy = (min(taken["pytorch", "float32"][1:]) for taken in (seconds, computing))
    for (runtime, dtype), taken in seconds.items():
        best, best_busy = min(taken[1:]), min(computing[runtime, dtype][1:])
        print(
            f"{name} {runtime} {dtype}: {best:.2f} s, {usual / best:.2f} x; CPU {best_busy:.2f} s, "
            f"{usual_busy / best_busy:.2f} x; first round {taken[0]:.1f} s"
        )


class MatrixProducts(TorchDispatchMode):
    """The matrices that each linear layer multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func in (torch.ops.aten.addmm.default, torch.ops.aten.mm.default):
            self.pairs.append(args[-2:])
        return func(*args, **(kwargs or {}))


def busy_seconds(work: Callable[[], object]) -> float:
    """The CPU seconds of this process: of one thread, if there is one."""
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.no_grad()
def limit(name: str, weights: str | None, cache: Path) -> None:
    torch.set_num_threads(1)
    runtimes = [runtime for runtime in RUNTIMES if is_installed(runtime)]
    loaded = {each: load_backbone(name, weights, dtype="float32", runtime=each, cache=cache) for each in runtimes}
    pixels = torch.randint(0, 256, (CPU_BATCH, 1, 224, 224), dtype=torch.uint8)
    with MatrixProducts() as products:
        loaded["pytorch"].tokens(pixels)
    outputs = [left @ right for left, right in products.pairs]
    if not outputs:
        print(f"{name}: it has no linear layers")
        return

    def multiply() -> None:
        for (left, right), output in zip(products.pairs, outputs, strict=True):
            torch.mm(left, right, out=output)

    seconds: dict[str, list[float]] = {each: [] for each in (*loaded, "its matrix products alone")}
    for _ in range(ROUNDS + 1):  # the first round converts
        for runtime, backbone in loaded.items():
            seconds[runtime].append(busy_seconds(lambda backbone=backbone: backbone.tokens(pixels)))  # type: ignore[misc]
        seconds["its matrix products alone"].append(busy_seconds(multiply))
    best = {each: min(taken[1:]) for each, taken in seconds.items()}
    operations = sum(2 * left.numel() * right.shape[1] for left, right in products.pairs)
    print(f"{name}: {operations / 1e9 / CPU_BATCH:.1f} GFLOP in linear layers for each image")
    for each, taken in best.items():
        print(f"  {each}: {operations / taken / 1e9:.0f} GFLOP/s of these, {best['pytorch'] / taken:.2f} x PyTorch")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", nargs="+", default=["dinov2-s-focus", "efficientnet-lite0"])
    parser.add_argument("--weights", default=None)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name in given.backbone:
        with tempfile.TemporaryDirectory() as folder:
            if given.limit:
                limit(name, given.weights, Path(folder))
                continue
            extraction(name, given.weights, given.cases, given.slices, Path(folder))


if __name__ == "__main__":
    main()
