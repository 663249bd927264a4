"""A part of a study's cells: one shard of several, or the cells that a pattern fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from radapt.errors import UsageError
from radapt.studies.cells import Cell
from radapt.studies.shard import Shard


@dataclass(frozen=True)
class Part:
    """Which cells a process runs: those of its `shard` that fit the `pattern`; None: all."""

    shard: Shard | None = None
    pattern: str | None = None

    def of(self, cells: Sequence[Cell], shard: Shard | None = None) -> list[Cell]:
        """Its cells, or those of another `shard`, in the order of the plan.

        Cells are dealt out one by one, so that each shard has a part of every backbone and protocol. Raises UsageError
        if the pattern fits no cell.
        """
        fitting = [cell for cell in cells if self.pattern is None or _fits(cell, self.pattern)]
        if cells and not fitting:
            names = "; ".join(dict.fromkeys(cell.title for cell in cells[:5]))
            raise UsageError(f"No cell fits --cells {self.pattern!r}. The study has {len(cells)}, such as {names}.")
        shard = shard or self.shard
        return fitting if shard is None else fitting[shard.number - 1 :: shard.count]


def _fits(cell: Cell, pattern: str) -> bool:
    """Whether the pattern fits the title of a cell or its id, letter case aside; without a wildcard, a part of it."""
    wanted = pattern.casefold()
    wanted = wanted if any(sign in wanted for sign in "*?[") else f"*{wanted}*"
    return fnmatchcase(cell.title.casefold(), wanted) or fnmatchcase(cell.id, wanted)
