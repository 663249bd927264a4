"""Near-duplicates: planted ones found, false alarms, and the time and memory of the search.

With folders of pictures: plants a changed copy of each of some pictures, once per change, and counts those that are
found and confirmed, and pairs of different pictures that are named. Always: the time and memory of a search among many
hashes, made by mixing those of synthetic pictures. Run:

    python benchmarks/near_duplicates.py [COHORT ...] [--planted 50] [--hashes 100000]

COHORT is a cohort.yaml; pairs of different patients that are named are printed, so that they can be looked at. With
`--check` it also times `check` of each cohort against reading its images.
"""

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from radapt.cases.near_duplicates import HashedImage, near_duplicates
from radapt.cohorts import Cohort, load_cohort
from radapt.doctor import check_cohort
from radapt.images import Volume, read
from radapt.images.duplicates.hashes import SIZE, plane_hashes
from radapt.images.duplicates.search import similar
from radapt.locations import Location

Change = Callable[[Image.Image], Image.Image]


def _jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


def _corner(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width - round(0.95 * width), 0, width, round(0.95 * height)))


CHANGES: dict[str, Change] = {
    "crop 95 % (corner)": _corner,
    "rotate 3°": lambda image: image.rotate(3, Image.Resampling.BILINEAR),
    "JPEG 60": _jpeg,
    "resize ½": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR),
    "flip": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "contrast": lambda image: image.point([min(255, max(0, round(1.15 * level - 12))) for level in range(256)]),
}


def pictures_of(volume: Volume) -> np.ndarray:
    """uint8 (n, H, W): the planes in grey, the range of the volume over 8 bits."""
    planes = volume.planes("axial").astype(np.float32)
    planes = planes.mean(axis=3) if planes.ndim == 4 else planes
    low, high = np.percentile(planes, [0.5, 99.5])
    return (np.clip((planes - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)


def planted(cohort: Cohort, images: list[HashedImage], count: int, rng: np.random.Generator) -> None:
    """Add changed copies of `count` cases, all planes of their first images, as cases of others; count those found."""
    chosen = [images[at] for at in rng.permutation(len(images))[:count]]
    for name, change in CHANGES.items():
        copies: dict[Path, Volume] = {}
        extra = []
        for number, image in enumerate(chosen):
            planes = pictures_of(read(image.location, image.modality))
            changed = np.stack([np.asarray(change(Image.fromarray(plane))) for plane in planes])
            path = Path(f"planted-{number}")
            copies[path] = Volume.from_planes(changed)
            case = replace(image.case, case=f"planted-{number}", patient=f"planted-{number}", split="planted", row=-1)
            extra.append(HashedImage(case, image.modality, Location(path), plane_hashes(copies[path])))

        def load(location: Location, modality: str, copies: dict[Path, Volume] = copies) -> Volume:
            return copies[location.path] if location.path in copies else read(location, modality)

        originals = [replace_split(image) for image in images]
        pairs = near_duplicates(cohort, [*originals, *extra], load, across=True)
        found = {(pair.first.case, pair.second.case) for pair in pairs}
        hits = sum(
            {(image.case.case, copy.case.case), (copy.case.case, image.case.case)} & found != set()
            for image, copy in zip(chosen, extra, strict=True)
        )
        wrong = sum(
            pair.first.patient != chosen[int(pair.second.case.split("-")[1])].case.patient
            for pair in pairs
            if pair.second.case.startswith("planted")
        )
        print(f"  {name:20} found {hits} of {len(chosen)}, with another patient {wrong}", flush=True)


def replace_split(image: HashedImage) -> HashedImage:
    """All originals in one place, so that only planted copies lie in another."""
    return HashedImage(replace(image.case, split="original", fold=None), image.modality, image.location, image.hashes)


def of_cohort(path: Path, count: int, check: bool) -> None:
    cohort = load_cohort(path)
    start = time.process_time()
    images = [(case, name, location) for case in cohort for name, location in case.images.items()]
    volumes_s = hashes_s = 0.0
    hashed = []
    for case, name, location in images:
        start = time.process_time()
        volume = read(location, name)
        volumes_s += time.process_time() - start
        start = time.process_time()
        hashed.append(HashedImage(case, name, location, plane_hashes(volume)))
        hashes_s += time.process_time() - start
    start = time.process_time()
    pairs = near_duplicates(cohort, hashed, read, across=False)
    search_s = time.process_time() - start
    print(f"{cohort.name}: {len(images)} images of {len(set(cohort.patients))} patients")
    print(f"  reading {volumes_s:.1f} s, hashes {hashes_s:.1f} s, search and comparison {search_s:.1f} s of one core")
    print(f"  pairs of different patients named: {len(pairs)}")
    for pair in pairs[:20]:
        correlation = f"{pair.match.correlation:.2f}"
        print(f"    {pair.first.case} {pair.second.case} {correlation} {pair.match.words()}, {pair.n_planes} planes")
    planted(cohort, hashed, count, np.random.default_rng(0))
    if check:
        with tempfile.TemporaryDirectory() as cache:
            start = time.process_time()
            check_cohort(path, Path(cache))
            checked_s = time.process_time() - start
        print(f"  check {checked_s:.1f} s of one core, {checked_s / volumes_s:.2f} × reading")


def of_many(count: int) -> None:
    """The search among `count` hashes with a common part, and 100 planted pairs."""
    rng = np.random.default_rng(0)
    common = rng.normal(0, 20, SIZE)
    hashes = np.empty((count, SIZE), np.int8)
    for start in range(0, count, 10_000):
        block = common + rng.normal(0, 25, (min(10_000, count - start), SIZE))
        hashes[start : start + 10_000] = block.clip(-127, 127)
    copies = rng.normal(hashes[:100].astype(float), 10)
    hashes[-100:] = copies.clip(-127, 127)
    hashes[:, 0] = 10
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    found = similar(hashes, np.arange(count))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    hits = sum((at, count - 100 + at) in pairs for at in range(100))
    print(f"{count:,} hashes: {wall:.1f} s, {cpu:.1f} s of one core, {grown:.0f} MB more; {hits} of 100 pairs found")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohorts", nargs="*", type=Path, metavar="COHORT")
    parser.add_argument("--planted", type=int, default=50)
    parser.add_argument("--hashes", type=int, default=100_000)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for path in options.cohorts:
        of_cohort(path, options.planted, options.check)
    of_many(options.hashes)


if __name__ == "__main__":
    main()
