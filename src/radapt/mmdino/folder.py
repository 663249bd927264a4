"""An adaptation as a folder: the backbone that everything in radapt takes, and the classifier that answers beside it.

backbone.json, backbone.safetensors    the encoder (see `radapt.backbones.adapted`)
classifier.safetensors                 what marks and classes are told by; without labels and masks not there
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from radapt.backbones.adapted import load_adapted, read_adapted, save_adapted, tuples
from radapt.backbones.weights import digest_of
from radapt.durable import atomic_path
from radapt.errors import UsageError
from radapt.images import Recipe
from radapt.mmdino.adapt import Adapted
from radapt.mmdino.inference import LinearClassifier
from radapt.mmdino.lesion_attention import LesionAttention
from radapt.mmdino.options import Options
from radapt.networks.adapters.merge import merged_state
from radapt.training import TrainResult
from radapt.training.fit_record import FitRecord
from radapt.versions import __version__

CLASSIFIER = "classifier.safetensors"
_KEY = "adaptation"

_LOOKS = 2
"""Raise it when the same weights and images give other vectors, which a classifier fitted before would misread."""


def save_adaptation(folder: Path, adapted: Adapted) -> None:
    """Write `adapted` to `folder`, which is made if need be; other files in it are left alone.

    LoRA adapters are merged. What says that all is there, backbone.json, is written last.
    """
    tensors = _tensors(adapted)
    if tensors:
        from safetensors.torch import save_file

        with atomic_path(folder / CLASSIFIER) as part:
            save_file(tensors, part)
    facts = {
        "recipe": asdict(adapted.recipe),
        "recipe_digest": adapted.recipe.digest,
        "looks": _LOOKS,
        "radapt": __version__,
        "outputs": list(adapted.outputs),
        "options": adapted.options.plain(),
        "channels": adapted.channels,
        "kind": adapted.answer.kind if adapted.answer else None,
        "classifier": digest_of(folder / CLASSIFIER) if tensors else None,
        "fit": adapted.record.to_json(),
        "left_out": list(adapted.left_out),
        "trained": asdict(adapted.trained),
    }
    card = replace(adapted.card, native_size=adapted.options.global_size)
    save_adapted(folder, adapted.network, card, {_KEY: _plain(facts)}, merged_state(adapted.network))


def load_adaptation(folder: str | Path) -> Adapted:
    """What `save_adaptation` wrote, in float32 on the CPU, ready to predict.

    Raises UsageError if the folder holds none, is damaged or half written, or was made by a version that made other
    images, or looked at them otherwise.
    """
    known = read_adapted(folder)
    facts = known.facts.get(_KEY)
    if not isinstance(facts, Mapping):
        raise UsageError(f"{folder} holds a backbone without a classifier of its own; fit a protocol on it.")
    if facts.get("looks") != _LOOKS:
        raise UsageError(
            f"The model in {folder} was made by radapt {facts['radapt']}, which looked at patients otherwise than "
            f"{__version__} does. Predict with that version, or adapt again."
        )
    recipe = Recipe(**{name: tuples(value) for name, value in facts["recipe"].items()})
    if recipe.digest != facts["recipe_digest"]:
        raise UsageError(
            f"The model in {folder} was trained on images that radapt {facts['radapt']} made, and this version makes "
            "others. Predict with that version, or adapt again."
        )
    network = load_adapted(known)
    state = _classifier(known.folder, facts["classifier"])
    marks = len(state["marks.weight"]) if "marks.weight" in state else 0
    reader = LesionAttention(network.width, [0.5] * marks)
    reader.load_state_dict({name.removeprefix("marks."): each for name, each in state.items() if name[:6] == "marks."})
    answer = None
    if facts["kind"] is not None:
        numbers: dict[str, np.ndarray] = {name: state[f"answer.{name}"].numpy() for name in ("weight", "bias", "prior")}
        answer = LinearClassifier(facts["kind"], **numbers)
    return Adapted(
        network=network,
        reader=reader.eval(),
        card=known.card,
        modalities=known.modalities,
        outputs=tuple(facts["outputs"]),
        recipe=recipe,
        options=Options(**facts["options"]),
        channels=facts["channels"],
        answer=answer,
        trained=TrainResult(**{each.name: facts["trained"][each.name] for each in fields(TrainResult)}),
        record=FitRecord.from_json(facts["fit"]),
        left_out=tuple(facts["left_out"]),
    )


def _tensors(adapted: Adapted) -> dict[str, Tensor]:
    """By name, contiguous and on the CPU."""
    state = {f"marks.{name}": each for name, each in adapted.reader.state_dict().items()}
    if adapted.answer is not None:
        state |= {f"answer.{name}": each for name, each in adapted.answer.tensors().items()}
    return {name: each.detach().cpu().contiguous() for name, each in state.items()}


def _classifier(folder: Path, expected: str | None) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if expected is None:
        return {}
    path = folder / CLASSIFIER
    try:
        if digest_of(path) != expected:
            raise UsageError(f"{path} is not the classifier of this backbone: it is damaged or of another adaptation.")
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read: {error}. Copy the whole folder again, or adapt again.") from error


def _plain(value: Any) -> Any:
    """Numbers and tuples as JSON has them; NaN, which JSON lacks, as null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
