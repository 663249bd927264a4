"""Segmentation with an encoder: its patch tokens, frozen or adapted, under a decoder."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from radapt.errors import UsageError
from radapt.models.folder import SavedModel
from radapt.protocols.fitted import Aim, Fitted, Reads, Segmenter, TrainedModel
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.length import Length
from radapt.protocols.protocol import Protocol
from radapt.protocols.scoring import Scorer
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

    def length(self, samples: int) -> Length:
        rates = len(self.rates) if self.score_every else 1
        return Length.within(self.epochs, self.steps, self.batch, samples, rates=rates, patience=self.patience)

    def shortened(self, length: int) -> "Segment":
        return replace(self, epochs=length, lr=self.rates[:1])

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted[Segmenter]:
        """Raises DataError if images or masks cannot be used, all training masks are empty, or training diverges."""
        drawing, seeding = rng.spawn(2)
        return SegmentFit(self, problem, drawing, int(seeding.integers(2**62))).fitted()

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedModel:
        if backbone is None:
            raise UsageError(f"The model in {saved.folder} needs the encoder it was trained with.")
        return restore_segmenter(saved, backbone)
