"""The options of `segment`, and the learning rates, network components and `TrainConfig` that follow from them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from radapt.networks.decoders.registry import decoder_class, decoder_options
from radapt.protocols.training_options import BIAS_RATES, FULL_RATES, LORA_RATES, LayerNames, Rates
from radapt.segmentation.encoder_decoder.network import Encoder, Parts, Subsets
from radapt.training import TrainConfig

HEAD_RATES = (1e-3, 3e-4, 3e-3)
"""Learning rates of a decoder on a frozen encoder: the usual 1e-3 of AdamW for small convolutional networks, and half a
decade to both sides, inside the grid 1e-4 … 1e-1 of the radiology study (arXiv 2312.02366). Without val the first."""

LINEAR_RATES = (1e-2, 1e-3, 1e-1)
"""For the linear decoder, a convex problem: the upper three decades of the study's grid."""

RATES: Mapping[str, tuple[float, ...]] = {
    "norm": BIAS_RATES,
    "bitfit": BIAS_RATES,
    "lora": LORA_RATES,
    "partial": FULL_RATES,
    "finetune": FULL_RATES,
}
"""Default learning rates for adapted encoders: those of the classification protocol of the same name."""

ENCODER_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "partial": ("blocks",),
    "lora": ("rank", "alpha", "dropout", "targets"),
}
"""Options of a single way to adapt the encoder; `radapt.networks` has their defaults."""

LAYER_DECAY = 0.75
"""Layer-wise decay of the encoder's learning rate where whole blocks are trained (MAE, He et al. 2022, table 9)."""

TOKEN_BUDGET_GB = 20.0
"""About 25,000 slices of a ViT-S at 224 px with four layers: a tenth of the disk of a small workstation. Reading them
takes less than a hundredth of the encoder's time."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class SegmentOptions:
    """An encoder's patch tokens under a decoder, trained with Dice + cross-entropy; the best learning rate on val.

    `decoder`: `linear` (a linear map of the last patch tokens), `conv` (light, multi-scale), `upernet`, `dpt`, `unet`
    (U-Net-like, five layers), or one of another package; `width` and `stride` are its options. `encoder`: `frozen`, or
    adapted by `norm`, `bitfit`, `lora` (`rank`, `alpha`, `dropout`, `targets`), `partial` (the last `blocks`) or
    `finetune`; the last two have a layer-wise learning-rate decay of `layer_decay`. All modalities go through the
    same encoder and are fused at every location; a missing modality is replaced by a learned vector.

    A frozen encoder's tokens are stored once and read in every epoch if they take at most `token_budget_gb` and fit on
    the disk; otherwise every slice is encoded in every epoch. `augment` `auto` augments if the encoder is trained, not
    if it is frozen. With `default` (the augmentation for the kind of image) and a frozen encoder, every slice is
    encoded in every epoch. `mirror`: flips in training, of left and right (`auto`: unless a
    label has a side, or the images are X-rays), of `all` axes, or `none`.

    `lr`: learning rates of the adapted encoder, each tried in a run from the same initial weights; None takes `RATES`
    or, with a frozen encoder, those of the decoder. With an adapted encoder, `decoder_lr` is the learning rate of the
    decoder (None: its first default). Training ends after `epochs` or `steps`, whichever comes first; early stopping
    ends it after `patience` epochs without a better validation score (None: never). A validation pass follows every
    `score_every` epochs; with 0 there is none: train and val are learned from at one rate for the whole schedule.
    `batch` is the batch size in slices. `foreground` is the fraction of an epoch that is drawn from slices with a
    label, label by label. `dice` is the share of the Dice loss, the rest is cross-entropy; `class_weight` `balanced`
    weighs it by how rare a label is in training. `modality_dropout` drops each modality of a slice with that
    probability, never all, so that the vector of a missing modality is learned. Epochs are compared by mean Dice per
    case on the planes, rates by mean Dice in the patients' grids. `subsets`: test cases are also scored from every
    subset of their modalities, `all`, `none`, or with `auto` if there are at most four; a slice is encoded once for all
    of them, but decoded and measured up to 2^M - 1 times.
    """

    decoder: str = "conv"
    width: Annotated[int, Field(ge=8, le=1024)] | None = None
    stride: Annotated[int, Field(ge=1, le=16)] | None = None
    encoder: Encoder = "frozen"
    blocks: Annotated[int, Field(ge=1)] | None = None
    rank: Annotated[int, Field(ge=1)] | None = None
    alpha: Annotated[float, Field(gt=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    targets: LayerNames = None
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    token_budget_gb: Annotated[float, Field(ge=0)] = TOKEN_BUDGET_GB
    augment: Literal["auto", "default", "none"] = "auto"
    mirror: Literal["auto", "none", "left-right", "all"] = "auto"
    lr: Rates | None = None
    decoder_lr: Annotated[float, Field(gt=0, le=10)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 100  # for small cohorts; `steps` limits large ones
    steps: Annotated[int, Field(ge=1)] | None = 2000  # 32,000 slices: some minutes on stored tokens and two cores
    patience: Annotated[int, Field(ge=1)] | None = 20
    score_every: Annotated[int, Field(ge=0)] = 1
    batch: Annotated[int, Field(ge=1)] = 16
    weight_decay: Annotated[float, Field(ge=0, lt=10)] = 0.05
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.33  # nnU-Net's (Isensee et al. 2021)
    dice: Annotated[float, Field(ge=0, le=1)] = 0.5  # Dice and cross-entropy weigh the same, as in nnU-Net
    class_weight: Literal["none", "balanced"] = "none"
    modality_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1  # assumes a missing sequence in 10 % of patients
    subsets: Subsets = "auto"

    def __post_init__(self) -> None:
        """Raises UsageError for an unknown decoder."""
        decoder_class(self.decoder)
        owners = {option: way for way, options in ENCODER_OPTIONS.items() for option in options}
        for option, way in owners.items():
            if getattr(self, option) is not None and self.encoder != way:
                raise ValueError(f"{option} belongs to encoder: {way}, and has no effect with {self.encoder}")
        if self.layer_decay is not None and self.encoder not in ("partial", "finetune"):
            raise ValueError(f"layer_decay belongs to partial and finetune, and has no effect with {self.encoder}")
        if self.decoder_lr is not None and self.encoder == "frozen":
            raise ValueError("decoder_lr is for adapted encoders; with a frozen one, lr is the decoder's")
        if not self.score_every and len(self.lr or ()) > 1:
            raise ValueError("score_every: 0 leaves nothing to choose lr by; give a single one")
        if self.mirror != "auto" and not self.augments:
            raise ValueError("mirror is part of augmentation, which is off here (see augment)")
        stores = self.encoder == "frozen" and not self.augments
        if self.token_budget_gb != TOKEN_BUDGET_GB and not stores:
            raise ValueError(
                "token_budget_gb has no effect where tokens are never stored: the encoder is not frozen, or "
                "slices are augmented"
            )
        for option in ("width", "stride"):
            if getattr(self, option) is not None and option not in decoder_options(self.decoder):
                raise ValueError(f"{option} has no effect with decoder: {self.decoder}")

    @property
    def rates(self) -> tuple[float, ...]:
        return self.lr or RATES.get(self.encoder, self._decoder_rates)

    @property
    def decoder_rate(self) -> float:
        """Learning rate of the decoder beside an adapted encoder."""
        return self.decoder_lr or self._decoder_rates[0]

    @property
    def _decoder_rates(self) -> tuple[float, ...]:
        return LINEAR_RATES if self.decoder == "linear" else HEAD_RATES

    @property
    def augments(self) -> bool:
        return self.augment == "default" or (self.augment == "auto" and self.encoder != "frozen")

    @property
    def decay(self) -> float | None:
        """Layer-wise learning-rate decay of the encoder; None: one rate for all layers."""
        return (self.layer_decay or LAYER_DECAY) if self.encoder in ("partial", "finetune") else None

    def parts(self, modalities: int, outputs: int, size: tuple[int, int]) -> Parts:
        """The components of the network."""
        decoder = {name: getattr(self, name) for name in ("width", "stride") if getattr(self, name) is not None}
        names = ENCODER_OPTIONS.get(self.encoder, ())
        encoder = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if encoder.get("targets") is not None:
            encoder["targets"] = list(encoder["targets"])
        return Parts(self.decoder, self.encoder, modalities, outputs, size, decoder, encoder)

    def train_config(self, lr: float, *, chooses: bool, precision: Literal["float32", "bfloat16"]) -> TrainConfig:
        """How one candidate is trained; without val there is no early stopping."""
        return TrainConfig(
            epochs=self.epochs, batch=self.batch, lr=lr, steps=self.steps, weight_decay=self.weight_decay,
            warmup=self.warmup, clip=self.clip, score_every=self.score_every or None,
            patience=self.patience if chooses else None, precision=precision,
        )  # fmt: skip
