"""Writing a fitted protocol's model into a model folder."""

from pathlib import Path
from typing import Any

from radapt.backbones.reference import BackboneReference
from radapt.features import Features
from radapt.models.folder import save
from radapt.models.state import ModelCard
from radapt.protocols.fitted import Fitted
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.stored_locator import with_locator
from radapt.versions import versions

MODEL_FOLDER = "model"
"""The model folder inside a cell, and inside `Machine.folder`."""


def save_model(
    folder: Path,
    protocol: Protocol,
    fitted: Fitted[Any],
    problem: FeatureProblem | ImageProblem,
    backbone: BackboneReference | None = None,
) -> bool:
    """Write the model that predicts the test sets into `folder`; returns whether a model was written.

    Models without a `trained_model` cannot be saved, nor can models on features that were made from arrays. `backbone`
    is the encoder that a protocol on images adapted.
    """
    model = fitted.final.trained_model
    if model is None or (isinstance(problem, FeatureProblem) and not isinstance(problem.features, Features)):
        return False
    cohort = problem.cohort
    inputs: dict[str, Any]
    if isinstance(problem, FeatureProblem):
        features = problem.features
        encoder = features.encoder or BackboneReference(features.backbone, features.identity)
        inputs = {"recipe": features.recipe, "precision": features.dtype, "runtime": features.runtime}
        inputs |= {"layers": features.layers, "backbone": encoder}
    else:
        inputs = {"recipe": problem.recipe, "precision": problem.machine.precision, "backbone": backbone}
    if inputs["recipe"] is None:
        return False
    segments = protocol.aim == "segmentation"
    card = ModelCard(
        protocol=protocol.name,
        options=protocol.settings,
        aim=protocol.aim,
        reads=protocol.reads,
        kind=cohort.kind,
        pooling={"slices": problem.pooling.slices, "modalities": problem.pooling.modalities},
        classes=() if segments else cohort.classes,
        findings=() if segments else cohort.findings,
        fit=fitted.record,
        versions=versions(),
        **inputs,
    )
    places, state = problem.places, model.state()
    save(folder, card, state if places is None else with_locator(state, places.locator))
    return True
