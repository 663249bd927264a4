"""Processes that work in one run folder at once: who is alive, and who has claimed which cell.

Each process has a file in `RUN/workers/` and touches it while it lives. A claim names the process that has it, and is
worth as much as that process is alive. Files are read and written under a lock, which lasts for moments only.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from radapt.durable import write_json
from radapt.studies.shard import Shard

WORKERS = "workers"
_BEAT_S, _DEAD_S = 10.0, 60.0
"""How often a process touches its file, and how long after the last time it counts as dead."""


@dataclass(frozen=True)
class Worker:
    """A process: where it runs, and when it began (process ids are used again)."""

    name: str
    shard: str
    host: str
    pid: int
    began: float

    @classmethod
    def this(cls, shard: Shard) -> "Worker":
        own = psutil.Process()
        return cls(secrets.token_hex(8), str(shard), socket.gethostname(), own.pid, own.create_time())


class Workers:
    """The processes and claims of the run folder at `folder`. `me` is this process while it is `at_work`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / WORKERS
        self._me: Worker | None = None

    @contextlib.contextmanager
    def at_work(self, shard: Shard) -> Iterator[None]:
        """Be listed as the worker of `shard` while the block lasts; earlier ones of it that died are struck off."""
        me = Worker.this(shard)
        with self._locked():
            for worker in self._listed():
                if worker.shard == me.shard and not self._lives(worker):
                    self._strike(worker)
            write_json(self._file(me), asdict(me))
        self._me = me
        ended = threading.Event()
        beating = threading.Thread(target=self._beat, args=(self._file(me), ended), daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()
            with self._locked():
                self._strike(me)
            self._me = None

    def alive(self) -> list[Worker]:
        """The other processes at work."""
        if not self._folder.is_dir():
            return []
        with self._locked():
            return [worker for worker in self._listed() if worker != self._me and self._lives(worker)]

    def claim(self, cell_id: str) -> bool:
        """Claim a cell; False if a living process has it. Without `at_work` nobody else is here."""
        if self._me is None:
            return True
        with self._locked():
            file = self._claims / cell_id
            holder = file.read_text(encoding="utf-8") if file.is_file() else ""
            others = {worker.name for worker in self._listed() if worker != self._me and self._lives(worker)}
            if holder in others:
                return False
            self._claims.mkdir(exist_ok=True)
            file.write_text(self._me.name, encoding="utf-8")
            return True

    def abandoned(self) -> list[Shard]:
        """The shards whose process died, and which nobody has begun again."""
        if not self._folder.is_dir():
            return []
        with self._locked():
            listed = self._listed()
            living = {worker.shard for worker in listed if self._lives(worker)}
            dead = dict.fromkeys(worker.shard for worker in listed if not self._lives(worker))
            return [Shard.of(name) for name in dead if name not in living]

    def strike(self, shard: Shard) -> None:
        """Strike off the dead processes of a shard, when nothing of theirs is left to do."""
        with self._locked():
            for worker in self._listed():
                if worker.shard == str(shard) and not self._lives(worker):
                    self._strike(worker)

    @property
    def _claims(self) -> Path:
        return self._folder / "claims"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / ".lock"):
            yield

    def _file(self, worker: Worker) -> Path:
        return self._folder / f"{worker.name}.json"

    def _listed(self) -> Sequence[Worker]:
        found = []
        for file in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError, TypeError):
                found.append(Worker(**json.loads(file.read_text(encoding="utf-8"))))
        return found

    def _lives(self, worker: Worker) -> bool:
        """On this machine the process is looked up; elsewhere its file was touched lately, by the clock of the disk."""
        if worker.host == socket.gethostname():
            try:
                return abs(psutil.Process(worker.pid).create_time() - worker.began) < 1
            except psutil.Error:
                return False
        try:
            return self._now() - self._file(worker).stat().st_mtime < _DEAD_S
        except OSError:
            return False

    def _now(self) -> float:
        clock = self._folder / ".lock"
        try:
            os.utime(clock)
            return clock.stat().st_mtime
        except OSError:
            return time.time()

    def _strike(self, worker: Worker) -> None:
        self._file(worker).unlink(missing_ok=True)
        if self._claims.is_dir():
            for file in self._claims.iterdir():
                if file.read_text(encoding="utf-8") == worker.name:
                    file.unlink(missing_ok=True)

    @staticmethod
    def _beat(file: Path, ended: threading.Event) -> None:
        while not ended.wait(_BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(file)
