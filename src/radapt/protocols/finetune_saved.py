"""A trained classifier of cases: answering with it, writing it down, and loading it again."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.cohorts.cohort import Cohort
from radapt.durable import write_json
from radapt.errors import UsageError
from radapt.images import Recipe, SliceCache
from radapt.protocols.bags import CaseImages
from radapt.protocols.finetune_base import CaseProtocol, Shape
from radapt.protocols.finetune_candidates import load_state, save_state
from radapt.protocols.finetune_task import Trainee, probabilities
from radapt.protocols.protocol import Model
from radapt.protocols.targets import Targets
from radapt.versions import __version__

WEIGHTS, FACTS = "model.safetensors", "model.json"
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network with all it takes to answer for new cases: how images are read, and what its logits mean."""

    protocol: CaseProtocol
    shape: Shape
    outputs: tuple[str, ...]
    targets: Targets
    trainee: Trainee
    precision: Literal["float32", "bfloat16"] = "float32"

    def predict(self, cohort: Cohort, cache: SliceCache, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Probabilities float64 (n, outputs) of cases of any cohort; modalities it was not trained with are ignored.

        A case's answer does not depend on the other cases. Raises DataError if an image cannot be read.
        """
        images = CaseImages(cohort, cache, self.shape.recipe, self.shape.modalities, self.shape.channels)
        device = next(self.trainee.network.parameters()).device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self.trainee.feed.answers(images, rows)
        return probabilities(self.targets, logits)


@dataclass(frozen=True, eq=False)
class CaseModel(Model):
    """A classifier that answers for the cases of one cohort."""

    classifier: Classifier
    cohort: Cohort
    cache: SliceCache

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.classifier.predict(self.cohort, self.cache, rows)


def save_classifier(folder: Path, classifier: Classifier, state: Mapping[str, Tensor]) -> None:
    """Write `model.safetensors` (what was trained, without the frozen weights) and then `model.json`."""
    targets, shape = classifier.targets, asdict(classifier.shape)
    save_state(folder / WEIGHTS, state)
    facts = {
        "format": _FORMAT,
        "radapt": __version__,
        "method": classifier.protocol.name,
        "options": asdict(classifier.protocol),
        "backbone": classifier.trainee.identity,
        "precision": classifier.precision,
        "outputs": classifier.outputs,
        "targets": {
            "link": targets.link,
            "learned": targets.learned.tolist(),
            "constant": targets.constant.tolist(),
        },
        "shape": shape,
        "recipe": classifier.shape.recipe.describe(),
        "recipe_digest": classifier.shape.recipe.digest,
    }
    write_json(folder / FACTS, facts)


def load_classifier(folder: Path, backbone: Backbone | LazyBackbone | None = None) -> Classifier:
    """The classifier that was written to `folder`, around the backbone it was trained with (not changed here).

    Raises UsageError if nothing readable is there, and if the backbone is another one or missing.
    """
    from radapt.protocols.registry import make

    facts = read_facts(folder)
    protocol = make(facts["method"], **facts["options"])
    if not isinstance(protocol, CaseProtocol):
        raise UsageError(f"{folder} holds a model of protocol {protocol.name!r}, which does not answer from images.")
    check_backbone(folder, facts["backbone"], backbone)
    shape = _shape(facts["shape"])
    if shape.recipe.digest != facts["recipe_digest"]:
        raise UsageError(
            f"The model in {folder} was trained on images that radapt {facts['radapt']} made, and this version makes "
            "others. Predict with that version, or train again."
        )
    trainee = protocol.trainee(shape, fresh_copy(backbone), seed=0)
    load_state(trainee.network, read_weights(folder / WEIGHTS))
    found = next(trainee.network.encoder.parameters()).device  # type: ignore[union-attr]
    trainee.network.to(found).eval()
    stored, none = facts["targets"], np.zeros((0, shape.columns))
    targets = Targets(stored["link"], none, none, np.asarray(stored["learned"]), np.asarray(stored["constant"]))
    return Classifier(protocol, shape, tuple(facts["outputs"]), targets, trainee, facts["precision"])


def read_facts(folder: Path) -> dict[str, Any]:
    """What `model.json` in `folder` says. Raises UsageError if nothing readable is there."""
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != _FORMAT:
            raise UsageError(f"{path} has format {facts['format']}; this version of radapt reads format {_FORMAT}.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} holds no trained model that can be read ({error}).") from error
    return dict(facts)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. Raises UsageError if it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error


def check_backbone(folder: Path, identity: str | None, given: Backbone | LazyBackbone | None) -> None:
    """Raises UsageError unless `given` has the weights that the model in `folder` was trained around."""
    if identity is None and given is not None:
        raise UsageError(f"The model in {folder} is a network of its own; it takes no backbone.")
    if identity is not None and given is None:
        raise UsageError(f"The model in {folder} adapts a backbone; give the one it was trained with.")
    if given is not None and given.identity != identity:
        raise UsageError(
            f"The model in {folder} was trained around other weights than those of {given.name!r} "
            f"({identity}, not {given.identity}). Give the backbone it was trained with."
        )


def fresh_copy(backbone: Backbone | LazyBackbone | None) -> Backbone | None:
    """The backbone in float32, loaded anew or copied, free to be changed."""
    if isinstance(backbone, LazyBackbone):
        return backbone.load_as("float32")
    fresh = copy.deepcopy(backbone)
    if fresh is not None:
        fresh.module.float()
    return fresh


def _shape(stored: Mapping[str, Any]) -> Shape:
    """A shape as JSON keeps it: lists for tuples."""
    made = recipe_of(stored["recipe"])
    return Shape(**{name: _tuples(value) for name, value in stored.items() if name != "recipe"}, recipe=made)


def recipe_of(stored: Mapping[str, Any]) -> Recipe:
    """A recipe as JSON keeps it."""
    known = {field.name for field in fields(Recipe)}
    return Recipe(**{name: _tuples(value) for name, value in stored.items() if name in known})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
