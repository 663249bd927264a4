"""The versions that a result depends on."""

import platform
from functools import cache
from importlib.metadata import version

__version__ = "0.5.0"

PACKAGES = ("torch", "torchvision", "timm", "transformers", "nibabel", "pydicom", "numpy", "scipy", "pandas")


def versions() -> dict[str, str]:
    """Versions of radapt, of Python and of every library that results depend on."""
    return {"radapt": __version__, "python": platform.python_version(), **_installed()}


@cache
def _installed() -> dict[str, str]:
    """Looked up once in a process: every look reads the metadata of all packages."""
    return {name: version(name) for name in PACKAGES}
