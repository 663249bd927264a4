"""Grey levels that compression or smoothing left in a mask are no structures; small structures are."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from radapt.errors import DataError
from radapt.images import Volume, mask_problems, read_mask
from radapt.images.smoothed_masks import smoothed_labels
from radapt.locations import Location

ROWS, COLUMNS = np.mgrid[:64, :64]
DISC = np.where((ROWS - 28) ** 2 + (COLUMNS - 33) ** 2 < 15**2, 255, 0).astype(np.uint8)
TWO = np.where(ROWS < 9, np.uint8(128), DISC)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(pixels: np.ndarray, factor: float, method: Image.Resampling) -> np.ndarray:
    side = int(len(pixels) * factor)
    return np.asarray(Image.fromarray(pixels).resize((side, side), method))


SMOOTHED = {
    **{f"jpeg {quality}": (jpeg(DISC, quality), (255,)) for quality in (30, 50, 75, 90, 95, 100)},
    "jpeg of two labels": (jpeg(TWO, 75), (128, 255)),
    "square": (jpeg(np.where((ROWS // 18 == 1) & (COLUMNS // 18 == 1), 255, 0).astype(np.uint8), 75), (255,)),
    "blurred": (np.rint(ndimage.gaussian_filter(DISC.astype(float), 1)).astype(np.uint8), (255,)),
    "shrunk": (resized(DISC, 0.5, Image.Resampling.BILINEAR), (255,)),
    "enlarged": (resized(DISC, 3, Image.Resampling.BICUBIC), (255,)),
}


@pytest.mark.parametrize(("pixels", "areas"), SMOOTHED.values(), ids=SMOOTHED)
def test_traces_of_smoothing_are_seen_and_the_labels_named(pixels, areas):
    assert smoothed_labels(pixels[None], np.unique(pixels)) == areas


def with_dots(dots: int, *squares: tuple[int, int]) -> np.ndarray:
    """(1, 48, 48): squares of (value, side) from the left, and one pixel of each value from 1 to `dots` below them."""
    pixels, left = np.zeros((1, 48, 48), np.uint8), 1
    for value, side in squares:
        pixels[0, 1 : 1 + side, left : left + side] = value
        left += side + 1
    pixels[0, 46, 1 : 1 + 2 * dots : 2] = np.arange(1, 1 + dots)
    return pixels


@pytest.mark.parametrize(
    ("pixels", "areas"),
    [
        (with_dots(7, (200, 5)), (200,)),  # 8 values, 7 of them dots: at least 3 × (1 + 1)
        (with_dots(6, (200, 5)), None),  # 7 values are few
        (with_dots(8, (200, 5), (100, 5)), None),  # 8 dots beside two areas are fewer than 3 × (2 + 1)
        (with_dots(9, (100, 5), (200, 6)), (200, 100)),  # 16 and 9 pixels have equal ones around them
        (with_dots(9, (100, 5), (200, 20)), (200,)),  # 9 of 434 marked pixels are less than 5 %
        (with_dots(21, *((value, 6) for value in range(201, 207))), (201, 202, 203, 204, 205)),  # 5 are named
        (with_dots(0, (255, 5), (250, 1)), (255,)),  # few values, but one that JPEG leaves beside white
        (with_dots(0, (255, 5), (246, 1)), None),
    ],
)
def test_lines_and_areas_are_counted(pixels, areas):
    assert smoothed_labels(pixels, np.unique(pixels)) == areas


def label_map(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Balls of different sizes, from some voxels upwards, each with its own number."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    labels = np.zeros(shape, np.uint16)
    middle = (np.prod(shape) / count) ** (1 / 3) * 0.4
    for label, radius in enumerate(middle * rng.uniform(0.3, 1.3, count), start=1):
        labels[((grid - rng.random(3) * shape) ** 2).sum(axis=-1) < radius**2] = label
    return labels


@pytest.mark.parametrize(("count", "shape"), [(30, (48, 48, 30)), (104, (32, 32, 20)), (7, (20, 20, 3))])
def test_many_small_structures_are_a_label_map(count, shape):
    labels = label_map(count, shape)
    assert smoothed_labels(labels, np.unique(labels)) is None


def test_a_label_beside_white_is_a_label():
    labels = np.where(ROWS < 9, np.uint8(254), DISC)
    assert smoothed_labels(labels[None], np.unique(labels)) is None


@pytest.mark.parametrize("declared", [(), (1,), (255,)])
def test_a_compressed_mask_is_refused_and_the_message_says_what_to_do(tmp_path, declared):
    Image.fromarray(DISC).save(tmp_path / "mask.jpg", quality=75)
    film = Volume.from_planes(np.zeros((1, 64, 64), np.uint8))
    message = r"values besides 0, nearly all in lines one pixel wide around areas of 255: traces of lossy compression"
    with pytest.raises(DataError, match=message) as caught:
        read_mask(Location(tmp_path / "mask.jpg"), film, declared)
    assert "set each pixel to the nearest of 0, 255." in str(caught.value)
    found = Volume.from_planes(jpeg(DISC, 75)[None])
    assert [remark.code for remark in mask_problems(found, [film], declared)] == ["mask_values"]
