"""Reading ahead: threads read the next cases while the ones before them are used, and never far ahead.

`training.prefetch` is another thing: it loads the next part of a known order, and drops it where memory ran out.
"""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from radapt.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

READERS = 2
"""Threads that read ahead for training: planes are decoded once, and then mapped."""

_JOIN_S = 5.0  # a thread deep in one long read is not waited for longer than this


def read_ahead(
    items: Iterable[T], read: Callable[[T], R], failed: Callable[[T, DataError], None], workers: int = 1
) -> Iterator[tuple[T, R]]:
    """Each item with what `read` gives of it, in order; `workers` threads read at most that many items ahead.

    An item whose reading raises DataError is given to `failed`, with the error, and left out.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="radapt-read") as pool:
        coming: deque[tuple[T, Future[R]]] = deque()
        rest = iter(items)
        try:
            while True:
                for item in rest:
                    coming.append((item, pool.submit(read, item)))
                    if len(coming) > workers:
                        break
                if not coming:
                    return
                item, future = coming.popleft()
                try:
                    yield item, future.result()
                except DataError as error:
                    failed(item, error)
        finally:
            for _, future in coming:
                future.cancel()


def prefetch(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """The same items, made by a thread that keeps at most `depth` of them waiting; its errors are raised here."""
    thread = _Prefetch(items, depth)
    try:
        yield from thread
    finally:
        thread.stop()


class _Prefetch(Generic[T]):
    def __init__(self, items: Iterable[T], depth: int) -> None:
        self._queue: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), name="radapt-prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            word, item = self._queue.get()
            if word == "item":
                yield item  # type: ignore[misc]
            elif isinstance(item, BaseException):
                raise item
            else:
                return

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(_JOIN_S)

    def _run(self, items: Iterable[T]) -> None:
        try:
            with contextlib.closing(_generator(items)) as source:
                for item in source:
                    if not self._put(("item", item)):
                        return
            self._put(("end", None))
        except BaseException as error:
            self._put(("error", error))

    def _put(self, message: tuple[str, T | BaseException | None]) -> bool:
        """Wait for room in the queue; False if the consumer has stopped."""
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(message, timeout=0.1)
                return True
        return False


def _generator(items: Iterable[T]) -> Generator[T, None, None]:
    yield from items
