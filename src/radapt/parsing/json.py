"""JSON whose every fault is a ValueError: the parser of the standard library also raises RecursionError."""

import json
from pathlib import Path
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of `text`. Raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path) -> Any:
    """The value in the file `path`. Raises OSError or ValueError."""
    return parse_json(path.read_text(encoding="utf-8"))
