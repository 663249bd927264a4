"""Everything one may decide about an adaptation, and the named sets of choices.

The published method is MM-DINOv2 (arXiv 2509.06617), the preset `mm-dinov2`. Where the default is another, the field
says why.
"""

from dataclasses import asdict, fields
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked

from radapt.errors import UsageError, suggest

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Scale = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Options:
    """An adaptation. Defaults are ours; see `PRESETS`.

    `epochs` are passes over the training cases, each of which gives one random plane per pass; `steps` sets the number
    of steps of the optimiser instead, whatever the number of cases. The learning rate is that of a batch of 1024, and
    scales with the root of the batch, as DINOv2's does.
    """

    # Tokens.
    positions: Literal["shared", "tiled"] = "shared"
    modality_embedding: bool = True
    hidden_blocks: Annotated[int, Field(ge=0)] | None = 4
    """Blocks, counted from the last, that hidden patches pass; None: all, as published. Visible patches alone pass
    the blocks before, as in masked autoencoders (He et al. 2022), which saves what hidden ones would cost."""

    # What is seen: two large and several small crops of one plane of a case, with all its sequences.
    global_size: Count = 98
    local_size: Count = 56
    global_crops: Annotated[int, Field(ge=1)] = 2
    local_crops: Annotated[int, Field(ge=0)] = 8
    global_scale: Scale = (0.5, 1.0)
    local_scale: Scale = (0.2, 0.5)
    focus: Literal["auto", "mask", "foreground"] = "auto"
    """What crops are taken around. `mask` (published): the mask, where a case has one; prediction, which has none, then
    sees what training did not. `auto`: planes that the mask marks come first, and crops are taken around it or of all
    that shows the patient, so that both looks of a prediction are learned (see `closer`)."""

    colours: Literal["scanners", "default", "none"] = "scanners"
    """How grey values of crops are changed, each sequence on its own: as between `scanners`, as other trainings of
    radapt do (`default`), or not at all. Short trainings of small networks learn more with `default`."""

    # What is hidden from the student.
    masked_modalities: Literal["drawn", "one", "none"] = "drawn"
    """Whole sequences hidden in the student's large crops. Published: exactly `one`. `drawn`: any number that leaves
    one, since patients lack any number of them."""
    modality_share: Share = 0.5
    """Of the large crops may have sequences hidden. Published: 1. In those that keep all, what only one sequence shows
    can be learned, too."""
    block_share: Share = 0.5  # of the large crops have patches hidden in blocks, of every sequence alike; published
    block_ratio: tuple[Share, Share] = (0.1, 0.5)  # share of patches hidden in these; published
    modality_dropout: Share = 0.5
    """Chance that a small crop lacks a sequence, of which one always stays. Published: 0."""

    # What is learned from.
    unlabelled: bool = True  # training cases without label, too
    dino: Weight = 1.0  # Caron et al. 2021; published weight
    ibot: Weight = 1.0  # Zhou et al. 2022; published weight
    koleo: Weight = 0.1  # Sablayrolles et al. 2019; published weight
    prototypes: Count | None = 1024
    """None: as many as classes (published), each of which then is a class."""
    shared_head: bool = True  # of DINO and iBOT; published
    head_hidden: Count = 2048  # DINO's projection head
    head_bottleneck: Count = 256
    centring: Literal["centre", "sinkhorn"] = "sinkhorn"
    """How the teacher's answers are kept apart: a running centre (DINO; published), or Sinkhorn–Knopp as in SwAV and
    DINOv2's large models, which cannot collapse to one prototype however small the batch."""
    supervision: Literal["none", "prototypes", "classifier"] = "classifier"
    """`prototypes` (published): prototypes are the classes, weighed by their frequency in each batch. `classifier`: a
    linear layer on the CLS token, adjusted by the frequency of classes in the cohort (Menon et al. 2021), because a
    class absent from a batch says nothing about patients."""
    supervised: Weight = 1.0  # published 0.5, times the labelled share of the batch; here that of the labelled mean
    supervised_crops: Literal["global", "all"] = "global"
    """Published: `all`, also small crops that hold no tumour."""
    label_smoothing: Share = 0.1  # published
    marks: Weight = 5.0
    """Weight of telling for each patch what the mask of a training case marks in it, where cases have masks; what is
    learned so weighs patches and slices in the answer for a patient. It has a loss of 1 to start with, as that of
    classes has, whose noise would drown it. Published: 0, masks only choose slices."""
    marked: Share = 0.5
    """Chance that a plane is drawn among those that the mask marks, where a case has one, with focus `auto`. The others
    teach what planes without a lesion look like, which are most of those that answer for a patient."""
    consistency: Weight = 0.5
    """Weight of agreeing with the teacher's classes for the whole case on crops that lack sequences or patches
    (FixMatch, Sohn et al. 2020, with the modalities as the augmentation). Published: 0. With a weight of 1 it harmed
    in simulations whose features did not cluster by class."""

    # Teacher and schedules.
    momentum: Share = 0.992
    """Of the teacher's moving average, to 1 at the end; published, with 8400 steps. Trainings of less than 1250 steps
    start lower, so that the teacher forgets where it started (see `task.FORGETTING`)."""
    teacher_temperature: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.04, 0.07)  # published
    student_temperature: Annotated[float, Field(gt=0)] = 0.1  # DINO
    teacher_warmup: Share = 0.15  # 30 of 200 epochs; published
    answers_by: Literal["teacher", "student"] = "teacher"
    epochs: Count = 200  # published
    steps: Count | None = None
    batch: Count = 64  # published
    accumulate: Count = 1
    lr: Annotated[float, Field(gt=0, le=10)] = 1e-4  # published
    weight_decay: Weight = 0.04  # published
    weight_decay_end: Weight = 0.4  # published
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1  # 20 of 200 epochs; published
    frozen: Annotated[float, Field(ge=0, lt=1)] = 0.05  # the backbone stays as it is for 10 of 200 epochs; published
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.9  # published
    patch_lr: Share = 0.2  # published
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.3  # published
    clip: Annotated[float, Field(gt=0)] | None = 3.0  # published
    trained: Literal["full", "lora"] = "full"
    rank: Count = 48  # of LoRA; the radiology study's (arXiv 2312.02366)

    # The classifier that is deployed.
    slices: Count = 16
    """Planes of a case that answer for it, evenly spaced through the foreground. Published: that with most tumour."""
    closer: Annotated[int, Field(ge=0)] = 4
    """Of these planes, so many are looked at again, closer: those in which most was found of what masks mark, around
    where it was found. 0, or no mask in training: one look at all that shows the patient."""
    deployed: Literal["head", "logistic"] = "logistic"
    """`head`: the classifier that was trained along. `logistic`: a logistic regression on the teacher's CLS tokens, as
    published."""
    deployed_on: Literal["subsets", "complete"] = "subsets"
    """What a logistic regression learns from: every subset of each training case's sequences, so that one model
    answers for all, or the cases as they are (published, with another regression for every missing pattern)."""

    def __post_init__(self) -> None:
        for name in ("global_scale", "local_scale", "block_ratio"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is ({low}, {high}); expected the smaller number first")
        if self.supervision == "prototypes" and self.prototypes is not None:
            raise ValueError(
                "with supervision: prototypes there are as many prototypes as classes; set prototypes to none"
            )
        if self.prototypes is None and self.supervision != "prototypes":
            raise ValueError("prototypes can be none only with supervision: prototypes")
        if self.deployed == "head" and self.supervision == "none":
            raise ValueError("deployed: head needs a head, and supervision is none; use deployed: logistic")
        if self.consistency and self.supervision == "none":
            raise ValueError("consistency compares classes, and supervision is none; set consistency to 0")
        if not (self.dino or self.ibot or self.supervision != "none"):
            raise ValueError("nothing is learned: dino and ibot are 0 and supervision is none")

    @property
    def self_supervised(self) -> bool:
        """Whether cases without label and mask are of any use."""
        return self.unlabelled and bool(self.dino or self.ibot or self.consistency)

    def plain(self) -> dict[str, Any]:
        """Its fields as JSON has them."""
        return asdict(self)


_PUBLISHED: dict[str, Any] = {
    "hidden_blocks": None, "focus": "mask", "masked_modalities": "one", "modality_share": 1.0, "modality_dropout": 0.0,
    "prototypes": None, "centring": "centre", "supervision": "prototypes", "supervised": 0.5, "supervised_crops": "all",
    "consistency": 0.0, "marks": 0.0, "deployed": "logistic", "deployed_on": "complete",
}  # fmt: skip
_UNSUPERVISED: dict[str, Any] = {"supervision": "none", "prototypes": 1024}
_SUPERVISED_ONLY: dict[str, Any] = {
    "unlabelled": False, "dino": 0.0, "ibot": 0.0, "koleo": 0.0, "consistency": 0.0, "masked_modalities": "none",
    "block_share": 0.0, "marks": 0.0, "modality_dropout": 0.0, "local_crops": 0, "answers_by": "student",
    "deployed": "head",
}  # fmt: skip
_SMALL: dict[str, Any] = {"batch": 16, "local_crops": 6, "momentum": 0.996}  # a small batch needs a slower teacher

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
"""`default`: ours. `mm-dinov2`: as published, but for the class weights of a batch, which are the cohort's.
`supervised`: labels alone, on the same tokens, masks only choosing slices as they do in the published method; with
`marks` above 0 the masks of labelled cases teach, too. `concatenation`: the first row of the published ablation,
sequences side by side as one wide image, without labels in training. `small-gpu` and `cpu`: ours with small batches."""


def options_of(preset: str = "default", **changed: Any) -> Options:
    """The options of a preset with some changed. Raises UsageError for unknown names and values out of range."""
    if preset not in _CHOICES:
        raise UsageError(f"Unknown preset {preset!r}. {suggest(preset, PRESETS)}")
    known = [each.name for each in fields(Options)]
    for name in changed:
        if name not in known:
            raise UsageError(f"An adaptation has no option {name!r}. {suggest(name, known)}")
    try:
        return Options(**_CHOICES[preset] | changed)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"option {str(first['loc'][0])!r} cannot be {first['input']!r}: " if first["loc"] else ""
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"Adaptation {preset!r}: {where}{said}.") from error
