"""The slice cache: decoded once, by content, whole or not at all, whoever else is at work."""

import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from radapt.errors import DataError, UsageError
from radapt.images import Recipe, SliceCache, read, slice_cache
from radapt.locations import Location

RECIPE = Recipe.for_kind("mri", size=32)


@pytest.fixture
def image(tmp_path):
    array = np.random.default_rng(0).integers(0, 500, (20, 24, 9)).astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    return Location(tmp_path / "a.nii.gz")


@pytest.fixture
def cache(tmp_path):
    return SliceCache(tmp_path / "cache")


@pytest.fixture
def decoded(monkeypatch):
    """The locations decoded so far."""
    seen = []

    def counted(location, *args, **options):
        seen.append(location)
        return read(location, *args, **options)

    monkeypatch.setattr(slice_cache, "read", counted)
    return seen


def entries(cache):
    return sorted((cache.folder / "slices").rglob("*.npy"))


def leftovers(cache):
    return [path for path in cache.folder.rglob("*") if ".part" in path.name]


def test_planes_are_decoded_once_and_equal_the_recipes(cache, image, decoded):
    first, second = cache.planes(image, RECIPE), cache.planes(image, RECIPE)
    np.testing.assert_array_equal(first, RECIPE.apply(read(image)))
    np.testing.assert_array_equal(first, second)
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    assert len(decoded) == 1
    assert SliceCache(cache.folder).planes(image, RECIPE).shape == (9, 1, 32, 32)
    assert len(decoded) == 1


def test_content_decides_not_names_or_modalities(cache, image, decoded, tmp_path):
    copy = Location(tmp_path / "copy.nii.gz")
    copy.path.write_bytes(image.path.read_bytes())
    assert cache.key(copy, RECIPE, "t1") == cache.key(image, RECIPE, "t2")
    cache.planes(image, RECIPE)
    cache.planes(copy, RECIPE)
    assert len(decoded) == 1
    assert cache.key(image, Recipe.for_kind("mri", size=33)) != cache.key(image, RECIPE)
    time.sleep(0.01)
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5)), np.eye(4)), image.path)
    assert cache.planes(image, RECIPE).shape[0] == 5


def test_entries_of_one_archive_are_apart(cache, tmp_path):
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).integers(0, 255, (4, 8, 8), dtype=np.uint8))
    recipe = Recipe.for_kind("other", size=8)
    found = [cache.planes(Location(tmp_path / "a.npz", "images", index), recipe)[0, 0] for index in range(4)]
    np.testing.assert_array_equal(found, np.load(tmp_path / "a.npz")["images"])
    assert len(list((cache.folder / "arrays").iterdir())) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:50],
        lambda content: content[:-1],
        lambda content: b"\0" * len(content),
        lambda content: content.replace(b"|u1", b"|i1"),
        lambda content: content.replace(b"(9, 1, 32, 32)", b"(9, 1, 64, 16)"),
        lambda content: content.replace(b"(9, 1, 32, 32)", b"(0, 1, 32, 32)"),
    ],
)
def test_a_damaged_entry_is_decoded_again(cache, image, decoded, damage):
    expected = np.array(cache.planes(image, RECIPE))
    (entry,) = entries(cache)
    entry.write_bytes(damage(entry.read_bytes()))
    np.testing.assert_array_equal(cache.planes(image, RECIPE), expected)
    np.testing.assert_array_equal(cache.planes(image, RECIPE), expected)
    assert len(decoded) == 2


def test_an_open_entry_outlives_its_replacement(cache, image):
    held = cache.planes(image, RECIPE)
    expected = np.array(held)
    (entry,) = entries(cache)
    entry.unlink()
    cache.planes(image, RECIPE)
    np.testing.assert_array_equal(held, expected)


def test_an_unreadable_image_leaves_nothing(cache, image):
    image.path.write_bytes(image.path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        cache.planes(image, RECIPE)
    assert not entries(cache)
    with pytest.raises(DataError, match="gone"):
        cache.planes(Location(image.path.parent / "gone.nii"), RECIPE)


def test_a_full_disk_is_said_once_and_leaves_nothing(cache, image, monkeypatch):
    def full(file, array):
        file.write(b"\x93NUMPY")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(slice_cache.np, "save", full)
    with pytest.raises(UsageError, match=r"No space left on device\. Free some space.*--cache"):
        cache.planes(image, RECIPE)
    assert not entries(cache)
    assert not leftovers(cache)


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--cache"):
        SliceCache(tmp_path / "file" / "cache")


WORKER = """
import sys
from pathlib import Path
import numpy as np
from radapt.images import Recipe, SliceCache
from radapt.locations import Location
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
cache = SliceCache(folder / "cache")
recipe = Recipe.for_kind("mri", size=32)
print("ready", flush=True)
sys.stdin.readline()
total = 0
for _ in range(3):
    for path in sorted(folder.glob("*.nii.gz")):
        total += int(cache.planes(Location(path), recipe).sum(dtype=np.int64))
    for k in range(6):
        total += int(cache.planes(Location(folder / "a.npz", "images", k), recipe).sum(dtype=np.int64))
out.write_text(str(total))
"""


def start(tmp_path: Path, name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), str(tmp_path / name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_at_once_and_one_killed(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(12):
        nib.save(nib.Nifti1Image(rng.random((16, 16, 6)), np.eye(4)), tmp_path / f"{index}.nii.gz")
    np.savez(tmp_path / "a.npz", images=rng.integers(0, 255, (6, 40, 40), dtype=np.uint8))
    workers = [start(tmp_path, f"out{index}") for index in range(3)]
    for worker in workers:
        worker.stdout.readline()
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    time.sleep(0.05)
    workers[2].kill()
    assert [worker.wait() for worker in workers[:2]] == [0, 0]
    workers[2].wait()
    totals = {(tmp_path / f"out{index}").read_text() for index in range(2)}
    cache = SliceCache(tmp_path / "cache")
    own = [Location(path) for path in sorted(tmp_path.glob("*.nii.gz"))]
    own += [Location(tmp_path / "a.npz", "images", index) for index in range(6)]
    expected = 3 * sum(int(RECIPE.apply(read(location)).sum(dtype=np.int64)) for location in own)
    assert totals == {str(expected)}
    assert len(entries(cache)) == 18


def test_a_hit_takes_less_than_a_millisecond(cache, image):
    cache.planes(image, RECIPE)
    times = []
    for _ in range(50):
        start_s = time.perf_counter()
        cache.planes(image, RECIPE)
        times.append(time.perf_counter() - start_s)
    assert min(times) < 1e-3


def test_a_series_folder_is_another_image_when_one_slice_changes(cache, series):
    folder = series(np.random.default_rng(0).integers(0, 500, (5, 8, 8)).astype(np.int16))
    before = cache.key(Location(folder), RECIPE)
    assert cache.key(Location(folder), RECIPE) == before
    victim = sorted(folder.iterdir())[2]
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    after = cache.key(Location(folder), RECIPE)
    assert after != before
    victim.rename(folder / "renamed.dcm")
    assert cache.key(Location(folder), RECIPE) == after
    (folder / "renamed.dcm").unlink()
    assert cache.key(Location(folder), RECIPE) not in (before, after)
