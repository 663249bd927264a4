"""The versions that made a number, for whoever wants to make it again."""

import platform
from importlib.metadata import version

__version__ = "0.4.0"

PACKAGES = ("torch", "torchvision", "timm", "transformers", "nibabel", "pydicom", "numpy", "scipy", "pandas")


def versions() -> dict[str, str]:
    """Versions of radapt, of Python and of every library that takes part in a number."""
    return {"radapt": __version__, "python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
