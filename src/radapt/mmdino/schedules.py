"""How temperatures and momenta change over a training: plain functions of the step."""

import math

TEACHER_WARMUP = 0.15
"""Share of all steps in which the teacher's temperature rises: 30 of 200 epochs in MM-DINOv2 (arXiv 2509.06617)."""


def cosine(step: int, total: int, start: float, end: float, *, warmup: float = 0.0, first: float = 0.0) -> float:
    """From `start` to `end` along half a cosine, as in DINO; step from 0 to total − 1, `end` would be that of `total`.

    In the share `warmup` of all steps before that, from `first` to `start` in a line.
    """
    rise = int(warmup * total)
    if step < rise:
        return first + (start - first) * step / rise
    share = (step - rise) / max(total - rise, 1)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def linear(step: int, total: int, start: float, end: float, *, share: float = TEACHER_WARMUP) -> float:
    """From `start` to `end` in a line over the first `share` of all steps, then `end`."""
    rise = share * total
    return end if step >= rise else start + (end - start) * step / rise


def momentum(step: int, total: int, start: float = 0.992, end: float = 1.0) -> float:
    """Of the teacher's moving average. Defaults: MM-DINOv2, as DINOv2's; a small batch needs a larger start."""
    return cosine(step, total, start, end)


def teacher_temperature(
    step: int, total: int, start: float = 0.04, end: float = 0.07, *, share: float = TEACHER_WARMUP
) -> float:
    """Of the teacher's softmax: sharp at first, while its answers are poor. Defaults: DINO, DINOv2 and MM-DINOv2."""
    return linear(step, total, start, end, share=share)
