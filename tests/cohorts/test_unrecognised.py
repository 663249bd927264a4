"""Folders that no layout recognises are answered with what they hold and the nearest fix."""

from pathlib import Path

import numpy as np
import pytest

from layout_builders import touch
from radapt.cohorts import scan
from radapt.errors import DataError

JSON = ["images/1.png", "images/2.png", "annotations.json"]
YOLO = ["train/images/1.png", "train/labels/1.txt", "val/images/2.png", "val/labels/2.txt"]
VOC = ["imgs/1.png", "annotations/1.xml"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (JSON, "Annotations such as annotations.json are not read: list the images in a table"),
        (YOLO, "Annotations such as train/labels/1.txt are not read"),
        (VOC, "Annotations such as annotations/1.xml are not read"),
        (["images/1.png", "images/2.png", "README.md"], "Images alone have no labels"),
        (
            ["X_train.npy", "y_train.npy"],
            "If X_train.npy holds many images, save all arrays in one file with numpy.sav",
        ),
        (
            ["a/1.avi", "b/2.AVI", "b/notes"],
            "no.* ending of an image that radapt reads; there are 2 .avi, 1 without end",
        ),
        (["1.png", "2.png"], "Images alone have no labels"),
    ],
    ids=["coco", "yolo", "voc", "images", "stacks", "videos", "flat"],
)
def test_the_nearest_fix_is_said(names: list[str], said: str, tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in names))
    with pytest.raises(DataError, match=said.replace("(", r"\(")):
        scan(tmp_path)


def test_an_image_deep_below_is_not_denied(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "b" / "c" / "d" / "1.png", tmp_path / "a" / "e" / "f" / "2.avi", tmp_path / "x" / "3.avi")
    with pytest.raises(DataError) as raised:
        scan(tmp_path)
    assert "ending of an image" not in str(raised.value)


def test_the_fix_for_stacks_works(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (8, 16, 16), dtype=np.uint8), np.arange(8) % 2
    np.savez(tmp_path / "all.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    draft = scan(tmp_path / "all.npz", "medmnist")
    assert list(draft.table["split"]) == ["train"] * 8 + ["test"] * 8
