"""What is wrong in a run folder."""

from dataclasses import dataclass

CLOSE = 1e-9
"""Numbers that differ by less are the same: another processor adds up in another order."""


@dataclass(frozen=True)
class Fault:
    """A file of the run folder that is not what it should be, and why."""

    file: str
    what: str
