"""The cost of digests and checksums during extraction, as a share of it, in one run.

    python benchmarks/checking.py [--cases 6] [--size 224] [--backbone dinov2-s]

Extracts synthetic gzipped volumes twice, from no cache and from a warm slice cache, and adds up the processor time of
every hash and checksum of image files, slice cache entries and feature rows. Prints
  cold   its share of the extraction that decodes the images
  warm   its share of the extraction that opens the slice cache
"""

import argparse
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from radapt import digests, sealed
from radapt.backbones import load_backbone
from radapt.cohorts import Case, Cohort
from radapt.features import extract, store
from radapt.images import slice_cache
from radapt.locations import Location

SHAPE = (240, 240, 60)


class Meter:
    """Adds up the processor time of the functions it wraps, in every thread; a nested one counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock, self._inside = threading.Lock(), threading.local()

    def wrap(self, module: Any, name: str) -> None:
        setattr(module, name, self.timed(getattr(module, name)))

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            if getattr(self._inside, "busy", False):
                return function(*args, **options)
            self._inside.busy, start = True, time.thread_time()
            try:
                return function(*args, **options)
            finally:
                self._inside.busy = False
                with self._lock:
                    self.seconds += time.thread_time() - start

        return wrapped


class TimedHash:
    """A hash whose updates are measured."""

    def __init__(self, hash_: Any, meter: Meter) -> None:
        self._hash = hash_
        self.update, self.digest = meter.timed(hash_.update), meter.timed(hash_.digest)


def measure(meter: Meter) -> None:
    """Measure the hashes of files, of sealed arrays, of their verification, and of feature rows."""
    meter.wrap(digests, "digest_file")
    meter.wrap(sealed, "_seal_fits")
    meter.wrap(slice_cache, "content_digest")
    plain = sealed._hash
    sealed._hash = lambda data=b"": TimedHash(plain(data), meter)  # type: ignore[assignment]
    store.zlib = type("zlib", (), {"crc32": staticmethod(meter.timed(zlib.crc32))})  # type: ignore[assignment]


def write_cohort(folder: Path, cases: int) -> Cohort:
    """Smooth noise inside a ball, as gzipped int16 NIfTI."""
    import nibabel

    rng = np.random.default_rng(0)
    grids = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in SHAPE), indexing="ij")
    ball = sum(grid**2 for grid in grids) < 0.8
    made = []
    for number in range(cases):
        volume = (rng.normal(300, 60, SHAPE).astype(np.float32) * ball).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / f"{number}.nii.gz")
        made.append(Case(f"c{number}", f"p{number}", "train", {"t1": Location(folder / f"{number}.nii.gz")}))
    return Cohort("bench", "mri", tuple(made), ("t1",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--backbone", default="dinov2-s")
    parser.add_argument("--every", type=int, default=8, help="use every n-th slice")
    given = parser.parse_args()
    backbone = load_backbone(given.backbone, weights="random")
    meter = Meter()
    measure(meter)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = write_cohort(folder, given.cases)
        for state in ("cold", "warm"):
            shutil.rmtree(folder / "cache" / "features", ignore_errors=True)
            sealed._verified.clear()
            meter.seconds, start = 0.0, time.process_time()
            extract(cohort, backbone, size=given.size, every=given.every, cache=folder / "cache")
            total = time.process_time() - start
            print(f"{state}: {meter.seconds:.3f} s of {total:.1f} s of processor time, {meter.seconds / total:.2%}")


if __name__ == "__main__":
    main()
