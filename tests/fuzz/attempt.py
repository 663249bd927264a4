"""One input: read it, and say what came of it, at what cost."""

import os
import random
import shutil
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fuzz.mutations import Damage, damaged
from fuzz.target import Target, fingerprint
from radapt.errors import RadaptError
from radapt.printable import printable

Verdict = Literal["same", "other", "refused", "traceback", "silent", "slow", "memory", "message", "crash", "hang"]
FAULTS = ("traceback", "silent", "slow", "memory", "message", "crash", "hang")

MOST_SECONDS = 1.0
"""Of processor time for an input of some kilobytes, besides four times what the undamaged one took."""

MOST_BYTES = 96 << 20
"""Of memory for an input of some kilobytes, which decodes to less than a megabyte."""

LONGEST_MESSAGE = 20_000


@dataclass(frozen=True)
class Outcome:
    """What came of an input; `note` is the error or the digest."""

    verdict: Verdict
    note: str = ""
    seconds: float = 0.0
    grown: int = 0


class Corpus:
    """The seeds of a target, what each is read as, and damaged inputs made from them."""

    def __init__(self, target: Target, scratch: Path) -> None:
        self.target, self.scratch = target, scratch
        self.seeds = [bytes(seed) for seed in target.seeds()]
        self._count = 0
        outcomes = [self._run(seed) for seed in self.seeds for _ in range(2)]  # the first reads import libraries
        if wrong := [outcome for outcome in outcomes if outcome.verdict not in ("same", "other")]:
            raise AssertionError(f"a valid seed of {target.name} is not read: {wrong[0].note}")
        self.expected = {outcome.note for outcome in outcomes}
        self.usual_s = max(outcome.seconds for outcome in outcomes[1::2])

    def make(self, rng: random.Random) -> tuple[Damage, bool]:
        """A damaged input, and whether its checksums were repaired."""
        number = rng.randrange(len(self.seeds))
        seed, target = self.seeds[number], self.target
        if target.unseal and target.reseal and rng.random() < 0.4:
            try:
                inner = target.unseal(seed)
                damage = damaged(rng, inner, target.fields(inner), [inner], text=target.text)
                return Damage(target.reseal(damage.content), f"resealed {damage.kind}"), True
            except Exception:
                pass
        return damaged(rng, seed, target.fields(seed), self.seeds, text=target.text), False

    def judge(self, content: bytes, *, resealed: bool) -> Outcome:
        """What came of an input, held against the seeds and the limits."""
        outcome = self._run(content)
        if outcome.verdict == "other":
            known = outcome.note in self.expected
            verdict: Verdict = "same" if known else "silent" if self.target.checked and not resealed else "other"
            outcome = Outcome(verdict, outcome.note, outcome.seconds, outcome.grown)
        if outcome.verdict in FAULTS:
            return outcome
        if outcome.grown > MOST_BYTES:
            return Outcome("memory", f"{outcome.grown >> 20} MB", outcome.seconds, outcome.grown)
        if outcome.seconds > MOST_SECONDS + 4 * self.usual_s:
            return Outcome("slow", f"{outcome.seconds:.1f} s", outcome.seconds, outcome.grown)
        return outcome

    def _run(self, content: bytes) -> Outcome:
        self._count += 1
        folder = (
            self.scratch / f"{os.getpid()}-{self._count:08d}"
        )  # a new path each time, so that no cache knows the file
        folder.mkdir(parents=True)
        before = peak_reset()
        start = time.process_time()
        try:
            verdict, note = "other", fingerprint(self.target.read(content, folder))
        except RadaptError as error:
            verdict, note = "refused", str(error)
            if len(note) > LONGEST_MESSAGE or printable(note) != note or not note:
                verdict = "message"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            verdict, note = "traceback", "".join(traceback.format_exception(error))[-3000:]
        seconds, grown = time.process_time() - start, peak() - before
        shutil.rmtree(folder, ignore_errors=True)
        return Outcome(verdict, note, seconds, grown)  # type: ignore[arg-type]


def peak_reset() -> int:
    """Start to count the peak of memory anew; the bytes that are in use now. 0 where the system cannot say."""
    try:
        with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
            file.write("5")
        return peak()
    except OSError:
        return peak()


def peak() -> int:
    try:
        fd = os.open("/proc/self/status", os.O_RDONLY)
    except OSError:
        return 0
    try:
        text = os.read(fd, 4096)
    finally:
        os.close(fd)
    at = text.find(b"VmHWM:")
    return int(text[at + 6 : at + 24].split()[0]) << 10 if at >= 0 else 0
