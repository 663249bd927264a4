"""A process that judges inputs, one after the other, within a limit of memory."""

import contextlib
import os
import random
import resource
import sys
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz.attempt import FAULTS, Corpus, Outcome
from fuzz.target import use_scratch
from fuzz.targets import TARGETS

Replay = tuple[bytes, bool]
"""An input, and whether its checksums were repaired."""

Answer = tuple[Outcome, str, Replay | None]
"""The outcome of an input, the kind of its damage, and the input itself if it is a fault."""

MEMORY = 1 << 30
"""Bytes that a worker may allocate beyond what it has after reading the seeds."""


def serve(connection: Connection, name: str, scratch: Path) -> None:
    """Answer each order (first seed, number of seeds, or an input to replay) by one answer for each seed."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)  # libraries print what they think of damaged files
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(1000)
    scratch.mkdir(parents=True, exist_ok=True)
    use_scratch(scratch)
    try:
        corpus = Corpus(TARGETS[name], scratch)
    except Exception as error:
        connection.send(error)
        raise
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as file:  # noqa: PTH123
        used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    connection.send(corpus.usual_s)
    while (order := connection.recv()) is not None:
        start, count, replay = order
        for number in range(start, start + count):
            connection.send(_answer(corpus, number, replay))


def _answer(corpus: Corpus, number: int, replay: Replay | None) -> Answer:
    if replay is None:
        damage, resealed = corpus.make(random.Random(number))
        content, kind = damage.content, damage.kind
    else:
        (content, resealed), kind = replay, "replay"
    outcome = corpus.judge(content, resealed=resealed)
    return outcome, kind, (content, resealed) if outcome.verdict in FAULTS else None
