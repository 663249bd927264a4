"""NumPy files: shapes that mean an image, entries of large arrays, and nothing that could run code."""

import io
import threading
import zipfile

import numpy as np
import pytest

from radapt.errors import DataError, UsageError
from radapt.images import read
from radapt.locations import Location


def values(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "planes"),
    [
        ((6, 8), (1, 6, 8)),
        ((6, 8, 1), (1, 6, 8)),
        ((6, 8, 3), (1, 6, 8, 3)),
        ((5, 6, 8), (5, 6, 8)),
        ((5, 6, 8, 1), (5, 6, 8)),
        ((5, 6, 8, 3), (5, 6, 8, 3)),
        ((2, 2), (1, 2, 2)),
        ((3, 4, 2), (3, 4, 2)),
    ],
)
def test_what_shapes_mean(tmp_path, shape, planes):
    np.save(tmp_path / "a.npy", values(*shape))
    np.savez(tmp_path / "b.npz", image=values(*shape))
    np.savez_compressed(tmp_path / "c.npz", images=values(4, *shape), labels=np.arange(4))
    for place in ("a.npy", "b.npz", "b.npz::image"):
        found = read(Location.parse(place, tmp_path)).planes()
        np.testing.assert_array_equal(found, values(*shape).reshape(planes))
    found = read(Location.parse("c.npz::images[3]", tmp_path)).planes()
    np.testing.assert_array_equal(found, values(4, *shape)[3].reshape(planes))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.uint64, np.float16, np.float64, ">f4"])
def test_number_types(tmp_path, dtype):
    np.save(tmp_path / "a.npy", values(6, 8, dtype=dtype))
    array = read(Location(tmp_path / "a.npy")).planes()[0]
    np.testing.assert_array_equal(array, values(6, 8, dtype=dtype))
    assert array.dtype.itemsize <= 4
    assert array.dtype.kind in "iuf"
    assert array.dtype.isnative


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


REFUSED = {
    "complex": (values(6, 8).astype(complex), "complex"),
    "text": (np.array([["a", "b"]] * 2), "type <U1"),
    "dates": (np.zeros((3, 3), "datetime64[s]"), "type datetime64"),
    "records": (np.zeros((3, 3), [("a", "i4")]), "expected real numbers"),
    "empty": (np.zeros((0, 8)), "empty image of shape"),
    "no slices": (np.zeros((0, 8, 8)), "empty image"),
    "scalar": (np.array(3.0), r"shape \(\), expected"),
    "line": (np.zeros(9), r"shape \(9,\), expected"),
    "five": (np.zeros((2, 2, 2, 2, 2)), "expected"),
    "two channels": (np.zeros((16, 16, 2)), "channels"),
    "alpha": (np.zeros((16, 16, 4)), "channels"),
    "nan": (np.full((4, 4), np.nan), "16 of 16 voxels"),
    "inf": (np.array([[1.0, np.inf]]), "NaN or infinite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_an_image_is_refused(tmp_path, name):
    array, message = REFUSED[name]
    np.save(tmp_path / "a.npy", array)
    for path in (tmp_path / "a.npy", npz(tmp_path / "b.npz", a=array)):
        with pytest.raises(DataError, match=message) as caught:
            read(Location(path))
        assert str(path) in str(caught.value)


class Bomb:
    def __reduce__(self):
        return (print, ("this ran",))


def test_pickled_objects_are_refused_and_never_run(tmp_path, capsys):
    objects = np.array([Bomb(), Bomb()], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=objects, allow_pickle=True)
    for place in ("a.npy", "b.npz::images", "b.npz::images[0]"):
        for cache in (None, tmp_path / "cache"):
            with pytest.raises(DataError, match="pickled Python objects"):
                read(Location.parse(place, tmp_path), array_cache=cache)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("cache", [None, "cache"])
def test_what_is_not_there_is_said_with_what_is(tmp_path, cache):
    folder = tmp_path / cache if cache else None
    npz(tmp_path / "a.npz", train_images=values(3, 4, 4), val_images=values(2, 4, 4))
    for place, message in [
        ("a.npz", "2 arrays .train_images, val_images"),
        ("a.npz::train_image", "Did you mean 'train_images'"),
        ("a.npz::val_images[2]", "2 entries"),
        ("b.npz", "does not exist. Did you mean a.npz"),
    ]:
        with pytest.raises(DataError, match=message):
            read(Location.parse(place, tmp_path), array_cache=folder)
    np.save(tmp_path / "s.npy", values(3, 4, 4))
    np.testing.assert_array_equal(read(Location.parse("s.npy::array[1]", tmp_path)).planes()[0], values(3, 4, 4)[1])
    with pytest.raises(DataError, match="one array"):
        read(Location.parse("s.npy::other[1]", tmp_path))


def test_a_member_is_unpacked_once(tmp_path, monkeypatch):
    path = npz(tmp_path / "a.npz", images=values(50, 4, 4), labels=np.arange(3))
    cache = tmp_path / "cache"
    first = read(Location(path, "images", 7), array_cache=cache)
    unpacked = list(cache.iterdir())
    assert len(unpacked) == 1
    stamp = unpacked[0].stat().st_mtime_ns
    np.testing.assert_array_equal(first.planes()[0], values(50, 4, 4)[7])
    np.testing.assert_array_equal(read(Location(path, "images", 8), array_cache=cache).planes()[0], values(50, 4, 4)[8])
    assert [item.stat().st_mtime_ns for item in cache.iterdir()] == [stamp]
    npz(path, images=values(50, 4, 4) + 1)  # a changed archive is another archive
    changed = read(Location(path, "images", 7), array_cache=cache).planes()[0]
    np.testing.assert_array_equal(changed, values(50, 4, 4)[7] + 1)


def test_threads_unpack_one_after_another(tmp_path):
    path = npz(tmp_path / "a.npz", images=values(50, 4, 4))
    found: list[np.ndarray] = []
    workers = [
        threading.Thread(
            target=lambda k=k: found.append(read(Location(path, "images", k), array_cache=tmp_path / "c").array)
        )
        for k in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 6
    assert len(list((tmp_path / "c").iterdir())) == 1


def test_a_damaged_member_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=values(50, 20, 20))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz"):
        read(Location(path, "images", 0), array_cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*")) if (tmp_path / "cache").exists() else True


def test_a_changed_byte_of_an_uncompressed_archive_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=values(20, 20))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz cannot be read.*CRC-32"):
        read(Location(path))


def test_a_header_that_promises_too_much_is_noticed(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", buffer.getvalue())
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(DataError, match="truncated"):
            read(Location(tmp_path / "a.npz", "images", 0), array_cache=cache)


def test_an_unwritable_cache_is_the_commands_fault(tmp_path):
    path = npz(tmp_path / "a.npz", images=values(5, 4, 4))
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UsageError, match=r"cache folder .* cannot be written.*--cache"):
        read(Location(path, "images", 0), array_cache=tmp_path / "cache")
