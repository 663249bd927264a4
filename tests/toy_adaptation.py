"""Adaptations small enough for tests: a tiny encoder, two steps, crops of a few patches."""

from typing import Any

QUICK: dict[str, Any] = {
    "steps": 2, "batch": 4, "global_size": 32, "local_size": 16, "local_crops": 2, "slices": 1, "prototypes": 8,
    "head_hidden": 16, "head_bottleneck": 8,
}  # fmt: skip
"""Options that make the default cheap. Sides are multiples of the patch of 16 of `timm:test_vit`."""
