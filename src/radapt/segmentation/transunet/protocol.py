"""TransUNet from scratch: slice by slice on the study's planes; label maps are in the patient's own grid."""

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
from radapt.segmentation.transunet.fit import fit_transunet
from radapt.segmentation.transunet.model import restore_transunet
from radapt.segmentation.transunet.options import TransUNetOptions

if TYPE_CHECKING:
    from radapt.backbones import Backbone


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class TransUNetProtocol(TransUNetOptions, Protocol[ImageProblem]):
    """TransUNet (Chen et al. 2021), trained on slices (see `TransUNetOptions`)."""

    name: ClassVar[str] = "transunet"
    aim: ClassVar[Aim] = "segmentation"
    reads: ClassVar[Reads] = "images"
    uses_backbone: ClassVar[bool] = False
    scorer: ClassVar[Scorer] = SegmentationScorer()

    def length(self, samples: int) -> Length:
        return Length.within(self.epochs, self.steps, self.batch, samples)

    def shortened(self, length: int) -> "TransUNetProtocol":
        return replace(self, epochs=length)

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted[Segmenter]:
        """Raises DataError if images or masks cannot be used, all training masks are empty, or training diverges."""
        drawing, seeding = rng.spawn(2)
        return fit_transunet(self, problem, drawing, int(seeding.integers(2**62)))

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedModel:
        return restore_transunet(saved)
