"""The models of an ensemble that share a frozen encoder encode the planes of a case once."""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
from torch import Tensor

MOST_BYTES = 1 << 29
"""Maps that are held at once; with larger volumes the planes that do not fit are encoded again."""


class SharedMaps:
    """The encoder's maps of planes, each until all `models` that share it have taken them."""

    def __init__(self, models: int) -> None:
        self._models = models
        self._held: OrderedDict[bytes, tuple[list[Tensor], int]] = OrderedDict()

    def take(self, planes: np.ndarray, what: str, encode: Callable[[], list[Tensor]]) -> list[Tensor]:
        """`encode()` of planes uint8, or what another model got for the same planes; `what` names layers and precision.
        The maps are not to be changed."""
        key = blake2b(planes.tobytes(), digest_size=16, key=f"{what} {planes.shape}".encode()[:64]).digest()
        maps, left = self._held.pop(key, (None, self._models))
        if maps is None:
            maps = encode()
        if left > 1:
            self._held[key] = maps, left - 1
            while sum(map(_size, (one for one, _ in self._held.values()))) > MOST_BYTES:
                self._held.popitem(last=False)
        return maps


def _size(maps: list[Tensor]) -> int:
    return sum(layer.numel() * layer.element_size() for layer in maps)
