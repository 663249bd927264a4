"""3D convolutions of small maps in float32, where a processor computes the others in bfloat16."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

SMALLEST = 8
"""From this side on torch 2.14 writes the whole weight gradient. For maps of one or two voxels it leaves parts of it
unwritten on processors with AVX-512 BF16, so that it holds what was in memory before. The maps in between, which were
always right, cost next to nothing in float32."""

_CONVOLUTIONS = (torch.conv3d, torch.conv_transpose3d)


class SmallConvolutions(TorchFunctionMode):
    """While it is entered, a 3D convolution of a map with a side below `SMALLEST` is computed in float32, whatever
    autocast says; so is its gradient."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func not in _CONVOLUTIONS or min(args[0].shape[2:]) >= SMALLEST:
            return func(*args, **given)
        image, *others = args
        with torch.autocast(image.device.type, enabled=False):
            return func(image.float(), *others, **given)
