"""Overlay pictures: true proportions, the colours of the segments, and the words."""

import numpy as np
import pytest
from PIL import Image

from radapt.deploy.dicom.structures import structure_of
from radapt.deploy.overlay import write_overlay
from radapt.errors import DataError
from radapt.images import Volume

LABELS = {1: "liver", 2: "tumour"}


def drawn(planes, spacing=(3.0, 2.0, 1.0)):
    return Volume.from_planes(np.asarray(planes), spacing)


def picture_of(path):
    return np.asarray(Image.open(path)).astype(int)


def test_structures_have_their_colours_in_true_proportions(tmp_path):
    grey = np.full((3, 40, 40), 100, np.int16)
    grey[0, 0, 0], grey[1, 0, 0] = 0, 200
    mask = np.zeros((3, 40, 40), np.uint8)
    mask[1, 10:20, 10:20], mask[1, 25:35, 25:35], mask[2, 5, 5] = 1, 2, 1
    write_overlay(tmp_path / "a.png", drawn(grey), drawn(mask), LABELS)
    picture = picture_of(tmp_path / "a.png")
    height, width = picture.shape[:2]
    assert height == 2 * width
    assert width >= 384
    for name, row, column in (("liver", 10, 10), ("tumour", 25, 25)):
        at = picture[int((row + 0.1) / 40 * height), int((column + 0.1) / 40 * width)]
        assert tuple(at) == structure_of(name).rgb
    inside = picture[int(15 / 40 * height), int(15 / 40 * width)]
    grey_level = picture[0, width // 2, 0]
    np.testing.assert_allclose(inside, 0.65 * grey_level + 0.35 * np.array(structure_of("liver").rgb), atol=1)
    untouched = picture[int(15 / 40 * height), int(30 / 40 * width)]
    assert len(set(untouched)) == 1


def test_the_words_are_part_of_the_picture(tmp_path):
    grey = np.zeros((1, 64, 64), np.int16)
    grey[0, :2] = 100
    write_overlay(tmp_path / "a.png", drawn(grey), drawn(np.zeros((1, 64, 64), np.uint8)), LABELS)
    picture = picture_of(tmp_path / "a.png")
    words = picture[picture.shape[0] * 3 // 4 :, :, 0] > 200
    assert words.any()
    assert words.any(axis=0).nonzero()[0].max() > picture.shape[1] // 3  # as long as the sentence, not one letter
    assert not (picture[picture.shape[0] // 4 : picture.shape[0] // 2] > 0).any()


def test_a_plane_can_be_chosen_and_axes_differ(tmp_path):
    grey = np.arange(4 * 8 * 8, dtype=np.int16).reshape(4, 8, 8)
    mask = np.zeros((4, 8, 8), np.uint8)
    mask[3] = 1
    write_overlay(tmp_path / "a.png", drawn(grey), drawn(mask), LABELS, plane=0)
    assert len(np.unique(picture_of(tmp_path / "a.png").std(axis=-1).round())) == 1
    write_overlay(tmp_path / "b.png", drawn(grey), drawn(mask), LABELS, axis="coronal")
    height, width = picture_of(tmp_path / "b.png").shape[:2]
    assert height / width == pytest.approx(12 / 8, rel=0.01)


def test_colour_images_keep_their_colours(tmp_path):
    colours = np.zeros((1, 8, 8, 3), np.uint8)
    colours[..., 0] = 200
    write_overlay(tmp_path / "a.png", Volume.from_planes(colours), drawn(np.zeros((1, 8, 8)), (1, 1, 1)), LABELS)
    assert tuple(picture_of(tmp_path / "a.png")[0, 0]) == (200, 0, 0)


def test_a_mask_of_another_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not lie on its image"):
        write_overlay(tmp_path / "a.png", drawn(np.zeros((1, 8, 8))), drawn(np.zeros((1, 8, 9))), LABELS)
    assert not (tmp_path / "a.png").exists()
