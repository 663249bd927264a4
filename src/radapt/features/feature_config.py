"""The configuration of a feature store: everything that decides its rows, as a digest and in words."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from radapt.digests import digest
from radapt.durable import plain, write_json
from radapt.features.features import RowSegment
from radapt.parsing.json import read_json
from radapt.versions import __version__

_FORMAT = 1  # raised when the computation of rows changes, so that old rows are not reused
_NAME = "config.json"


@dataclass(frozen=True)
class FeatureConfig:
    """Everything except the image that decides a row: weights and architecture, dtype, layers, recipe, runtime."""

    backbone: str
    identity: str
    dtype: str
    layers: tuple[int, ...]
    recipe: str
    joint: bool = False
    runtime: str = "pytorch"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The values of the digest. The backbone's name is not among them: its identity suffices."""
        facts = {
            "format": _FORMAT,
            "encoder": self.identity,
            "dtype": self.dtype,
            "layers": list(self.layers),
            "recipe": self.recipe,
        }
        if self.runtime != "pytorch":
            facts["runtime"] = self.runtime
        return {**facts, "joint": True} if self.joint else facts  # stores of single images keep their digests

    def folder(self, cache: Path) -> Path:
        return cache / "features" / digest(self.facts)


def read_segments(folder: Path) -> tuple[RowSegment, ...] | None:
    """The segments of the rows of a store, or None without a config.json as it was written."""
    try:
        stored = read_json(folder / _NAME)
        if stored.pop("digest") != digest(stored):
            return None
        segments = tuple(RowSegment(**segment) for segment in stored["segments"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return segments or None


def write_config(folder: Path, config: FeatureConfig, segments: tuple[RowSegment, ...], recipe: Any) -> None:
    """Write config.json and create the store's folder."""
    stored_segments = [segment._asdict() for segment in segments]
    description = {"backbone": config.backbone, "images": recipe, "radapt": __version__}
    stored = plain({**description, **config.facts, "segments": stored_segments})
    write_json(folder / _NAME, {**stored, "digest": digest(stored)})
