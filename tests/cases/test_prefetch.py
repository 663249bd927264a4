"""Reading ahead is in order and bounded, and errors and interruptions reach the right place."""

import threading
import time

import pytest

from radapt.cases.prefetch import prefetch, read_ahead
from radapt.errors import DataError


@pytest.mark.parametrize("workers", [1, 3])
def test_reading_ahead_keeps_order_and_leaves_out_what_fails(workers: int) -> None:
    def read(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        if number in (4, 6):
            raise DataError(f"torn {number}")
        return number * 10

    failed: list[tuple[int, str]] = []
    results = list(read_ahead(range(9), read, lambda number, error: failed.append((number, str(error))), workers))
    assert results == [(number, number * 10) for number in (0, 1, 2, 3, 5, 7, 8)]
    assert failed == [(4, "torn 4"), (6, "torn 6")]


def test_reading_ahead_is_bounded() -> None:
    started: list[int] = []

    def read(number: int) -> int:
        started.append(number)
        return number

    source = prefetch(read_ahead(range(1000), read, print, 2), 2)
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
    assert closed.wait(60)
    assert not [thread for thread in threading.enumerate() if thread.name == "radapt-prefetch"]
