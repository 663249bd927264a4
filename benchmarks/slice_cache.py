"""The slice cache against decoding a case of four gzipped brain volumes: one slice and all slices of each.

Prints milliseconds and ratios of one run. The plain implementation reads each volume with nibabel, like a simple
Dataset class; a cache hit opens the planes that an earlier read stored. Run:

    python benchmarks/slice_cache.py [--shape 240 240 155] [--size 224] [--repeats 5]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from radapt.images import Recipe, SliceCache, read
from radapt.locations import Location

SEQUENCES = ("t1", "t1c", "t2", "flair")


def write_case(folder: Path, shape: tuple[int, ...], rng: np.random.Generator) -> list[Location]:
    """Four skull-stripped-like volumes: smooth tissue inside an ellipsoid, zeros outside."""
    grid = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij", sparse=True)
    inside = sum(axis**2 for axis in grid) < 0.6
    locations = []
    for name in SEQUENCES:
        tissue = 400 + 2000 * gaussian_filter(rng.normal(size=shape), 3) + 10 * rng.normal(size=shape)
        volume = np.where(inside, tissue, 0).clip(0).astype(np.int16)
        nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / f"{name}.nii.gz")
        locations.append(Location(folder / f"{name}.nii.gz"))
    return locations


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """The fastest of `repeats`."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        locations = write_case(folder, tuple(options.shape), np.random.default_rng(0))
        recipe = Recipe.for_kind("mri", size=options.size)
        cache = SliceCache(folder / "cache")
        middle = options.shape[2] // 2
        recipe.apply(read(locations[0]))  # imports are not what is measured

        start = time.perf_counter()
        for location in locations:
            cache.planes(location, recipe)
        first = 1000 * (time.perf_counter() - start)

        def plain() -> None:
            for location in locations:
                np.array(np.asarray(nib.load(location.path).dataobj)[..., middle])

        def decoded() -> None:
            for location in locations:
                read(location).planes()[middle]

        def one_slice() -> None:
            for location in locations:
                np.array(cache.planes(location, recipe)[middle])

        def all_slices() -> None:
            for location in locations:
                np.array(cache.planes(location, recipe))

        shape = " × ".join(str(side) for side in options.shape)
        print(f"A case of {len(locations)} gzipped volumes of {shape}, planes of {options.size} px")
        plain_ms = milliseconds(plain, options.repeats)
        rows = {
            "nibabel, one slice each": plain_ms,
            "radapt.images.read, one slice each": milliseconds(decoded, options.repeats),
            "first time: digest, decode, recipe, write": first,
            "cache hit, one slice each": milliseconds(one_slice, options.repeats * 10),
            "cache hit, all slices": milliseconds(all_slices, options.repeats),
        }
        for label, value in rows.items():
            print(f"  {label:<44}{value:9.2f} ms   {plain_ms / value:8.2f} × nibabel's speed")


if __name__ == "__main__":
    main()
