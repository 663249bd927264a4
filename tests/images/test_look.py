"""Looking at the foreground: what a crop shows, and that black around the patient changes nothing."""

import numpy as np
import pytest

from radapt.errors import UsageError
from radapt.images import Recipe, Volume
from radapt.images.cropping import cropped

SIZE = 32
FOREGROUND = Recipe.for_kind("other", size=SIZE, look="foreground")


def volume(*planes: np.ndarray) -> Volume:
    """Planes (h, w) uint8, rows from the top, as an axial volume whose planes come out as they went in."""
    probe = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE)
    for turned in (lambda a: a, lambda a: a.T, lambda a: a[::-1, ::-1].T, lambda a: a[::-1].T, lambda a: a.T[::-1]):
        stack = np.stack([turned(plane) for plane in planes], axis=2)
        plain = Volume(np.stack([turned(probe)] * 2, axis=2), np.eye(4))
        if (Recipe.for_kind("other", size=SIZE).apply(plain)[0, 0] == probe).all():
            return Volume(stack, np.eye(4))
    raise AssertionError("no orientation found")


def picture(top: int, left: int, content: np.ndarray) -> np.ndarray:
    plane = np.zeros((SIZE, SIZE), np.uint8)
    plane[top : top + len(content), left : left + len(content[0])] = content
    return plane


def texture(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 256, (side, side)).astype(np.uint8)


def test_a_crop_of_the_whole_plane_changes_nothing() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 3, 20, 28)).astype(np.uint8)
    np.testing.assert_array_equal(cropped(planes, np.tile([0, 0, 20, 28], (3, 1))), planes)


def test_a_box_is_enlarged_bilinearly_in_its_place() -> None:
    plane = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8) * 3
    crop = cropped(plane, np.asarray([[2, 4, 6, 8]]))[0, 0]
    # Twice as large: pixel centres lie a quarter and three quarters into the pixels of the box, away from the edges.
    rows, columns = np.meshgrid(2 + (np.arange(8) + 0.5) / 2 - 0.5, 4 + (np.arange(8) + 0.5) / 2 - 0.5, indexing="ij")
    np.testing.assert_allclose(crop[:, :7], (3 * (8 * rows + columns))[:, :7], atol=0.51)


def test_an_oblong_box_is_not_stretched() -> None:
    plane = picture(4, 8, np.full((16, 4), 200, np.uint8))[None, None]
    crop = cropped(plane, np.asarray([[4, 8, 20, 12]]))[0, 0]
    bright = crop > 100
    assert bright.any(axis=1).sum() == SIZE  # the longer side fills the picture
    assert bright.any(axis=0).sum() == SIZE // 4


def test_a_square_in_a_corner_gives_the_picture_of_the_square_alone() -> None:
    square = np.full((8, 8), 200, np.uint8)
    corner = FOREGROUND.apply(volume(picture(3, 20, square)))[0, 0]
    assert (corner[2:-2, 2:-2] == 200).all()
    assert corner.min() >= 75  # bilinear interpolation fades half a source pixel at the edges, twice at the corners


@pytest.mark.parametrize(("top", "left"), [(2, 3), (12, 9), (17, 1)])
def test_the_place_of_the_patient_in_the_plane_changes_nothing(top: int, left: int) -> None:
    content = texture(13)
    first = FOREGROUND.apply(volume(picture(5, 5, content)))
    np.testing.assert_array_equal(FOREGROUND.apply(volume(picture(top, left, content))), first)


def test_black_around_an_image_changes_nothing() -> None:
    content = texture(16)
    alone = Volume(np.stack([content.T] * 2, axis=2), np.eye(4))  # framed to 32 × 32, each pixel twice as large
    padded = Volume(np.pad(np.asarray(alone.array), ((8, 8), (8, 8), (0, 0))), np.eye(4))
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # the edges fade into black or end
    np.testing.assert_allclose(FOREGROUND.apply(padded)[inner], FOREGROUND.apply(alone)[inner].astype(int), atol=1)
    whole = FOREGROUND.whole
    assert np.abs(whole.apply(padded)[inner].astype(int) - whole.apply(alone)[inner]).max() > 50


def test_planes_with_little_of_the_patient_are_left_out() -> None:
    full, tip, empty = picture(4, 4, texture(20)), picture(4, 4, texture(5)), np.zeros((SIZE, SIZE), np.uint8)
    stack = volume(full, tip, full, empty)
    assert len(FOREGROUND.whole.apply(stack)) == 4
    assert len(FOREGROUND.apply(stack)) == 2  # 25 of 400 pixels are less than a tenth


def test_an_image_without_foreground_stays_whole() -> None:
    stack = volume(*[np.full((SIZE, SIZE), 9, np.uint8)] * 3)
    np.testing.assert_array_equal(FOREGROUND.apply(stack), FOREGROUND.whole.apply(stack))


def test_neighbouring_planes_are_cropped_like_the_plane_itself() -> None:
    recipe = Recipe.for_kind("other", size=SIZE, neighbours=1, look="foreground")
    planes = [picture(4 + 2 * number, 6, texture(12, number)) for number in range(3)]
    looked = recipe.apply(volume(*planes))
    box = np.asarray([[6, 6, 18, 18]])
    expected = cropped(np.stack(planes)[None], box)[0]
    assert sorted(int((looked[1] == one).sum()) for one in (expected, expected[::-1]))[-1] == looked[1].size


def test_digests_of_whole_planes_stay_and_others_differ() -> None:
    plain, foreground = Recipe.for_kind("mri"), Recipe.for_kind("mri", look="foreground")
    assert plain.digest != foreground.digest
    assert plain.digest == foreground.whole.digest
    assert "cropped to the foreground" in foreground.describe()
    assert "cropped" not in plain.describe()


@pytest.mark.parametrize(
    ("kind", "look"), [("ct", "foreground"), ("mri", "foreground"), ("xray", "whole"), ("other", "whole")]
)
def test_the_kind_decides_by_default(kind: str, look: str) -> None:
    assert Recipe.for_kind(kind, look=None).look == look


@pytest.mark.parametrize("wrong", ["foregrund", "", "WHOLE", 1])
def test_another_look_is_refused(wrong: object) -> None:
    with pytest.raises(UsageError, match="There is no look"):
        Recipe.for_kind("mri", look=wrong)  # type: ignore[arg-type]


def test_cropped_planes_have_no_fixed_place() -> None:
    with pytest.raises(UsageError, match=r"Recipe\.whole"):
        FOREGROUND.place(volume(picture(0, 0, texture(9))))
