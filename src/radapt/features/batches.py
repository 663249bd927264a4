"""Slices on their way to the encoder: read ahead by threads, packed into batches of one fixed size."""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from radapt.errors import DataError
from radapt.locations import Location

T = TypeVar("T")

_JOIN_S = 5.0  # a thread deep in one long read is not waited for longer than this


class ModalityPart(NamedTuple):
    """One of several images that are encoded together: its column in the encoder's modalities, and where it lies."""

    column: int
    location: Location


class SliceSource(NamedTuple):
    """One modality of one case, or several `parts` seen together, and the key its features are stored under."""

    key: str
    case: str
    modality: str
    location: Location
    parts: tuple[ModalityPart, ...] = ()


class Span(NamedTuple):
    """Rows start ≤ row < stop of a batch are slices of `image`, which has `total` of them."""

    image: SliceSource
    start: int
    stop: int
    total: int


class Batch(NamedTuple):
    """Pixels uint8 (B, C, H, W), C = 1 or 3; rows beyond the last span are padding.

    Of images seen together they are (B, M, C, H, W), and `present` (B, M) bool says which a row has.
    """

    pixels: np.ndarray
    spans: tuple[Span, ...]
    present: np.ndarray | None = None


Planes = Callable[[SliceSource], np.ndarray]
Failed = Callable[[SliceSource, DataError], None]


def read_ahead(
    images: Iterable[SliceSource], planes: Planes, failed: Failed, workers: int = 1
) -> Iterator[tuple[SliceSource, np.ndarray]]:
    """Each image with its planes uint8 (n, C, H, W), in order, a few of them read ahead by `workers` threads.

    An image that cannot be read is given to `failed` and left out.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="radapt-read") as pool:
        coming: deque[tuple[SliceSource, Future[np.ndarray]]] = deque()
        rest = iter(images)
        try:
            while True:
                for image in rest:
                    coming.append((image, pool.submit(planes, image)))
                    if len(coming) > workers:
                        break
                if not coming:
                    return
                image, future = coming.popleft()
                try:
                    yield image, _checked(future.result(), image)
                except DataError as error:
                    failed(image, error)
        finally:
            for _, future in coming:
                future.cancel()


def pack(read: Iterable[tuple[SliceSource, np.ndarray]], size: int) -> Iterator[Batch]:
    """Batches of exactly `size` slices, across the borders of images; the last one is filled up with zeros.

    Every batch having one shape is what makes a slice's numbers the same whatever else is in its batch.
    """
    pieces: list[np.ndarray] = []
    spans: list[Span] = []
    filled = 0
    for image, planes in read:
        done = 0
        while done < len(planes):
            take = min(size - filled, len(planes) - done)
            pieces.append(planes[done : done + take])
            spans.append(Span(image, filled, filled + take, len(planes)))
            done, filled = done + take, filled + take
            if filled == size:
                yield _batch(pieces, spans, size)
                pieces, spans, filled = [], [], 0
    if spans:
        yield _batch(pieces, spans, size)


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
        """Wait for room in the queue; False if nobody wants it any more."""
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(message, timeout=0.1)
                return True
        return False


def _generator(items: Iterable[T]) -> Generator[T, None, None]:
    yield from items


def _checked(planes: np.ndarray, image: SliceSource) -> np.ndarray:
    if planes.ndim != (5 if image.parts else 4) or planes.dtype != np.uint8 or not len(planes):
        found = f"{planes.dtype} {planes.shape}"
        raise DataError(f"{image.location} gave planes {found}; expected at least one uint8 (C, H, W).")
    return planes


def _batch(pieces: list[np.ndarray], spans: list[Span], size: int) -> Batch:
    first, channels = pieces[0], max(piece.shape[-3] for piece in pieces)
    pixels = np.zeros((size, *first.shape[1:-3], channels, *first.shape[-2:]), dtype=np.uint8)
    for piece, span in zip(pieces, spans, strict=True):
        pixels[span.start : span.stop] = piece  # grey beside colour is repeated over the channels
    return Batch(pixels, tuple(spans))
