"""Stored JSON against what is computed again."""

from typing import Any

from radapt.reports.verification.fault import CLOSE


def difference(stored: Any, again: Any, place: str = "") -> str | None:
    """Where two JSON values differ by more than rounding; None if nowhere."""
    if isinstance(stored, dict) and isinstance(again, dict) and stored.keys() == again.keys():
        pairs = ((f"{place}.{key}".lstrip("."), stored[key], again[key]) for key in stored)
    elif isinstance(stored, list) and isinstance(again, list) and len(stored) == len(again):
        pairs = ((f"{place}[{index}]", one, two) for index, (one, two) in enumerate(zip(stored, again, strict=True)))
    elif isinstance(stored, float) and isinstance(again, float | int):
        return None if abs(stored - again) <= CLOSE else place
    else:
        return None if stored == again else place
    return next((found for where, one, two in pairs if (found := difference(one, two, where)) is not None), None)
