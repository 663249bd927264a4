"""MedMNIST files of every task kind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from layout_builders import npz, scanned
from radapt.cohorts import scan
from radapt.cohorts.layouts.medmnist_facts import FACTS
from radapt.errors import DataError


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("size", ["", "_64"])
def test_every_medmnist_set_is_known(name: str, size: str, tmp_path: Path) -> None:
    names = FACTS[name].names
    multi = name == "chestmnist"
    labels = np.eye(len(names), dtype=np.uint8) if multi else np.arange(len(names), dtype=np.uint8)[:, None]
    shape = (3, 3, 3) if "3d" in name else (4, 4)
    cohort = scanned(npz(tmp_path / f"{name}{size}.npz", labels, shape), tmp_path)
    assert cohort.outputs == names
    assert cohort.task == ("multilabel" if multi else "binary" if len(names) == 2 else "multiclass")
    assert cohort.ordered == (name == "retinamnist")
    assert cohort.test_sets == ("test",)
    location = cohort.cases[-1].images["image"]
    assert (location.array, location.index) == ("test_images", len(names) - 1)
    if not multi:
        assert cohort.labels.tolist() == list(range(len(names))) * 3


def test_unknown_npz_is_read_by_the_shape_of_its_labels(tmp_path: Path) -> None:
    assert scanned(npz(tmp_path / "a.npz", np.array([0, 1, 2, 2])), tmp_path / "a").classes == ("0", "1", "2")
    assert scanned(npz(tmp_path / "b.npz", np.eye(3)), tmp_path / "b").findings == tuple(
        f"finding-{at}" for at in range(3)
    )


BAD_NPZ: dict[str, Callable[[Path], object]] = {
    "pickled labels": lambda path: npz(path, np.array([[{}], [{}]], dtype=object)),
    "pickled images": lambda path: np.savez(
        path, allow_pickle=True, train_images=np.full((2, 2, 2), None), train_labels=np.zeros((2, 1))
    ),
    "other lengths": lambda path: np.savez(path, train_images=np.zeros((3, 2, 2)), train_labels=np.zeros((2, 1))),
    "no number": lambda path: npz(path, np.array([["a"], ["b"]])),
    "negative": lambda path: npz(path, np.array([[-1], [1]])),
    "no label": lambda path: npz(path, np.array([[np.nan], [1.0]])),
    "half a class": lambda path: npz(path, np.array([[0.5], [1.0]])),
    "not 0 or 1": lambda path: npz(path, np.array([[0, 2], [1, 1]])),
    "truncated": lambda path: path.write_bytes(npz(path, np.zeros((9, 1))).read_bytes()[:-40]),
    "no zip": lambda path: path.write_bytes(b"nothing"),
    "other arrays": lambda path: np.savez(path, x=np.zeros(3)),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_npz(name: str, tmp_path: Path) -> None:
    BAD_NPZ[name](tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"x\.npz"):
        scan(tmp_path / "x.npz", "medmnist")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more"], ids=["empty", "truncated"])
def test_a_broken_npz_is_called_so_whatever_the_layout(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz.* breaks off"):
        scan(tmp_path / "x.npz")


@pytest.mark.parametrize("width", [(), (1,), (3,)])
def test_a_split_of_medmnist_may_be_empty(width: tuple[int, ...], tmp_path: Path) -> None:
    arrays = {"train_images": np.zeros((4, 2, 2)), "train_labels": np.resize([0, 1], (4, *width))}
    arrays |= {"val_images": np.zeros((0, 2, 2)), "val_labels": np.zeros((0, *width), int)}
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    assert set(scan(tmp_path / "x.npz").table["split"]) == {"train"}
