"""Schedules of temperature and momentum: functions of the step."""

import math

TEACHER_WARMUP = 0.15
"""Share of the steps in which the teacher's temperature rises: 30 of 200 epochs in MM-DINOv2 (arXiv 2509.06617)."""


def cosine(step: int, total: int, start: float, end: float, *, warmup: float = 0.0, first: float = 0.0) -> float:
    """From `start` to `end` along half a cosine, as in DINO; `step` runs from 0 to total − 1, and total would give
    `end`.

    During the first share `warmup` of the steps, linearly from `first` to `start`.
    """
    rise = int(warmup * total)
    if step < rise:
        return first + (start - first) * step / rise
    share = (step - rise) / max(total - rise, 1)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def linear(step: int, total: int, start: float, end: float, *, share: float = TEACHER_WARMUP) -> float:
    """Linearly from `start` to `end` over the first `share` of the steps, then `end`."""
    rise = share * total
    return end if step >= rise else start + (end - start) * step / rise


def momentum(step: int, total: int, start: float = 0.992, end: float = 1.0) -> float:
    """Momentum of the teacher's moving average. Defaults of MM-DINOv2 and DINOv2; a small batch needs a larger
    start."""
    return cosine(step, total, start, end)


def teacher_temperature(
    step: int, total: int, start: float = 0.04, end: float = 0.07, *, share: float = TEACHER_WARMUP
) -> float:
    """Temperature of the teacher's softmax, low at first. Defaults of DINO, DINOv2 and MM-DINOv2."""
    return linear(step, total, start, end, share=share)
