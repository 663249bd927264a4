"""Extraction by each runtime relative to PyTorch in float32, in one run.

    python benchmarks/runtimes.py [--backbone dinov2-s-focus efficientnet-lite0] [--cases 4] [--threads 2]

Extraction is end to end: synthetic volumes are read, prepared, encoded and stored, starting without features but with
converted networks, as every study after the first has them. Runtimes take turns, and the fastest round of each counts,
so that other load affects all alike.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import torch

from extraction import make_cohort
from radapt.backbones import load_backbone
from radapt.features import extract
from radapt.images import Recipe
from radapt.runtimes.runtime import RUNTIMES, is_installed

SLICES, ROUNDS = 8, 3


def extraction(name: str, weights: str | None, cases: int, folder: Path) -> None:
    cohort = make_cohort(folder, cases)
    recipe = Recipe.for_kind("mri", size=224, count=SLICES)
    tried = [(runtime, "float32") for runtime in RUNTIMES if is_installed(runtime)]
    loaded = {
        each: load_backbone(name, weights, dtype=each[1], runtime=each[0], cache=folder / "cache") for each in tried
    }
    seconds: dict[tuple[str, str], list[float]] = {each: [] for each in tried}
    for _ in range(ROUNDS + 1):  # the first round converts, and decodes the slices
        for each, backbone in loaded.items():
            shutil.rmtree(folder / "cache" / "features", ignore_errors=True)
            start = time.perf_counter()
            extract(cohort, backbone, recipe=recipe, cache=folder / "cache")
            seconds[each].append(time.perf_counter() - start)
    usual = min(seconds["pytorch", "float32"][1:])
    for (runtime, dtype), taken in seconds.items():
        best = min(taken[1:])
        print(f"{name} {runtime} {dtype}: {best:.2f} s, {usual / best:.2f} x; first round {taken[0]:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", nargs="+", default=["dinov2-s-focus", "efficientnet-lite0"])
    parser.add_argument("--weights", default=None)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for name in given.backbone:
        with tempfile.TemporaryDirectory() as folder:
            extraction(name, given.weights, given.cases, Path(folder))


if __name__ == "__main__":
    main()
