"""What damage costs: larger files, damaged in many ways, against the undamaged file of their size."""

import contextlib
import random
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz.attempt import peak, peak_reset
from fuzz.mutations import damaged
from fuzz.targets.pictures import large
from radapt.errors import RadaptError
from radapt.images import read
from radapt.locations import Location

TIMES = 2.0
"""Damaged input may take at most so many times the processor time of the undamaged one."""

SLACK_S = 0.05
SIZES = 8
"""And so many times its decoded size in memory."""

SLACK_BYTES = 16 << 20


@dataclass(frozen=True)
class Cost:
    """The dearest damaged inputs of a format: times the undamaged time, and times the decoded size."""

    kind: str
    undamaged_s: float
    worst_s: float
    decoded_bytes: int
    worst_bytes: int

    @property
    def is_bounded(self) -> bool:
        return (
            self.worst_s <= TIMES * self.undamaged_s + SLACK_S
            and self.worst_bytes <= SIZES * self.decoded_bytes + SLACK_BYTES
        )


def cost(kind: str, folder: Path, *, count: int, seed: int = 0) -> Cost:
    """Measure `count` damaged inputs of the format `kind`."""
    content, rng = large(kind), random.Random(seed)
    path = folder / f"x.{kind}"
    path.write_bytes(content)
    decoded = max(read(Location(path)).array.nbytes, len(content))
    usual = min(_measured(path)[0] for _ in range(3))
    seconds = size = 0.0
    for _ in range(count):
        path.write_bytes(damaged(rng, content, (), [content], text=False).content)
        took, grown = _measured(path)
        if took > TIMES * usual + SLACK_S:
            took = min(took, _measured(path)[0])  # the machine may have been busy
        seconds, size = max(seconds, took), max(size, grown)
    return Cost(kind, usual, seconds, decoded, int(size))


def _measured(path: Path) -> tuple[float, int]:
    before, start = peak_reset(), time.process_time()
    with contextlib.suppress(RadaptError):
        read(Location(path))
    return time.process_time() - start, peak() - before
