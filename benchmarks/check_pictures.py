"""What `check` of a folder of pictures costs, as a multiple of reading them, in one run.

    python benchmarks/check_pictures.py [--count 2000] [--sides 28 512 1024] [--kinds png jpg]

Writes pictures of random structure, scans them as two classes, and times reading every one, as `check` reads them,
and `check` itself, in processor time. The promise is a multiple below 2 for pictures of a usual size.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from radapt.cohorts import scan, write_cohort
from radapt.doctor import check_cohort
from radapt.images import read
from radapt.locations import Location

OCTAVES = 5


def picture(rng: np.random.Generator, side: int) -> Image.Image:
    """Structure at several scales, as in a film, with a little noise."""
    levels = np.zeros((side, side), np.float32)
    for octave in range(OCTAVES):
        cells = min(4 << octave, side)
        coarse = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
        levels += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) / (1 << octave)
    levels += rng.normal(0, 0.03, levels.shape)
    low, high = levels.min(), levels.max()
    return Image.fromarray(((levels - low) / (high - low) * 255).astype(np.uint8))


def measure(count: int, side: int, kind: str, folder: Path) -> str:
    rng = np.random.default_rng(0)
    paths = [folder / "data" / "ab"[at % 2] / f"x{at}.{kind}" for at in range(count)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(rng, side).save(path, quality=90)
    path, _ = write_cohort(scan(folder / "data"), folder / "cohort.yaml")
    read(Location(paths[0]))
    start, wall = time.process_time(), time.perf_counter()
    for picture_path in paths:
        read(Location(picture_path))
    reading_s, reading_wall_s = time.process_time() - start, time.perf_counter() - wall
    start, wall = time.process_time(), time.perf_counter()
    found = check_cohort(path, folder / "cache")
    check_s, check_wall_s = time.process_time() - start, time.perf_counter() - wall
    return (
        f"{count} {kind} of {side} px: reading {reading_s:.1f} s, check {check_s:.1f} s of processor time, "
        f"{check_s / reading_s:.2f} ×; {check_wall_s / reading_wall_s:.2f} × on the clock; "
        f"{len(found.errors)} errors, {len(found.warnings)} warnings"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--sides", type=int, nargs="*", default=[28, 512, 1024])
    parser.add_argument("--kinds", nargs="*", default=["png", "jpg"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(8, 28, "png", Path(folder))  # libraries are loaded
    for side in given.sides:
        for kind in given.kinds:
            with tempfile.TemporaryDirectory() as folder:
                print(measure(given.count, side, kind, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
