"""Segmentation with an encoder: its patch tokens, frozen or adapted, under a decoder."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from radapt.errors import UsageError
from radapt.models.folder import SavedModel
from radapt.protocols.fitted import Aim, Fitted, Reads, Segmenter, TrainedModel
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.scoring import Scorer
from radapt.protocols.training_options import STEP_BACK
from radapt.segmentation.encoder_decoder.fit import SegmentFit
from radapt.segmentation.encoder_decoder.model import restore_segmenter
from radapt.segmentation.encoder_decoder.options import SegmentOptions
from radapt.segmentation.scoring import SegmentationScorer

if TYPE_CHECKING:
    from radapt.backbones import Backbone


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Segment(SegmentOptions, Protocol[ImageProblem]):
    """An encoder's patch tokens under a decoder (see `SegmentOptions`)."""

    name: ClassVar[str] = "segment"
    aim: ClassVar[Aim] = "segmentation"
    reads: ClassVar[Reads] = "images"
    scorer: ClassVar[Scorer] = SegmentationScorer()

    def passes(self, slices: int, cases: int, images: int) -> float | None:
        """One pass if a frozen encoder's tokens are stored, which needs room on the disk; otherwise one per epoch until
        `epochs` or `steps` end training, at every learning rate."""
        if self.encoder == "frozen" and not self.augments and self.token_budget_gb:
            return 1.0
        step = 1.0 if self.encoder == "frozen" else 1 + STEP_BACK
        planes = max(1, round(slices * cases / max(images, 1)))  # all modalities of a plane are one sample
        config = self.train_config(self.rates[0], chooses=False, precision="float32")
        return len(self.rates) * config.epochs_at_most(planes) * step

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted[Segmenter]:
        """Raises DataError if images or masks cannot be used, all training masks are empty, or training diverges."""
        drawing, seeding = rng.spawn(2)
        return SegmentFit(self, problem, drawing, int(seeding.integers(2**62))).fitted()

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedModel:
        if backbone is None:
            raise UsageError(f"The model in {saved.folder} needs the encoder it was trained with.")
        return restore_segmenter(saved, backbone)
