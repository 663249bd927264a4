"""Shares of a study as processes of this machine, each with a device of its own."""

import multiprocessing
import pickle
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from radapt.devices import pick_device
from radapt.errors import RadaptError, UsageError
from radapt.features.on_devices import others
from radapt.studies.engines.shares import Shares
from radapt.studies.plan import StudyFailure
from radapt.studies.run import Outcome

_RETRIES = 2
"""How often a share is begun again after its process has died. Finished cells are not run again."""


def run_on_devices(shares: Shares) -> Iterator[Outcome | StudyFailure]:
    """The outcome of each share, as it ends; there are as many as devices, and a cell runs on one of them alone.

    A share whose process dies is begun again. A script that calls this needs `if __name__ == "__main__":`.
    """
    first = torch.device(pick_device(shares.device))
    on = [str(first), *others(first, shares.workers)]
    running = {number: _Process(replace(shares, device=on[number - 1], devices=1), number) for number in shares.numbers}
    try:
        while running:
            ended = wait([process.sentinel for process in running.values()])
            for number, process in [*running.items()]:
                if process.sentinel in ended and (outcome := process.outcome()) is not None:
                    running.pop(number)
                    yield outcome
    finally:
        for process in running.values():
            process.stop()


class _Process:
    """The process of one share."""

    def __init__(self, shares: Shares, number: int) -> None:
        self._shares, self._number, self._begun = shares, number, 0
        self._name = f"worker {number}/{shares.workers}"
        self._start()

    @property
    def sentinel(self) -> Any:
        """Ready when the share has ended: the receiving end of its pipe, which its process closes in any case."""
        return self._result

    def outcome(self) -> Outcome | StudyFailure | None:
        """That of a share that has ended; None if it is begun again. Raises the UsageError of a share."""
        try:
            found: Outcome | RadaptError = pickle.loads(self._result.recv_bytes())  # of our own process
        except EOFError:
            self._process.join()
            if self._begun <= _RETRIES:
                self._start()
                return None
            died = f"Its process died {self._begun} times, with exit code {self._process.exitcode}."
            return StudyFailure(self._name, died)
        self._process.join()
        if isinstance(found, UsageError):
            raise found
        if isinstance(found, RadaptError):
            return StudyFailure(self._name, str(found))
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._result, sending = context.Pipe(duplex=False)
        arguments = (self._shares, self._number, torch.get_num_threads(), sending)
        self._process = context.Process(target=_run, args=arguments, name=f"radapt on {self._shares.device}")
        self._process.start()
        sending.close()  # so that the pipe ends with the process
        self._begun += 1


def _run(shares: Shares, number: int, threads: int, sending: Connection) -> None:
    """The work of a process: as many threads as the first has, so that numbers are equal."""
    torch.set_num_threads(threads)
    try:
        found: Outcome | RadaptError = replace(shares(number), cells=())  # encoders cannot be sent
    except RadaptError as error:
        found = error
    sending.send_bytes(pickle.dumps(found))
    sending.close()
