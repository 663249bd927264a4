"""A mask in several files: one structure each, joined when it is read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radapt.digests import ByteDigests
from radapt.errors import DataError
from radapt.images.masks import read_labels
from radapt.locations import Location


def save(path: Path, rows: slice, value: int = 255, size: tuple[int, int] = (8, 12)) -> None:
    array = np.zeros(size, np.uint8)
    array[rows] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def joined(folder: Path, parts: str) -> np.ndarray:
    return read_labels(Location.parse(f"{folder}::{{{parts}}}")).planes("axial")[0]


def test_each_part_has_its_label_and_the_last_wins_where_they_overlap(tmp_path: Path) -> None:
    save(tmp_path / "left" / "a.png", slice(1, 4))
    save(tmp_path / "right" / "a.png", slice(3, 6), value=1)
    labels = joined(tmp_path, "1=left/a.png|2=right/a.png")
    assert labels[:, 0].tolist() == [0, 1, 1, 2, 2, 2, 0, 0]


def test_parts_of_one_label_are_united(tmp_path: Path) -> None:
    save(tmp_path / "a.png", slice(1, 2))
    save(tmp_path / "b.png", slice(5, 6))
    assert joined(tmp_path, "1=a.png|1=b.png")[:, 0].tolist() == [0, 1, 0, 0, 0, 1, 0, 0]


def test_an_empty_part_is_an_absent_structure(tmp_path: Path) -> None:
    save(tmp_path / "a.png", slice(0, 0))
    save(tmp_path / "b.png", slice(5, 6))
    assert set(np.unique(joined(tmp_path, "1=a.png|2=b.png"))) == {0, 2}


def test_parts_of_other_grids_or_of_several_structures_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", slice(1, 2))
    save(tmp_path / "b.png", slice(1, 2), size=(9, 12))
    with pytest.raises(DataError, match=r"b\.png does not lie in the grid of"):
        joined(tmp_path, "1=a.png|2=b.png")
    array = np.zeros((8, 12), np.uint8)
    array[1], array[2] = 1, 2
    Image.fromarray(array).save(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"c\.png is one structure of several"):
        joined(tmp_path, "1=a.png|2=c.png")


def test_the_digest_depends_on_every_part_and_its_label(tmp_path: Path) -> None:
    save(tmp_path / "a.png", slice(1, 2))
    save(tmp_path / "b.png", slice(5, 6))
    digests = ByteDigests(tmp_path / "cache")
    texts = ["1=a.png|2=b.png", "1=a.png|1=b.png", "1=b.png|2=a.png", "1=a.png"]
    found = {digests.of(Location.parse(f"{tmp_path}::{{{text}}}")) for text in texts}
    assert len(found) == len(texts)
    before = digests.of(Location.parse(f"{tmp_path}::{{1=a.png|2=b.png}}"))
    save(tmp_path / "b.png", slice(6, 7))
    assert digests.of(Location.parse(f"{tmp_path}::{{1=a.png|2=b.png}}")) != before
