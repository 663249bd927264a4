"""Loading a trained classifier of cases again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.classification.candidates import load_state
from radapt.classification.case_model import Classifier
from radapt.classification.input_spec import InputSpec
from radapt.classification.supervised import SupervisedProtocol
from radapt.errors import UsageError
from radapt.models.files import (
    WEIGHTS,
    check_backbone,
    fresh_copy,
    read_facts,
    read_weights,
    recipe_of,
    tuples,
)
from radapt.protocols.registry import make
from radapt.protocols.targets import Targets


def load_classifier(folder: Path, backbone: Backbone | LazyBackbone | None = None) -> Classifier:
    """The classifier that was written to `folder`, around the backbone it was trained with (not changed here).

    Raises UsageError if nothing readable is there, and if the backbone is another one or missing.
    """
    facts = read_facts(folder)
    protocol = make(facts["method"], **facts["options"])
    if not isinstance(protocol, SupervisedProtocol):
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


def _shape(stored: Mapping[str, Any]) -> InputSpec:
    """A shape as JSON keeps it: lists for tuples."""
    made = recipe_of(stored["recipe"])
    return InputSpec(**{name: tuples(value) for name, value in stored.items() if name != "recipe"}, recipe=made)
