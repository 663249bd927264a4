"""How much of the encoder's speed extraction keeps, what it saves over a plain loop, and that its memory is flat.

    python benchmarks/extraction.py [--cases 6] [--size 112] [--backbone dinov2-s]

Prints ratios, all measured in this run on synthetic gzipped volumes with random weights:
  cached/encoder   slices per second of `extract` from a warm slice cache ÷ of the encoder alone, same batch and dtype
  plain/twice      two passes of a plain loop ÷ two calls of `extract`, everything cold before the first
  plain/two        the same with another encoder in the second pass, so that only the slices are shared
  memory           peak memory for N and for 4 N cases
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from radapt.backbones import load_backbone
from radapt.cohorts import Case, Cohort
from radapt.features import extract
from radapt.images import Recipe, read
from radapt.locations import Location

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

BATCH, LAYERS = 16, (-4, -3, -2, -1)
SHAPE = (160, 160, 80)  # voxels, about what an MRI sequence has


def make_cohort(folder: Path, cases: int) -> Cohort:
    """Smooth noise inside a ball, as gzipped int16 NIfTI."""
    import nibabel

    rng = np.random.default_rng(0)
    grids = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in SHAPE), indexing="ij")
    ball = sum(grid**2 for grid in grids) < 0.8
    made = []
    for number in range(cases):
        noise = rng.normal(300, 60, SHAPE).astype(np.float32) * ball
        path = folder / f"{number}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(noise.astype(np.int16), np.eye(4)), path)
        made.append(Case(f"c{number}", f"p{number}", "train", {"t1": Location(path)}))
    return Cohort("bench", "mri", tuple(made), ("t1",))


def plain_loop(cohort: Cohort, backbone: "Backbone", recipe: Recipe, out: Path) -> None:
    """What one would write first: decode, transform, forward, save, one image after the other."""
    out.mkdir(exist_ok=True)
    for case in cohort:
        planes = torch.from_numpy(recipe.apply(read(case.images["t1"])))
        with torch.inference_mode():
            tokens = backbone.tokens(planes, layers=LAYERS)
            rows = torch.cat([layer.cls for layer in tokens.layers], dim=1)
        np.save(out / f"{case.case}.npy", rows.numpy())


def encoder_rate(backbone: "Backbone", size: int, batches: int) -> float:
    """Slices per second of the encoder alone."""
    pixels = torch.randint(0, 256, (BATCH, 1, size, size), dtype=torch.uint8)
    with torch.inference_mode():
        return BATCH * batches / seconds(lambda: [backbone.tokens(pixels, layers=LAYERS) for _ in range(batches)])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def speed(folder: Path, cases: int, size: int, name: str) -> None:
    cohort = make_cohort(folder, cases)
    first, second = (load_backbone(name, f"random:{seed}") for seed in (0, 1))
    recipe = Recipe.for_kind("mri", size=size, count=8)

    def run(backbone: "Backbone", cache: str, recipe: Recipe = recipe) -> int:
        features = extract(cohort, backbone, recipe=recipe, layers=LAYERS, batch=BATCH, cache=folder / cache)
        return int(features.counts.sum())

    run(first, "warm-up")
    plain = [seconds(partial(plain_loop, cohort, first, recipe, folder / "plain")) for _ in range(2)]
    twice = [seconds(partial(run, first, "twice")) for _ in range(2)]
    two = [seconds(partial(run, one, "two")) for one in (first, second)]
    full = Recipe.for_kind("mri", size=size, every=2)
    run(second, "cached", full)
    total = cases * len(range(0, SHAPE[2], 2))
    before = encoder_rate(first, size, total // BATCH // 2)
    cached = total / seconds(lambda: run(first, "cached", full))
    alone = (before + encoder_rate(first, size, total // BATCH // 2)) / 2  # around it: machines drift
    print(f"encoder alone {alone:.1f} slices/s, extraction from the slice cache {cached:.1f}")
    print(f"cached/encoder {cached / alone:.2f}   (aim: at least 0.90)")
    print(f"plain loop {plain[0]:.2f} + {plain[1]:.2f} s; extract twice {twice[0]:.2f} + {twice[1]:.2f} s; ", end="")
    print(f"extract with two encoders {two[0]:.2f} + {two[1]:.2f} s")
    print(f"plain/twice {sum(plain) / sum(twice):.2f}   (aim: at least 3)")
    print(f"plain/two {sum(plain) / sum(two):.2f}")


def peak_mb(folder: Path, cases: int, size: int, name: str) -> float:
    """Peak memory of another process that extracts `cases` cases, in MB."""
    arguments = ["--memory-of", str(folder), "--cases", str(cases), "--size", str(size), "--backbone", name]
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def memory_of(folder: Path, cases: int, size: int, name: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        cohort = make_cohort(Path(place), cases)
        recipe = Recipe.for_kind("mri", size=size, count=8)
        features = extract(
            cohort, load_backbone(name, "random"), recipe=recipe, layers=LAYERS, batch=BATCH, cache=place
        )
        features.pooled()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--backbone", default="dinov2-s")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_of:
        memory_of(given.memory_of, given.cases, given.size, given.backbone)
        return
    with tempfile.TemporaryDirectory() as folder:
        speed(Path(folder), given.cases, given.size, given.backbone)
        small, large = (peak_mb(Path(folder), n, given.size, given.backbone) for n in (given.cases, 4 * given.cases))
        print(f"memory {small:.0f} MB for {given.cases} cases, {large:.0f} MB for {4 * given.cases}: ", end="")
        print(f"{large / small:.2f} times")


if __name__ == "__main__":
    main()
