"""The options of a fusion: which tokens are stored, the small network on them, and how it is trained."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

NOT_PARTIAL = ("layers", "grid", "width", "depth", "members", "hidden", "classifier")
"""Options of the network that `trained: partial` does not have: it trains the blocks of the encoder."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class FusionOptions:
    """What `trained: fusion` may set, and `trained: partial` but for `NOT_PARTIAL`. docs/adaptation.md says what was
    measured."""

    # Stored tokens.
    layers: Annotated[tuple[Annotated[int, Field(le=-1)], ...], Field(min_length=1)] = (-1,)
    """Layers of the encoder whose tokens are stored, side by side; -1 is the last."""
    grid: Count = 4
    """The patch tokens of the foreground crop of a slice are averaged to grid × grid of them."""

    # The network.
    width: Annotated[int, Field(ge=32, multiple_of=32)] = 96
    """Dimension of its tokens; attention has a head for each 32 of it."""
    depth: Count = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    members: Count = 3
    """Networks with other initial weights that are trained side by side; their probabilities are averaged."""

    # Training.
    epochs: Count = 40  # 12 are too few, 100 no better: see docs/adaptation.md
    steps: Count | None = 1000
    """Training ends after `epochs` or `steps`, whichever comes first, so that it takes minutes however large the
    cohort."""
    batch: Count = 16
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    weight_decay: Weight = 0.05
    slices: Count = 4
    """Slices of a case in a step, drawn anew in every epoch. A prediction uses all that are stored."""
    modality_dropout: Share = 0.5
    """Probability that a sequence of a case is hidden in a step; at least one stays."""
    unlabelled: bool = True
    """Whether cases without a label are learned from, by their masks, hidden sequences and consistency."""
    label_smoothing: Share = 0.1

    # Losses beside that of the labels, which has weight 1.
    lesion: Weight = 1.0
    """Weight of the lesion loss: which share of each patch a mask marks. The predicted lesion weighs patches and
    slices, so that no mask is needed for a prediction. Without masks, attention weighs slices."""
    hidden: Weight = 0.0
    """Weight of the prediction of the tokens of hidden sequences."""
    consistency: Weight = 0.0
    """Weight of the agreement of what is predicted from a subset with what is predicted from all sequences, for cases
    without a label."""

    classifier: Literal["readout", "network", "both"] = "both"
    """What answers: the trained network; a readout of the tokens inside the lesion that it predicts, fitted to its
    training cases afterwards (see `radapt.mmdino.fusion.readout`); or both, in the mean of their probabilities."""

    decision: Literal["balanced", "argmax"] = "balanced"
    """`balanced`: probabilities as if all classes, or the presence and absence of a finding, were equally frequent,
    which suits MCC and balanced accuracy. `argmax`: as frequent as in training."""
