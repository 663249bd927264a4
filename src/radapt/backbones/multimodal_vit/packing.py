"""Packs sequences of unequal length into one matrix of tokens, sorted by length.

Linear layers and norms then process exactly the existing tokens, without padding, and attention one tensor per length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Groups = tuple[tuple[int, int], ...]
"""(sequences, length) of every run of equally long sequences, in packed order."""


@dataclass(frozen=True)
class Packing:
    """The rows of N sequences among T rows of tokens, sorted by length."""

    starts: np.ndarray
    """int64 (N,): the first row of each sequence."""
    owner: np.ndarray
    """int64 (T,): the sequence of each row."""
    lengths: np.ndarray
    """int64 (N,), of each sequence."""

    @classmethod
    def of(cls, lengths: np.ndarray) -> "Packing":
        """For sequences of `lengths` int64 (N,)."""
        order = np.argsort(lengths, kind="stable")
        starts = np.empty_like(lengths)
        starts[order] = np.cumsum(lengths[order]) - lengths[order]
        return cls(starts, np.repeat(order, lengths[order]), lengths)

    def groups(self, kept: np.ndarray | None = None) -> Groups:
        """Runs of equally long sequences, of all or of those selected by `kept` bool (N,)."""
        values, counts = np.unique(self.lengths if kept is None else self.lengths[kept], return_counts=True)
        return tuple(zip(counts.tolist(), values.tolist(), strict=True))

    def rows(self, kept: np.ndarray) -> np.ndarray:
        """int64, ascending: the rows of the sequences selected by `kept` bool (N,)."""
        return np.flatnonzero(kept[self.owner])


@dataclass(frozen=True)
class TokenPositions:
    """The patch tokens of N sequences, sequence after sequence."""

    sequences: int
    """N."""
    index: np.ndarray
    """int64 (T,): the flat place of each among all patches of its crops, absent ones included."""
    owner: np.ndarray
    """int64 (T,), ascending: its sequence."""
    hidden: np.ndarray
    """bool (T,): masked patches."""
    wanted: np.ndarray
    """bool (T,): patches whose tokens the caller needs."""

    @classmethod
    def of(
        cls, present: np.ndarray, hidden: np.ndarray | None, wanted: np.ndarray | None, patches: int
    ) -> "TokenPositions":
        """From `present` (B, M) and, where given, `hidden` and `wanted` (B, M, h, w), all bool; patches = h·w."""
        index = np.flatnonzero(np.repeat(present.reshape(-1), patches))
        pick = [np.full(len(index), default) if given is None else given.reshape(-1)[index]
                for given, default in ((hidden, False), (wanted, True))]  # fmt: skip
        return cls(len(present), index, index // (present.shape[1] * patches), *pick)

    @classmethod
    def joined(cls, parts: "Sequence[TokenPositions]") -> "TokenPositions":
        """Positions of several crops; sequence numbers of later crops continue those of earlier ones."""
        before = np.cumsum([0, *(part.sequences for part in parts)])
        owner = np.concatenate([part.owner + first for part, first in zip(parts, before, strict=False)])
        index, hidden, wanted = (np.concatenate([getattr(part, name) for part in parts])
                                 for name in ("index", "hidden", "wanted"))  # fmt: skip
        return cls(int(before[-1]), index, owner, hidden, wanted)

    def only(self, which: np.ndarray) -> "TokenPositions":
        """The positions selected by `which` bool (T,)."""
        return TokenPositions(
            self.sequences, self.index[which], self.owner[which], self.hidden[which], self.wanted[which]
        )


class PackedLayout:
    """The packing of sequences of `prefix` tokens (CLS, registers) followed by patch tokens."""

    def __init__(self, places: TokenPositions, prefix: int) -> None:
        counts = np.bincount(places.owner, minlength=places.sequences)
        self.places = places
        self.packing = Packing.of(counts + prefix)
        within = np.arange(len(places.owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.prefix = self.packing.starts[:, None] + np.arange(prefix)
        """int64 (N, R): rows of the prefix tokens, CLS first."""
        self.patches = self.packing.starts[places.owner] + prefix + within
        """int64 (T,): rows of the patch tokens, in the order of `places`."""

    def filled(self, prefix: np.ndarray, patches: np.ndarray) -> np.ndarray:
        """int64 (rows,): the source row of each packed row, given those of prefixes (N, R) and patches (T,)."""
        source = np.empty(len(self.packing.owner), np.int64)
        source[self.prefix] = prefix
        source[self.patches] = patches
        return source

    def needed(self) -> np.ndarray:
        """int64, ascending: the rows of all CLS tokens and of the wanted patches."""
        return np.sort(np.concatenate([self.prefix[:, 0], self.patches[self.places.wanted]]))


def indices(rows: np.ndarray, device: torch.device) -> Tensor:
    """Row numbers as a tensor on `device`."""
    return torch.from_numpy(rows).to(device, non_blocking=True)
