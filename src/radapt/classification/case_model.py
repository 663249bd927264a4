"""A trained classifier of cases: answering with it, and writing it down."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from radapt.cases import CaseReader
from radapt.classification.candidates import save_state
from radapt.classification.input_spec import InputSpec
from radapt.classification.task import TrainableModel, probabilities
from radapt.cohorts.cohort import Cohort
from radapt.durable import write_json
from radapt.images import SliceCache
from radapt.models.files import FACTS, FORMAT, WEIGHTS
from radapt.protocols.fitted import Model
from radapt.protocols.protocol import Protocol
from radapt.protocols.targets import Targets
from radapt.versions import __version__


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network with all it takes to answer for new cases: how images are read, and what its logits mean."""

    protocol: Protocol
    shape: InputSpec
    outputs: tuple[str, ...]
    targets: Targets
    trainee: TrainableModel
    precision: Literal["float32", "bfloat16"] = "float32"

    def predict(self, cohort: Cohort, cache: SliceCache, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Probabilities float64 (n, outputs) of cases of any cohort; modalities it was not trained with are ignored.

        A case's answer does not depend on the other cases. Raises DataError if an image cannot be read.
        """
        shape = self.shape
        images = CaseReader(cohort, cache, shape.recipe, shape.modalities, grid="own", channels=shape.channels)
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
        "format": FORMAT,
        "radapt": __version__,
        "method": classifier.protocol.name,
        "options": asdict(cast(Any, classifier.protocol)),
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
