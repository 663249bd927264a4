"""Batches are full and in order."""

from pathlib import Path

import numpy as np

from radapt.features.batches import SliceSource, pack
from radapt.locations import Location


def image(number: int) -> SliceSource:
    return SliceSource(f"key{number}", f"c{number}", "t1", Location(Path(f"{number}.npy")))


def planes(number: int, count: int, channels: int = 1) -> np.ndarray:
    return np.full((count, channels, 2, 2), number, dtype=np.uint8)


def test_batches_cross_images_and_are_padded() -> None:
    read = [(image(1), planes(1, 2)), (image(2), planes(2, 5)), (image(3), planes(3, 1))]
    made = list(pack(read, 3))
    assert [batch.pixels[:, 0, 0, 0].tolist() for batch in made] == [[1, 1, 2], [2, 2, 2], [2, 3, 0]]
    spans = [[(span.image.key, span.start, span.stop, span.total) for span in batch.spans] for batch in made]
    assert spans == [
        [("key1", 0, 2, 2), ("key2", 2, 3, 5)],
        [("key2", 0, 3, 5)],
        [("key2", 0, 1, 5), ("key3", 1, 2, 1)],
    ]


def test_grey_beside_colour_is_repeated() -> None:
    (batch,) = pack([(image(1), planes(1, 1)), (image(2), planes(2, 1, 3))], 2)
    assert batch.pixels.shape == (2, 3, 2, 2)
    assert (batch.pixels[0] == 1).all()


def test_nothing_gives_no_batch() -> None:
    assert list(pack([], 4)) == []
