"""The cache folder of decoded slices and features. Deleting it costs time, never results."""

import os
import sys
from pathlib import Path

from radapt.locations import expanded


def cache_folder(given: Path | str | None = None) -> Path:
    """The cache folder: `given`, else `$RADAPT_CACHE`, else the user's cache folder for radapt."""
    if given:
        return expanded(given)
    if named := os.environ.get("RADAPT_CACHE"):
        return expanded(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "radapt"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "radapt" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "radapt"
