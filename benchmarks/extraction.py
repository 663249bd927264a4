"""Speed and memory of feature extraction, relative to the encoder alone and to a plain loop.

    python benchmarks/extraction.py [--cases 4] [--size 112] [--backbone dinov2-s]

Prints ratios, measured in one run on synthetic gzipped volumes with random weights:
  cached/encoder   extraction from a warm slice cache relative to the encoder alone, same batch and number format
  volumes/twice    two passes of a plain loop (nibabel, percentiles, resize, forward, save) ÷ two calls of `extract`,
                   starting without any cache
  slices/twice     the same for a loop over slices, each decoding its volume
  …/two            the same with another encoder in the second call, so that only the slices are shared
  memory           peak memory for N and for 4 N cases
"""

import argparse
import resource
import shutil
import statistics
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
from radapt.images import Recipe
from radapt.locations import Location

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

BATCH, LAYERS, ROUNDS = 16, (-4, -3, -2, -1), 3
SHAPE = (240, 240, 155)  # voxels, as in BraTS
SLICES = 8  # slices used per volume


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


def plain_loop(cohort: Cohort, backbone: "Backbone", recipe: Recipe, out: Path, by_slice: bool = False) -> None:
    """A straightforward implementation: decode, transform, forward, save, one image after the other.

    With `by_slice`, the items are slices, as in a typical Dataset, and the volume is decoded for each.
    """
    out.mkdir(exist_ok=True)
    for case in cohort:
        volume = decoded(case)
        for index in np.linspace(0, SHAPE[2] - 1, recipe.count or 1).astype(int):
            volume = decoded(case) if by_slice else volume
            plane = torch.from_numpy(volume[:, :, index].T.copy()).float()[None, None]
            image = torch.nn.functional.interpolate(plane, size=recipe.size, mode="bilinear", antialias=True)
            with torch.inference_mode():
                tokens = backbone.tokens(image, layers=LAYERS)
            rows = torch.cat([layer.cls for layer in tokens.layers], dim=1)
            np.save(out / f"{case.case}-{index}.npy", rows.numpy())


def decoded(case: Case) -> np.ndarray:
    """The volume scaled to [0, 1] between two percentiles of its foreground."""
    import nibabel

    volume = nibabel.load(case.images["t1"].path).get_fdata(dtype=np.float32)
    low, high = np.percentile(volume[volume > 0], [0.5, 99.5])
    return np.clip((volume - low) / (high - low), 0, 1)


def encoder_seconds(backbone: "Backbone", size: int, slices: int) -> float:
    """Seconds of the encoder alone for `slices` slices, in the same batches."""
    pixels = torch.randint(0, 256, (BATCH, 1, size, size), dtype=torch.uint8)
    with torch.inference_mode():
        return seconds(lambda: [backbone.tokens(pixels, layers=LAYERS) for _ in range(-(-slices // BATCH))])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def encoder_share(cohort: Cohort, backbone: "Backbone", folder: Path, size: int) -> list[float]:
    """Encoder seconds ÷ extraction seconds with all slices cached and no features stored, for each round."""
    recipe = Recipe.for_kind("mri", size=size, every=5)
    ratios = []
    for _ in range(ROUNDS + 1):
        shutil.rmtree(folder / "features", ignore_errors=True)
        start = time.perf_counter()
        features = extract(cohort, backbone, recipe=recipe, layers=LAYERS, batch=BATCH, cache=folder)
        took = time.perf_counter() - start
        ratios.append(encoder_seconds(backbone, size, int(features.counts.sum())) / took)
    return ratios[1:]  # the first round filled the slice cache


def speed(folder: Path, cases: int, size: int, name: str) -> None:
    cohort = make_cohort(folder, cases)
    first, second = (load_backbone(name, f"random:{seed}") for seed in (0, 1))
    recipe = Recipe.for_kind("mri", size=size, count=SLICES)
    options = {"recipe": recipe, "layers": LAYERS, "batch": BATCH}
    plain_loop(cohort.select(np.array([0])), first, recipe, folder / "plain")  # warm up

    def loop(by_slice: bool) -> float:
        return sum(seconds(partial(plain_loop, cohort, first, recipe, folder / "plain", by_slice)) for _ in "12")

    def ours(cache: str, *backbones: "Backbone") -> float:
        calls = (partial(extract, cohort, backbone, cache=folder / cache, **options) for backbone in backbones)
        return sum(map(seconds, calls))

    volumes, slices = loop(by_slice=False), loop(by_slice=True)
    twice, two = ours("twice", first, first), ours("two", first, second)
    print(
        f"seconds for {cases} volumes twice: plain loop over volumes {volumes:.1f}, over slices {slices:.1f}; ", end=""
    )
    print(f"extract {twice:.1f}, with another encoder the second time {two:.1f}")
    print(f"volumes/twice {volumes / twice:.2f}   slices/twice {slices / twice:.2f}   (aim: at least 3)")
    print(f"volumes/two {volumes / two:.2f}   slices/two {slices / two:.2f}")
    ratios = encoder_share(cohort, first, folder / "share", size)
    listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"cached/encoder {statistics.median(ratios):.2f}   (aim: at least 0.90; rounds: {listed})")


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
    print(own_peak_mb())


def own_peak_mb() -> float:
    """Peak memory of this process. On Linux not by `ru_maxrss`, which counts what the parent held at the start."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4)
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
