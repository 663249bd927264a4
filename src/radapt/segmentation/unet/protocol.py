"""The U-Net from scratch: planned as nnU-Net plans it, trained on patches; label maps are in the patient's own grid."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from radapt.models.folder import SavedModel
from radapt.protocols.fitted import Aim, Fitted, Reads, Segmenter, TrainedModel
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.length import Length
from radapt.protocols.protocol import Protocol
from radapt.protocols.scoring import Scorer
from radapt.segmentation.scoring import SegmentationScorer
from radapt.segmentation.unet.fit import UNetFit
from radapt.segmentation.unet.model import restore_unet
from radapt.segmentation.unet.options import UNetOptions

if TYPE_CHECKING:
    from radapt.backbones import Backbone


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class UNetProtocol(UNetOptions, Protocol[ImageProblem]):
    """A U-Net trained from scratch, planned by nnU-Net's rules from the training cases (see `UNetOptions`)."""

    name: ClassVar[str] = "unet"
    aim: ClassVar[Aim] = "segmentation"
    reads: ClassVar[Reads] = "images"
    uses_backbone: ClassVar[bool] = False
    scorer: ClassVar[Scorer] = SegmentationScorer()

    def length(self, samples: int) -> Length:
        return Length(self.steps, by_steps=True)

    def shortened(self, length: int) -> "UNetProtocol":
        return replace(self, steps=length)

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted[Segmenter]:
        """Raises DataError if images or masks cannot be used, no training mask has a label, or training diverges."""
        drawing, seeding = rng.spawn(2)
        return UNetFit(self, problem, drawing, int(seeding.integers(2**62))).fitted()

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedModel:
        return restore_unet(saved)
