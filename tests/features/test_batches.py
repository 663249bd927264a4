"""Batches are full and in order, reading ahead is bounded, and errors and interruptions reach the right place."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from radapt.errors import DataError
from radapt.features.batches import SliceSource, pack, prefetch, read_ahead
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


@pytest.mark.parametrize("workers", [1, 3])
def test_reading_ahead_keeps_order_and_leaves_out_what_fails(workers: int) -> None:
    def read(one: SliceSource) -> np.ndarray:
        number = int(one.key[3:])
        time.sleep(0.001 * (number % 3))
        if number == 4:
            raise DataError("torn")
        return planes(number, 0 if number == 6 else 1)

    failed: list[tuple[str, str]] = []
    images = [image(number) for number in range(9)]
    found = list(read_ahead(images, read, lambda one, error: failed.append((one.key, str(error))), workers))
    assert [one.key for one, _ in found] == [f"key{number}" for number in (0, 1, 2, 3, 5, 7, 8)]
    assert [key for key, _ in failed] == ["key4", "key6"]
    assert "at least one" in failed[1][1]


def test_reading_ahead_is_bounded() -> None:
    started: list[str] = []

    def read(one: SliceSource) -> np.ndarray:
        started.append(one.key)
        return planes(0, 1)

    source = prefetch(read_ahead((image(number) for number in range(1000)), read, print, 2), 2)
    next(source)
    time.sleep(0.2)
    assert len(started) < 12
    source.close()


def test_prefetched_errors_are_raised_where_items_are_used() -> None:
    def items() -> object:
        yield 1
        raise RuntimeError("from the thread")

    source = prefetch(items())
    assert next(source) == 1
    with pytest.raises(RuntimeError, match="from the thread"):
        next(source)


def test_an_abandoned_prefetch_ends_its_thread() -> None:
    closed = threading.Event()

    def items() -> object:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    source = prefetch(items())
    next(source)
    source.close()
    assert closed.wait(5)
    assert not [thread for thread in threading.enumerate() if thread.name == "radapt-prefetch"]
