"""Input and output of the encoder of several modalities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from radapt.errors import DataError, UsageError, counted


@dataclass(frozen=True)
class Crops:
    """Images of one size, of any subset of the modalities. B cases, M modalities, C channels, h × w patches.

    `present` and `hidden` may stay on the CPU whatever the device of `images`: they decide how tokens are packed, and
    reading them from a GPU would make the program wait for it.
    """

    images: Tensor
    """(B, M, C, H, W), C 1 (grey) or 3, uint8 or float in [0, 1]; pixels of absent modalities are ignored."""
    present: Tensor
    """bool (B, M): the available modalities of each case, at least one."""
    hidden: Tensor | None = None
    """bool (B, M, h, w): masked patches. Ignored at absent modalities."""
    wanted: Tensor | None = None
    """bool (B, M, h, w): patches whose tokens the caller needs; None: all. The last block skips what only others
    need."""

    def __len__(self) -> int:
        return self.images.shape[0]


class Summary(NamedTuple):
    """One block after the final norm, float32: `cls` (B, D) and `mean` (B, D), the mean of a case's patch tokens."""

    cls: Tensor
    mean: Tensor


@dataclass(frozen=True)
class Encoded:
    """Tokens after the final norm, float32; T patch tokens, the wanted ones of present modalities.

    Tokens are packed by case, then by modality, then by row. Masked patches are included unless the encoder leaves them
    out altogether (`hidden_blocks` 0).
    """

    cls: Tensor
    """(B, D)."""
    tokens: Tensor
    """(T, D)."""
    index: Tensor
    """int64 (T,), ascending: b·M·h·w + m·h·w + r·w + c, the flat place of each token among all patches."""
    hidden: Tensor
    """bool (T,): whether the patch was masked."""
    shape: tuple[int, int, int, int]
    """(B, M, h, w)."""
    layers: tuple[Summary, ...] = ()
    """Summaries of the requested blocks, in that order."""

    @property
    def case(self) -> Tensor:
        """int64 (T,): the row of the batch of each token."""
        _, modalities, rows, columns = self.shape
        return self.index // (modalities * rows * columns)

    def of_hidden(self) -> tuple[Tensor, Tensor]:
        """Masked patches: tokens (n, D) and places int64 (n,)."""
        rows = self.hidden.nonzero()[:, 0]
        return self.tokens.index_select(0, rows), self.index.index_select(0, rows)

    def means(self) -> Tensor:
        """(B, D): the mean of each case's tokens; zeros where it has none."""
        return mean_by(self.tokens, self.case, self.shape[0])


def mean_by(tokens: Tensor, owner: Tensor, owners: int) -> Tensor:
    """Mean of the tokens (T, D) of each `owner`, int64 (T,) ascending: (owners, D), zeros without tokens."""
    count = torch.bincount(owner, minlength=owners)  # (owners,)
    return torch.segment_reduce(tokens, "sum", lengths=count, axis=0) / count.clamp(min=1)[:, None]


def checked(crops: Crops, modalities: Sequence[str], grid: tuple[int, int]) -> None:
    """Raises UsageError or DataError for crops that do not fit an encoder of `modalities` with patches in a `grid`."""
    images, expected = crops.images, f"(B, {len(modalities)}, 1 or 3, H, W) for {', '.join(modalities)}"
    if images.ndim != 5 or 0 in images.shape or images.shape[1] != len(modalities) or images.shape[2] not in (1, 3):
        raise UsageError(f"Images of several modalities should have the shape {expected}, not {tuple(images.shape)}.")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UsageError(f"Images should be uint8, or float in [0, 1], not {images.dtype}.")
    _boolean(crops.present, "present", tuple(images.shape[:2]))
    for name in ("hidden", "wanted"):
        if (given := getattr(crops, name)) is not None:
            _boolean(given, name, (*images.shape[:2], *grid))
    without = (~crops.present.any(1)).nonzero()[:, 0].tolist()
    if without:
        named = ", ".join(map(str, without[:5])) + (", …" if len(without) > 5 else "")
        raise DataError(
            f"{counted(len(without), 'case')} of the batch (rows {named}) without any of the encoder's "
            f"modalities: {', '.join(modalities)}."
        )


def _boolean(given: Tensor, name: str, shape: tuple[int, ...]) -> None:
    if given.dtype != torch.bool or tuple(given.shape) != shape:
        raise UsageError(f"{name} should be bool {shape}, not {given.dtype} {tuple(given.shape)}.")
