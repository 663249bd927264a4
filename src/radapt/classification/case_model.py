"""A trained classifier, independent of any cohort, and bound to the cases of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from radapt.cases import CaseReader
from radapt.classification.input_spec import InputSpec
from radapt.classification.slice_attention import weighs_slices, weights_of
from radapt.classification.stacks import StackClassifier
from radapt.classification.task import TrainableModel
from radapt.models.state import ModelState
from radapt.networks.adapters.encoder_network import state_of
from radapt.networks.classifiers import PlainEncoder
from radapt.protocols.fitted import Model, SliceWeights, TrainedModel
from radapt.protocols.image_problem import CohortImages
from radapt.protocols.targets import Targets


@dataclass(frozen=True, eq=False)
class Classifier(TrainedModel):
    """A trained network with everything it needs to predict new cases: its input specification and label encoding."""

    shape: InputSpec
    outputs: tuple[str, ...]
    targets: Targets
    trainee: TrainableModel
    precision: Literal["float32", "bfloat16"] = "float32"

    def predict(self, cases: CohortImages, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Probabilities float64 (n, outputs) of cases of any cohort; modalities it was not trained with are ignored.

        The prediction of a case does not depend on the other cases. Raises DataError if an image cannot be read.
        """
        images = self.reader(cases)
        device = next(self.trainee.network.parameters()).device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self.trainee.feed.answers(images, rows)
        return self.targets.probabilities(logits)

    def reader(self, cases: CohortImages) -> CaseReader:
        """The cases of any cohort as the network reads them."""
        return cases.reader(self.shape.recipe, self.shape.modalities).with_channels(self.shape.channels)

    def state(self, *, self_contained: bool = False) -> ModelState:
        """Includes the trained weights of the encoder; frozen weights belong to the backbone."""
        return ModelState(
            state_of(self.trainee.network), self.shape.modalities, self.shape.facts, self.targets.encoding
        )  # fmt: skip

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """A 3D network, or the encoder of slices of one that has no backbone."""
        network = self.trainee.network
        if isinstance(network, StackClassifier):
            return {"network": network}
        own = network.encoder
        return {"encoder": own} if isinstance(own, PlainEncoder) else {}

    def on(self, cases: CohortImages) -> "CaseModel":
        return CaseModel(self, cases)


@dataclass(frozen=True, eq=False)
class CaseModel(Model):
    """A classifier bound to the cases of one cohort."""

    classifier: Classifier
    cases: CohortImages

    @property
    def trained_model(self) -> Classifier:
        return self.classifier

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.classifier.predict(self.cases, rows)

    def slice_weights(self, row: int) -> tuple[SliceWeights, ...]:
        trainee = self.classifier.trainee
        if not weighs_slices(trainee):
            return ()
        reader = self.classifier.reader(self.cases)
        images = [(reader.modalities[column], len(reader.planes(row, column))) for column in reader.columns(row)]
        return weights_of(trainee, reader, row, images)
