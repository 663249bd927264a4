"""Fuzz all readers: workers judge inputs, faults are saved and made smaller, and a table says what came of all."""

import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from fuzz.attempt import FAULTS, Corpus, Outcome, Verdict
from fuzz.target import memory_folder
from fuzz.targets import TARGETS
from fuzz.worker import Answer, Replay, serve

HANG_S = 30.0
"""After so long without an answer a worker is killed."""

START_S = 900.0
"""After so long a worker that imports its libraries on a busy machine counts as dead."""

BATCH = 50
"""Seeds that a worker is given at once."""

MOST_SAVED = 10
"""Inputs saved of each reader and kind of fault."""


@dataclass
class Tally:
    """What came of the inputs of one reader."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    faults: list[dict[str, Any]] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        return sum(self.counts[name] for name in FAULTS)


class Worker:
    """A process for one reader, started again when it dies."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name, self._scratch = name, scratch
        self._context = _preloaded()
        self._process: Any = None

    def ask(self, seed: int, replay: Replay | None = None) -> Answer:
        """What comes of one input: that of a seed, or a given one."""
        return next(self.answers(seed, 1, replay))

    def answers(self, start: int, count: int, replay: Replay | None = None) -> Iterator[Answer]:
        """The answers to `count` seeds from `start`; fewer if the worker dies, the last then being the death."""
        if self._process is None:
            self._start()
        self._pipe.send((start, count, replay))
        for _ in range(count):
            try:
                if self._pipe.poll(HANG_S):
                    yield self._pipe.recv()
                    continue
                verdict: Verdict = "hang"
            except (EOFError, OSError):
                verdict = "crash"
            self._process.join(1)
            code = self._process.exitcode
            self.stop()
            yield Outcome(verdict, f"exit code {code}"), "", None
            return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=serve, args=(theirs, self.name, self._scratch / self.name), daemon=True
        )
        self._process.start()
        theirs.close()
        if not self._pipe.poll(START_S):
            raise RuntimeError(f"the worker of {self.name} does not start")
        if isinstance(problem := self._pipe.recv(), Exception):
            raise RuntimeError(f"the worker of {self.name} does not start: {problem}")


@cache
def _preloaded() -> ForkServerContext:
    """Processes that start with all libraries imported, in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fuzz.worker"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server finds modules by nothing else
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def fuzz(names: Sequence[str], *, seconds: float, seed: int, out: Path, most: int | None = None) -> dict[str, Tally]:
    """Fuzz the readers `names` for `seconds` in all; faults go into `out`. Each reader gets the same time."""
    tallies = {}
    scratch = memory_folder()
    try:
        for position, name in enumerate(names):
            tallies[name] = _fuzz_one(name, seconds / len(names), seed, out, scratch, most)
            print(f"{position + 1}/{len(names)} {line(name, tallies[name])}", flush=True)
            out.mkdir(parents=True, exist_ok=True)
            counts = {done: dict(tally.counts) for done, tally in tallies.items()}
            (out / "counts.json").write_text(json.dumps(counts, indent=1))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return tallies


def _fuzz_one(name: str, share_s: float, seed: int, out: Path, scratch: Path, most: int | None) -> Tally:
    tally, worker = Tally(), Worker(name, scratch)
    number = seed * 10_000_000
    start = time.monotonic() if worker.ask(number) else 0.0  # the process has started
    while time.monotonic() < start + share_s and (most is None or tally.inputs < most):
        answers = list(worker.answers(number, BATCH if most is None else min(BATCH, most - tally.inputs)))
        for outcome, kind, replay in answers:
            outcome = _confirmed(worker, number, outcome)
            tally.counts[outcome.verdict] += 1
            if outcome.verdict in FAULTS:
                _save(name, number, outcome, kind, replay, tally, worker, out, scratch)
            number += 1
    worker.stop()
    tally.seconds = time.monotonic() - start
    return tally


def _confirmed(worker: Worker, number: int, outcome: Outcome) -> Outcome:
    """The outcome, measured again if it depends on what else the machine does."""
    if outcome.verdict not in ("slow", "hang", "memory"):
        return outcome
    return worker.ask(number)[0]


def _save(
    name: str,
    number: int,
    outcome: Outcome,
    kind: str,
    replay: Replay | None,
    tally: Tally,
    worker: Worker,
    out: Path,
    scratch: Path,
) -> None:
    if sum(fault["verdict"] == outcome.verdict for fault in tally.faults) >= MOST_SAVED:
        return
    if replay is None:  # the worker died; this process can make the input without reading it
        damage, resealed = _remade(name, number, scratch)
        kind, replay = damage.kind, (damage.content, resealed)
    elif outcome.verdict in ("traceback", "silent"):
        replay = _smaller(worker, replay, outcome.verdict)
    folder = out / name.replace(" ", "-").replace(".", "-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.verdict}-{number}"
    path.write_bytes(replay[0])
    fault = {
        "reader": name,
        "verdict": outcome.verdict,
        "seed": number,
        "damage": kind,
        "resealed": replay[1],
        "note": outcome.note,
    }
    (folder / f"{outcome.verdict}-{number}.json").write_text(json.dumps(fault, indent=1))
    tally.faults.append(fault)


def _remade(name: str, number: int, scratch: Path) -> Any:
    corpus = Corpus.__new__(Corpus)
    corpus.target, corpus.seeds = TARGETS[name], [bytes(seed) for seed in TARGETS[name].seeds()]
    return corpus.make(random.Random(number))


def _smaller(worker: Worker, replay: Replay, verdict: str) -> Replay:
    """The input without parts that the fault does not need; a few hundred tries at most."""
    content, resealed = replay
    step, tries = len(content) // 2, 0
    while step and tries < 200:
        at = 0
        while at < len(content) and tries < 200:
            shorter = content[:at] + content[at + step :]
            tries += 1
            if worker.ask(0, (shorter, resealed))[0].verdict == verdict:
                content = shorter
            else:
                at += step
        step //= 2
    return content, resealed


def line(name: str, tally: Tally) -> str:
    counts = ", ".join(f"{verdict} {count}" for verdict, count in sorted(tally.counts.items()))
    return f"{name}: {tally.inputs:,} inputs in {tally.seconds:.0f} s: {counts}"
