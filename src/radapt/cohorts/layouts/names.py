"""Names of image channels, and the kind of image that they imply."""

import re
from collections.abc import Iterable

from radapt.cohorts.cohort import Kind

_MRI = re.compile(r"^(mri?|t1.*|t2.*|pd.*|flair|adc|dwi|swi|bold|.*(_|-)t[12]w?)$")
_XRAY = ("xray", "x-ray", "cr", "dx", "mg")


def slug(text: str) -> str:
    """Letters, digits and single '-' only, in lower case: `T1 post (GD)` → `t1-post-gd`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def kind_of(names: Iterable[str]) -> Kind | None:
    """The kind of image that the channels' names imply; None for none or several."""
    kinds: set[Kind] = set()
    for name in names:
        plain = name.lower().strip()
        if plain == "ct" or plain.startswith(("ct ", "ct-", "ct_", "cta", "cbct")):
            kinds.add("ct")
        elif plain in _XRAY:
            kinds.add("xray")
        elif _MRI.match(plain):
            kinds.add("mri")
    return kinds.pop() if len(kinds) == 1 else None
