"""Loading training slices for the adaptation: all sequences of a random plane, against decompressing the volumes.

Prints milliseconds per slice of one run. The plain implementation follows the published method: read every volume and
the mask of the case with nibabel and take one plane of each. radapt draws the same from the slice cache, with the
bounding box of the foreground and the mask labels, then crops and augments batches of 8. Run:

    python benchmarks/mmdino_loading.py [--cases 4] [--shape 240 240 155] [--size 224] [--threads 1]
"""

import argparse
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from radapt.cohorts import Case, Cohort
from radapt.images import Recipe, SliceCache
from radapt.locations import Location
from radapt.mmdino.crops import MultiCrop
from radapt.mmdino.slices import SliceLoader

SEQUENCES = ("t1", "t1c", "t2", "flair")
BATCH = 8


def write_case(folder: Path, number: int, shape: tuple[int, ...]) -> Case:
    """Four skull-stripped-like volumes, smooth tissue inside an ellipsoid and zeros outside, and a mask of a ball."""
    rng = np.random.default_rng(number)
    grid = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij", sparse=True)
    inside = sum(axis**2 for axis in grid) < 0.6
    ball = sum((axis - 0.2) ** 2 for axis in grid) < 0.05
    places = {}
    for name in SEQUENCES:
        tissue = 400 + 2000 * gaussian_filter(rng.normal(size=shape), 3) + 10 * rng.normal(size=shape)
        places[name] = save(folder / f"{number}-{name}.nii.gz", np.where(inside, tissue, 0).clip(0).astype(np.int16))
    mask = save(folder / f"{number}-mask.nii.gz", ball.astype(np.uint8))
    return Case(f"c{number}", f"p{number}", "train", places, mask=mask)


def save(path: Path, array: np.ndarray) -> Location:
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return Location(path)


def plain(case: Case, plane: int) -> None:
    """One plane of everything, decoded for it."""
    for location in (*case.images.values(), case.mask):
        np.array(np.asarray(nib.load(location.path).dataobj)[..., plane])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = tuple(write_case(folder, number, tuple(options.shape)) for number in range(options.cases))
        cohort = Cohort("bench", "mri", cases, SEQUENCES, mask_labels={1: "tumour"})
        recipe = Recipe.for_kind("mri", size=options.size, axis="triplanar")
        feed = SliceLoader(cohort, SliceCache(folder / "cache"), recipe, SEQUENCES, channels=1)
        start = time.perf_counter()
        feed.prepare()
        first = 1000 * (time.perf_counter() - start) / options.cases

        def batches(number: int) -> tuple[float, float, float]:
            """Milliseconds per slice: planes, masks, crops."""
            spent = np.zeros(3)
            for step in range(number):
                seeds = np.random.default_rng(step).integers(0, 2**63, BATCH).astype(np.uint64)
                rows = (seeds % np.uint64(options.cases)).astype(np.int64)
                times = [time.perf_counter()]
                sample = feed.sample(rows, seeds)
                times.append(time.perf_counter())
                feed.marked_planes(rows, sample.plane.numpy())
                times.append(time.perf_counter())
                crops = MultiCrop("mri")
                crops.apply(sample.planes, crops.draw(seeds, sample.boxes))
                times.append(time.perf_counter())
                spent += np.diff(times)
            return tuple(1000 * spent / number / BATCH)  # type: ignore[return-value]

        batches(2)  # warm up: imports and first pages
        loaded, marked, cropped = batches(25)
        start = time.perf_counter()
        for case in cases:
            plain(case, options.shape[2] // 2)
        plain_ms = 1000 * (time.perf_counter() - start) / options.cases

        shape = " × ".join(str(side) for side in options.shape)
        print(f"A slice of {len(SEQUENCES)} gzipped volumes of {shape} and a mask, planes of {options.size} px")
        rows = {
            "plain: every volume and the mask decoded": plain_ms,
            "radapt: planes of all sequences, with their box": loaded,
            "radapt: with the mask": loaded + marked,
            "radapt: with 2 global and 8 local crops": loaded + marked + cropped,
        }
        for label, value in rows.items():
            print(f"  {label:<48}{value:9.2f} ms   {plain_ms / value:8.1f} × as fast")
        print(f"  once per case: planes of all three axes, boxes {first:11.2f} ms")


if __name__ == "__main__":
    main()
