"""The encoder of a model as files of its folder, so that it is found without network and without a cache."""

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

from radapt.backbones.adapted import FACTS, is_adapted
from radapt.backbones.adapted import WEIGHTS as ADAPTED_WEIGHTS
from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone, find_backbone
from radapt.backbones.load import assemble
from radapt.backbones.reference import BackboneReference
from radapt.backbones.weight_files import find_files
from radapt.backbones.weights import identity_of
from radapt.errors import UsageError

ENCODER = "encoder"


def copy_encoder(encoder: LazyBackbone, folder: Path) -> str | None:
    """Copy the encoder's weights into `folder/encoder`; returns the path to load from, relative to `folder`, None for
    random weights, which a seed makes again.

    Raises UsageError for an encoder that was given as a module, whose weights are in no file.
    """
    source = encoder.source
    if source is None or encoder.card is None:
        raise UsageError(
            f"The weights of {encoder.name} are in no file, so the model cannot be exported. Save them as "
            "safetensors, and name the file in the study: {name: ours, weights: FILE, as: NAME}."
        )
    if source.kind == "random":
        return None
    path = source.path
    if path is None:
        raise UsageError(f"The weights of {encoder.name} are not on this machine. Fetch them first, then export.")
    target = folder / ENCODER
    target.mkdir(parents=True)
    if is_adapted(path):
        files: tuple[Path, ...] = (path / FACTS, path / ADAPTED_WEIGHTS)
    else:
        files = find_files(path)
        files += tuple(path.glob("*.index.json")) if path.is_dir() else ()
    for file in files:
        shutil.copyfile(file, target / file.name)
    return ENCODER if path.is_dir() else f"{ENCODER}/{files[0].name}"


def copied_encoder(reference: BackboneReference, path: Path | None, *, dtype: str, device: str) -> LazyBackbone:
    """The encoder of a reference from its copy at `path`, or from its seed; loaded once, when it is needed.

    Raises UsageError if the reference does not say what the encoder is.
    """
    card, known = reference.card, reference.source
    if card is None or known is None:
        raise UsageError(f"The model does not say how its encoder {reference.name} is built.")
    if path is not None and is_adapted(path):
        lazy = find_backbone(str(path), dtype=dtype, device=device, offline=True).lazy
        return replace(lazy, load=cache(lazy.load))
    source = replace(known, path=path, available=True, where=str(path or known.where))

    def load(number: str = dtype) -> Backbone:
        return assemble(reference.name, card, source, number, device)

    return LazyBackbone(
        reference.name, identity_of(card, source), dtype, cache(load), load_as=load, card=card, source=source
    )
