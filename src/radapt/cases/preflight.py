"""Read all that a training needs before it starts, so that everything damaged is named at once and not hours later."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from radapt.cases.prefetch import READERS
from radapt.cases.reader import CaseReader
from radapt.errors import DataError
from radapt.progress import ProgressMaker

T = TypeVar("T")
R = TypeVar("R")

LISTED = 20
"""Failures that a message names one by one."""


def attempt(
    items: Sequence[T],
    read: Callable[[T], R],
    progress: ProgressMaker,
    label: str,
    unit: str,
    workers: int = READERS,
) -> tuple[dict[int, R], dict[int, str]]:
    """Read all items by several threads: what `read` gives, and why it raised DataError, each by position, rising."""

    def tried(item: T) -> tuple[R] | str:
        try:
            return (read(item),)
        except DataError as error:
            return str(error)

    results: dict[int, R] = {}
    failures: dict[int, str] = {}
    with progress(len(items), label, unit) as advance, ThreadPoolExecutor(workers, "radapt-read") as pool:
        for position, result in enumerate(pool.map(tried, items)):
            if isinstance(result, str):
                failures[position] = result
            else:
                results[position] = result[0]
            advance(1)
    return results, failures


def failure_list(head: str, reasons: Iterable[str], listed: int = LISTED) -> str:
    """A message of one line per reason, which should begin with the case, after `head`; the rest is counted."""
    lines = [f"  {_lowered(reason)}" for reason in reasons]
    rest = [f"  and {len(lines) - listed} more"] if len(lines) > listed else []
    return "\n".join([f"{head}:", *lines[:listed], *rest])


def read_images(reader: CaseReader, rows: Sequence[int] | np.ndarray, progress: ProgressMaker) -> tuple[int, list[str]]:
    """Decode every image of the cases at `rows`: the most channels that any has, and a key of each image's bytes.

    Raises DataError for a case without images, and one that lists all images that cannot be read.
    """
    for row in rows:
        if not reader.case(int(row)).images:
            name = reader.case(int(row)).case
            raise DataError(f"Case {name} has no image, so nothing can be learned from it. Remove its row.")
    images = [(int(row), column) for row in rows for column in reader.columns(int(row))]
    label = f"Reading {reader.cohort.name}"
    channels, failures = attempt(images, lambda image: reader.image(*image).shape[1], progress, label, "images")
    if failures:
        head = (
            f"{len(failures)} of the {len(images)} images that {reader.cohort.name} trains and chooses on cannot be "
            "used. Correct these, or leave their rows out of the table, and run again"
        )
        raise DataError(failure_list(head, failures.values()))
    keys = [reader.cache.key(reader.location(*image), reader.recipe) for image in images]
    return max(channels.values(), default=1), keys


def _lowered(reason: str) -> str:
    return reason[0].lower() + reason[1:] if reason.startswith("Case ") else reason
