"""One of several processes that share the cells of a study."""

import re
from dataclasses import dataclass

from radapt.errors import UsageError

_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Shard:
    """Number `number` of `count`, from 1: every `count`-th cell of the plan."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> "Shard":
        """`i/n`. Raises UsageError unless 1 ≤ i ≤ n."""
        found = _SHARD.fullmatch(text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard {text}: expected i/n with i from 1 to n, such as 1/4 for the first of four.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
