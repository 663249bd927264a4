"""radapt adapts vision foundation models to medical images and measures, honestly, how good they are."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.backbones import load_backbone
    from radapt.backbones.backbone import Backbone
    from radapt.cohorts import Cohort, load_cohort
    from radapt.deploy.load import load_model
    from radapt.features import extract
    from radapt.mmdino.adapt import adapt
    from radapt.protocols import evaluate, train

__all__ = [
    "Backbone",
    "Cohort",
    "__version__",
    "adapt",
    "evaluate",
    "extract",
    "load_backbone",
    "load_cohort",
    "load_model",
    "train",
]

_HOMES = {
    "Backbone": "backbones.backbone",
    "Cohort": "cohorts",
    "load_cohort": "cohorts",
    "load_backbone": "backbones",
    "extract": "features",
    "evaluate": "protocols",
    "train": "protocols",
    "load_model": "deploy.load",
    "adapt": "mmdino.adapt",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that `radapt --help` does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'radapt' has no attribute {name!r}")
    return getattr(import_module(f"radapt.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
