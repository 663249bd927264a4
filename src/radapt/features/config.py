"""What decides the numbers of a feature store, as a digest and in words."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from radapt.digests import digest
from radapt.durable import write_json
from radapt.features.features import Segment
from radapt.versions import __version__

_FORMAT = 1  # raised when the way from slices to rows changes, so that old rows are not taken for new ones
_NAME = "config.json"


@dataclass(frozen=True)
class Config:
    """Everything but the image that decides a row: weights and architecture, number format, layers, recipe."""

    backbone: str
    identity: str
    dtype: str
    layers: tuple[int, ...]
    recipe: str
    joint: bool = False

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the digest is made of, as plain values. The backbone's name is not: its identity says it all."""
        facts = {
            "format": _FORMAT,
            "encoder": self.identity,
            "dtype": self.dtype,
            "layers": list(self.layers),
            "recipe": self.recipe,
        }
        return {**facts, "joint": True} if self.joint else facts  # stores of single images keep their names

    def folder(self, cache: Path) -> Path:
        return cache / "features" / digest(self.facts)


def read_segments(folder: Path) -> tuple[Segment, ...] | None:
    """How the rows of a store are divided, or None if nothing readable says so."""
    try:
        known = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        segments = tuple(Segment(**part) for part in known["segments"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return segments or None


def write_config(folder: Path, config: Config, segments: tuple[Segment, ...], recipe: Any) -> None:
    """Write config.json, which makes the store's folder."""
    parts = [segment._asdict() for segment in segments]
    words = {"backbone": config.backbone, "images": recipe, "radapt": __version__}
    write_json(folder / _NAME, {**words, **config.facts, "segments": parts})
