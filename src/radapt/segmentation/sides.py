"""Whether left and right matter: if a label has a side, flipping an image changes its labels."""

import re
from collections.abc import Iterable

_SIDES = re.compile(r"(^|[^a-z])(left|right|l|r|lt|rt)([^a-z]|$)", re.IGNORECASE)


def has_sides(labels: Iterable[str]) -> bool:
    """Whether any label's name says left or right.

    >>> has_sides(["liver", "Left_Kidney"]), has_sides(["liver", "bright spot"])
    (True, False)
    """
    return any(_SIDES.search(name.replace("_", " ")) for name in labels)
