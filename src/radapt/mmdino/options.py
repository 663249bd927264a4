"""The options of an adaptation, and named sets of them (presets).

The published method is MM-DINOv2 (arXiv 2509.06617), preset `mm-dinov2`. Where our default differs from it, the field
says why.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked

from radapt.errors import UsageError, suggest
from radapt.mmdino.fusion.fusion_options import NOT_PARTIAL, FusionOptions

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Scale = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]

RENAMED: Mapping[str, str] = {
    "marks": "lesion_loss_weight", "closer": "zoom_slices", "colours": "intensity_augmentation",
    "deployed": "classifier", "deployed_on": "classifier_cases", "answers_by": "deployed_network",
    "marked": "lesion_slice_share", "modality_share": "modality_mask_share", "block_share": "block_mask_share",
    "block_ratio": "block_mask_ratio", "patch_lr": "patch_lr_scale",
}  # fmt: skip
"""Names of earlier versions and today's. A study file with an old name gets an error that says the new one."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Options:
    """The options of an adaptation. The defaults are ours; see `PRESETS` for others.

    In each of the `epochs`, every training case gives one random slice. `steps` sets the number of optimiser steps
    instead, whatever the number of cases. The learning rate `lr` is that of a batch of 1024; it is multiplied by the
    root of batch / 1024, as in DINOv2.
    """

    # Tokens.
    positions: Literal["shared", "tiled"] = "shared"
    modality_embedding: bool = True
    hidden_blocks: Annotated[int, Field(ge=0)] | None = 4
    """Number of last blocks that process masked patches; None: all blocks (published). The blocks before process
    visible patches only, as in masked autoencoders (He et al. 2022), which saves the cost of the masked ones."""

    # Multi-crop: large (global) and small (local) crops of one slice, with all its sequences.
    global_size: Count = 98
    local_size: Count = 56
    global_crops: Annotated[int, Field(ge=1)] = 2
    local_crops: Annotated[int, Field(ge=0)] = 8
    global_scale: Scale = (0.5, 1.0)
    local_scale: Scale = (0.2, 0.5)
    focus: Literal["auto", "mask", "foreground"] = "auto"
    """What crops are taken around. `mask` (published): the lesion mask of cases that have one. Prediction has no mask,
    so it then sees other images than training did. `auto`: slices with a lesion are preferred, and crops are taken
    around the mask or from the whole foreground, so that training covers both passes of a prediction (see
    `zoom_slices`)."""

    intensity_augmentation: Literal["scanners", "default", "none"] = "scanners"
    """Augmentation of grey values, drawn for each sequence: `scanners` imitates differences between scanners, `default`
    is that of radapt's other trainings, `none` switches it off. Small networks learn more with `default` in short
    trainings."""

    # Masking of the student's input.
    masked_modalities: Literal["drawn", "one", "none"] = "drawn"
    """Whole sequences masked in the student's large crops. Published: exactly `one`. `drawn`: a random number, of which
    at least one stays visible, since patients lack any number of sequences."""
    modality_mask_share: Share = 0.5
    """Share of the large crops in which sequences are masked. Published: 1. The crops that keep all sequences teach
    what only one of them shows."""
    block_mask_share: Share = 0.5  # share of the large crops with block masks, the same for all sequences; published
    block_mask_ratio: tuple[Share, Share] = (0.1, 0.5)  # share of patches masked in these crops; published
    modality_dropout: Share = 0.5
    """Probability that a sequence is dropped from a small crop, in which at least one stays. Published: 0."""

    # Losses.
    unlabelled: bool = True  # also train on cases without a label
    dino: Weight = 1.0  # Caron et al. 2021; published weight
    ibot: Weight = 1.0  # Zhou et al. 2022; published weight
    koleo: Weight = 0.1  # Sablayrolles et al. 2019; published weight
    prototypes: Count | None = 1024
    """None: one prototype per class (published), which then stands for that class."""
    shared_head: bool = True  # one head for DINO and iBOT; published
    head_hidden: Count = 2048  # DINO's projection head
    head_bottleneck: Count = 256
    centring: Literal["centre", "sinkhorn"] = "sinkhorn"
    """How the teacher's targets are kept from collapsing: a running centre (DINO; published), or Sinkhorn–Knopp as in
    SwAV and DINOv2's large models, which cannot collapse to one prototype however small the batch."""
    supervision: Literal["none", "prototypes", "classifier"] = "classifier"
    """`prototypes` (published): the prototypes are the classes, weighted by their frequency in each batch.
    `classifier`: a linear layer on the CLS token, adjusted by the class frequencies of the cohort (Menon et al. 2021),
    because a class absent from a batch is not absent from the cohort."""
    supervised: Weight = 1.0
    """Weight of the supervised loss, averaged over labelled cases. Published: 0.5, times the labelled share of the
    batch."""
    supervised_crops: Literal["global", "all"] = "global"
    """Published: `all`, which includes small crops without any tumour."""
    label_smoothing: Share = 0.1  # published
    lesion_loss_weight: Weight = 5.0
    """Weight of the lesion loss: a linear layer predicts for each patch what the mask of a training case marks in it.
    Its predictions weigh patches and slices when a patient is classified. The loss starts at 1, as the supervised loss
    roughly does, whose noise would otherwise drown it. Published: 0; masks only select slices."""
    lesion_slice_share: Share = 0.5
    """With focus `auto`, probability that the slice of a case with a mask is drawn among the slices with a lesion. The
    others teach what slices without a lesion look like, which are most of those in a prediction."""
    consistency: Weight = 0.5
    """Weight of the consistency loss: crops with missing sequences or patches learn the class that the teacher predicts
    from the complete case (FixMatch, Sohn et al. 2020, with missing sequences as the augmentation). Published: 0. A
    weight of 1 was harmful in simulations whose features did not cluster by class."""

    # Teacher and schedules.
    momentum: Share = 0.992
    """Momentum of the teacher's moving average, rising to 1; published, with 8400 steps. Trainings of less than 1250
    steps start lower, so that the teacher forgets its initial weights (see `task.FORGETTING`)."""
    teacher_temperature: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.04, 0.07)  # published
    student_temperature: Annotated[float, Field(gt=0)] = 0.1  # DINO
    teacher_warmup: Share = 0.15  # share of the steps in which the teacher's temperature rises: 30 of 200 epochs
    deployed_network: Literal["teacher", "student"] = "teacher"
    """Whose weights are kept after training."""
    epochs: Count = 200  # published
    steps: Count | None = None
    batch: Count = 64  # published
    accumulate: Count = 1
    lr: Annotated[float, Field(gt=0, le=10)] = 1e-4  # published
    weight_decay: Weight = 0.04  # published
    weight_decay_end: Weight = 0.4  # published
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1  # share of the steps in which `lr` rises: 20 of 200 epochs
    frozen: Annotated[float, Field(ge=0, lt=1)] = 0.05  # share of the steps with a frozen backbone: 10 of 200 epochs
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.9  # published
    patch_lr_scale: Share = 0.2  # factor on the learning rate of the patch embedding; published
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.3  # published
    clip: Annotated[float, Field(gt=0)] | None = 3.0  # largest norm of the gradient; published
    trained: Literal["auto", "full", "lora", "partial", "fusion"] = "auto"
    """`full`: the whole encoder. `lora`: low-rank adapters in it. `fusion`: the encoder stays frozen, its tokens are
    stored once, and a small network over them is trained with the options `fusion`. `partial`: the tokens that enter
    the last `blocks` blocks are stored once, of slices of `global_size` pixels, and these blocks are trained with the
    options `fusion`. All other options, but for `slices`, are those of `full` and `lora`. `auto`: `fusion` for
    pretrained encoders where no option of `full` is set, else `full`."""
    fusion: FusionOptions = FusionOptions()
    blocks: Count = 2
    """The number of last blocks that `partial` trains."""
    blocks_lr_scale: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Learning rate of these blocks relative to that of the classifier, `fusion: {lr}`: 5e-5 by default, within the
    rates of `full`."""
    rank: Count = 48  # of LoRA; the radiology study's (arXiv 2312.02366)

    # The deployed classifier.
    slices: Count = 16
    """Slices per case at prediction, evenly spaced through the foreground. Published: the one with the largest
    tumour."""
    zoom_slices: Annotated[int, Field(ge=0)] = 4
    """Number of these slices that are encoded a second time, zoomed in on the predicted lesion: those with the most
    predicted lesion. With 0, or without masks in training, there is one pass over the whole foreground."""
    classifier: Literal["head", "logistic"] = "logistic"
    """`head`: the classifier trained during the adaptation. `logistic`: a logistic regression on the deployed network's
    CLS tokens, as published."""
    classifier_cases: Literal["subsets", "complete"] = "subsets"
    """What the logistic regression is fitted to: every subset of each training case's sequences, so that one model
    serves all, or each case with all its sequences (published, with one regression for every pattern of missing
    sequences)."""

    def __post_init__(self) -> None:
        for name in ("global_scale", "local_scale", "block_mask_ratio"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is ({low}, {high}); expected the smaller number first")
        if self.supervision == "prototypes" and self.prototypes is not None:
            raise ValueError("with supervision: prototypes there is one prototype per class; set prototypes to none")
        if self.prototypes is None and self.supervision != "prototypes":
            raise ValueError("prototypes can be none only with supervision: prototypes")
        if self.classifier == "head" and self.supervision == "none":
            raise ValueError("classifier: head needs a trained head, and supervision is none; use classifier: logistic")
        if self.consistency and self.supervision == "none":
            raise ValueError("the consistency loss needs classes, and supervision is none; set consistency to 0")
        self._check_stored()
        if not (self.dino or self.ibot or self.supervision != "none"):
            raise ValueError("there is nothing to learn: dino and ibot are 0 and supervision is none")

    def _check_stored(self) -> None:
        """Options without an effect under what is trained."""
        for name in ("blocks", "blocks_lr_scale"):
            if self.trained != "partial" and getattr(self, name) != _default(Options, name):
                raise ValueError(f"the option {name!r} belongs to trained: partial, and trained is {self.trained}")
        without = [name for name in self.changed_for_full if (self.trained, name) != ("partial", "global_size")]
        if self.stores_tokens and without:
            raise ValueError(
                f"with trained: {self.trained} the option {without[0]!r} has no effect; set those of fusion, "
                "such as fusion: {epochs: 30}, or choose trained: full"
            )
        if self.trained == "partial" and self.changed_for_fusion:
            raise ValueError(
                f"with trained: partial the option {self.changed_for_fusion[0]!r} of fusion has no effect: the network "
                "is the encoder's own last blocks; leave it out, or choose trained: fusion"
            )

    @property
    def stores_tokens(self) -> bool:
        """Whether tokens are stored once, and a network over them is trained."""
        return self.trained in ("fusion", "partial")

    @property
    def changed_for_fusion(self) -> tuple[str, ...]:
        """The options of a fusion's network that differ from the defaults."""
        return tuple(n for n in NOT_PARTIAL if getattr(self.fusion, n) != _default(FusionOptions, n))

    @property
    def changed_for_full(self) -> tuple[str, ...]:
        """The options that differ from the defaults and that a fusion does not have."""
        shared = ("trained", "fusion", "slices", "blocks", "blocks_lr_scale")
        names = (field.name for field in fields(Options) if field.name not in shared)
        return tuple(name for name in names if getattr(self, name) != _default(Options, name))

    def settled(self, *, pretrained: bool) -> "Options":
        """With `trained: auto` decided, for an encoder whose weights are trained ones or random."""
        if self.trained != "auto":
            return self
        return replace(self, trained="fusion" if pretrained and not self.changed_for_full else "full")

    @property
    def self_supervised(self) -> bool:
        """Whether cases without a label and a mask contribute to a loss."""
        return self.unlabelled and bool(self.dino or self.ibot or self.consistency)

    def plain(self) -> dict[str, Any]:
        """The fields, as values that JSON can hold."""
        return asdict(self)


def _default(options: type, name: str) -> Any:
    return next(field.default for field in fields(options) if field.name == name)


_PUBLISHED: dict[str, Any] = {
    "hidden_blocks": None, "focus": "mask", "masked_modalities": "one", "modality_mask_share": 1.0,
    "modality_dropout": 0.0, "prototypes": None, "centring": "centre", "supervision": "prototypes", "supervised": 0.5,
    "supervised_crops": "all", "consistency": 0.0, "lesion_loss_weight": 0.0, "classifier": "logistic",
    "classifier_cases": "complete", "trained": "full",
}  # fmt: skip
_UNSUPERVISED: dict[str, Any] = {"supervision": "none", "prototypes": 1024}
_SUPERVISED_ONLY: dict[str, Any] = {
    "unlabelled": False, "dino": 0.0, "ibot": 0.0, "koleo": 0.0, "consistency": 0.0, "masked_modalities": "none",
    "block_mask_share": 0.0, "lesion_loss_weight": 0.0, "modality_dropout": 0.0, "local_crops": 0,
    "deployed_network": "student", "classifier": "head", "trained": "full",
}  # fmt: skip
# A small batch needs a slower teacher.
_SMALL: dict[str, Any] = {
    "batch": 16,
    "local_crops": 6,
    "momentum": 0.996,
    "trained": "full",
}  # a small batch needs a slower teacher

_CHOICES: dict[str, dict[str, Any]] = {
    "default": {},
    "mm-dinov2": _PUBLISHED,
    "supervised": _SUPERVISED_ONLY,
    "concatenation": _PUBLISHED | _UNSUPERVISED
    | {"positions": "tiled", "modality_embedding": False, "masked_modalities": "none"},
    "small-gpu": _SMALL,
    "cpu": _SMALL | {"local_crops": 4, "prototypes": 256, "head_hidden": 512, "slices": 8},
}  # fmt: skip

PRESETS: tuple[str, ...] = tuple(_CHOICES)
"""`default`: ours. `mm-dinov2`: as published, except that class weights are the cohort's instead of the batch's.
`supervised`: labels alone, on the same tokens; masks only select slices, as in the published method, and with a
`lesion_loss_weight` above 0 the masks of labelled cases teach as well. `concatenation`: the first row of the published
ablation, with sequences side by side as one wide image and no labels in training. `small-gpu` and `cpu`: ours with
small batches."""


def options_of(preset: str = "default", **changed: Any) -> Options:
    """The options of a preset, some of them changed. Raises UsageError for unknown names and values out of range."""
    if preset not in _CHOICES:
        raise UsageError(f"Unknown preset {preset!r}. {suggest(preset, PRESETS)}")
    names = [field.name for field in fields(Options)]
    for name in changed:
        if name not in names:
            raise UsageError(f"An adaptation has no option {name!r}. {suggest(name, names, RENAMED)}")
    try:
        return Options(**_CHOICES[preset] | changed)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"option {'.'.join(map(str, first['loc']))!r} cannot be {first['input']!r}: " if first["loc"] else ""
        problem = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"Adaptation {preset!r}: {where}{problem}.") from error
