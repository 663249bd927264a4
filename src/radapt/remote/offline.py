"""Whether the network may be used."""

import os


def is_offline(requested: bool = False) -> bool:
    """Whether the network must not be used: by `requested`, HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return requested or any(os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on") for name in names)
