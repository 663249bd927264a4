"""The study file: cohorts, backbones, protocols, image settings and seeds of a grid."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from radapt.errors import UsageError, suggest
from radapt.locations import expanded, is_file, is_folder
from radapt.parsing.strict_yaml import StrictModel, read_yaml
from radapt.runtimes.runtime import AUTO, RUNTIMES
from radapt.studies.ledger import slug
from radapt.trackers import Where


def _size(value: Any) -> Any:
    sides = value if isinstance(value, list | tuple) else [value]
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
    if not whole or len(sides) > 2 or (len(sides) == 1) != isinstance(value, int):
        raise ValueError("a side in pixels, or [height, width], was expected")
    return value


Size = Annotated[int | tuple[int, int], BeforeValidator(_size)]


class SliceSettings(StrictModel):
    """The planes of a volume that are used: every k-th along an axis, at most `count`, evenly spaced.

    `triplanar` takes planes along all three axes, with `every` and `count` for each. With `neighbours: k` above 0, the
    planes k before and after a grey plane become its outer channels (2.5D).
    """

    axis: Literal["axial", "coronal", "sagittal", "triplanar"] = "axial"
    every: PositiveInt = 1
    count: PositiveInt | None = None
    neighbours: NonNegativeInt = 0


class ImageSettings(StrictModel):
    """The preprocessing of images. `size` is the side in pixels, or [height, width].

    Planes are made as large as fits into `size` (`fit: resize`), or keep their pixels (`pad`); `border` is the grey
    level around them, from 0 (black) to 255. `recipe` overrides the default recipe of the cohort's kind, such as
    `{windows: [lung]}` for CT. `name` identifies the settings where a study has several. With an `aim` they are those
    of classification or of segmentation alone. `look` says what of each plane is seen: `whole`, the `foreground` (body
    or brain), which is the default for CT and MRI, or the `lesion`, in planes that show it. Where it lies is predicted
    from the masks of training cases, or with `lesion_masks: own` read from a case's own mask where it has one.
    """

    name: str | None = Field(default=None, min_length=1)
    aim: Literal["classification", "segmentation"] | None = None
    size: Size = 224
    fit: Literal["resize", "pad"] = "resize"
    border: Annotated[int, Field(ge=0, le=255)] = 0
    look: Literal["whole", "foreground", "lesion"] | None = None
    lesion_masks: Literal["training", "own"] = "training"
    slices: SliceSettings = SliceSettings()
    recipe: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _masks_are_used(self) -> "ImageSettings":
        if self.lesion_masks != "training" and self.look != "lesion":
            raise ValueError("'lesion_masks' has no use without 'look: lesion'")
        return self


class BackboneEntry(StrictModel):
    """A backbone of the grid. `as` names the architecture if `name` is a name of the user's own.

    The folder of an adapted backbone needs no `as`: give it as `name`, or as `weights` under a name of your own.
    """

    name: str = Field(min_length=1)
    weights: str | None = None
    as_: str | None = Field(default=None, alias="as")
    seed: int = Field(default=0, ge=0)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    runtime: Literal["pytorch", "onnx", "openvino", "auto"] = "pytorch"
    """What computes features; training is always by PyTorch."""

    @property
    def architecture(self) -> str:
        """The name in the catalog."""
        return self.as_ or self.name


class ProtocolEntry(StrictModel):
    """A protocol of the grid with its options; `title` is its name in tables."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    title: str | None = Field(default=None, min_length=1)

    @property
    def label(self) -> str:
        """The title, else the name with its options, as shown in tables where the name alone is not unique."""
        if self.title is not None:
            return self.title
        shown = ", ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name} ({shown})" if shown else self.name


class PoolingEntry(StrictModel):
    """Pooling of slices into one vector per modality, and of modalities into one vector per case."""

    slices: Literal["mean", "max"] = "mean"
    modalities: Literal["concat", "mean"] = "concat"


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _one_key(value: Any) -> Any:
    """A protocol as written in the study file: `knn`, `{knn: {…}}` or `{knn: {…}, title: …}`."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and "name" not in value:
        titled = {key: value[key] for key in value if key == "title"}
        others = [key for key in value if key not in titled]
        if len(others) > 1:
            raise ValueError(f"one protocol was expected, with at most 'title' beside it, not {', '.join(others)}")
        if others:
            return {"name": others[0], "options": value[others[0]] or {}, **titled}
    return value


def _as_written(entry: ProtocolEntry) -> Any:
    """The inverse of `_one_key`."""
    titled = {} if entry.title is None else {"title": entry.title}
    return {entry.name: entry.options, **titled} if entry.options or titled else entry.name


def _unique(entries: list[Any]) -> list[Any]:
    _refuse_duplicates([str(getattr(entry, "label", None) or entry) for entry in entries])
    return entries


def _uniquely_named(images: list[ImageSettings]) -> list[ImageSettings]:
    if any(image.name is None for image in images):
        raise ValueError("each entry of 'images' needs a name")
    _refuse_duplicates([image.name or "" for image in images])
    return images


def _unique_folders(entries: list[BackboneEntry]) -> list[BackboneEntry]:
    """Backbones name folders in the run folder, so names that differ only in punctuation collide."""
    _refuse_duplicates([slug(entry.name) for entry in entries])
    return entries


def _refuse_duplicates(names: list[str]) -> None:
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(f"{', '.join(duplicates)} is given twice; give each entry a unique name")


def _controls(value: Any) -> Any:
    if isinstance(value, str) and value not in ("auto", "none"):
        raise ValueError(f"'auto', 'none' or a list of controls was expected, such as [{value}]")
    return value


def _groups(value: Any) -> Any:
    if isinstance(value, str) and value not in ("auto", "none"):
        raise ValueError(f"'auto', 'none' or a list of columns was expected, such as [{value}]")
    return value


def _metric(name: str | None) -> str | None:
    """The name of a metric that candidates can be compared by."""
    if name is not None:
        from radapt.protocols.choice import ChoiceRules

        try:
            ChoiceRules(select_by=name)
        except UsageError as error:
            raise ValueError(str(error)) from None
    return name


class Study(StrictModel):
    """A grid of cells: cohorts × images × backbones × protocols × seeds.

    Protocols that train a network from scratch run once, not once per backbone; a study of such protocols alone needs
    no backbone. `images` instead of `image` compares several named image settings.

    `controls` are run beside every classification and ranked apart (see `radapt.studies.controls`): `auto` is all that
    the cohort allows, a list names some, with their options as under `protocols`.

    `choose` says where hyper-parameters are chosen: on `val`, by cross-validation inside train and val (`cv`), or by
    what val has (`auto`). `select_by` names the metric they are chosen by; without it MCC for classes, mean AUROC for
    findings, and always Dice for masks. `decision` says how a class is decided for from probabilities. With
    `one_standard_error` the most strongly regularised candidate within one standard error of the best is taken.
    `inner_folds` names the column whose groups that cross-validation leaves out whole; `auto` is the site in cohorts
    that leave sites out in turn, and `patient` mixes groups. With `inner_scores: all` a classifier that chooses nothing
    by inner folds, such as a fusion, is fitted again on three of them, so that it has a score to be chosen by.

    Equal images of two patients in different splits or folds leak from one to the other: the cohort fails.
    Near-identical ones (re-encoded, resized, flipped, cropped, rotated) are a warning with a list. With
    `duplicates: strict` both fail the cohort, also inside one split; with `allow` neither is searched for.

    `track` names trackers as `KIND:FOLDER`, such as `tensorboard:tb` (see `radapt.trackers`); they decide no number.

    `pictures: none` keeps images of patients out of the report, and out of the pictures in the run folder. `volumes`
    is how many of the pictured cases of each cohort, the most wanted first, the report opens in 3D.

    `groups` are the columns of the cohorts' tables whose groups are scored each on its own, and searched for in the
    features: `auto` is every column that divides the patients (see `radapt.cohorts.groupings`).
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")
    cohorts: Annotated[list[str], Field(min_length=1), AfterValidator(_unique)]
    backbones: Annotated[list[Annotated[BackboneEntry, BeforeValidator(_named)]], AfterValidator(_unique_folders)] = (
        Field(default_factory=list)
    )
    protocols: Annotated[
        list[Annotated[ProtocolEntry, BeforeValidator(_one_key)]],
        Field(min_length=1),
        AfterValidator(_unique),
    ]
    controls: Annotated[
        Literal["auto", "none"] | list[Annotated[ProtocolEntry, BeforeValidator(_one_key)]], BeforeValidator(_controls)
    ] = "auto"
    image: ImageSettings = ImageSettings()
    images: Annotated[list[ImageSettings], AfterValidator(_uniquely_named)] = Field(default_factory=list)
    pooling: PoolingEntry = PoolingEntry()
    choose: Literal["auto", "val", "cv"] = "auto"
    select_by: Annotated[str | None, AfterValidator(_metric)] = None
    decision: Literal["auto", "balanced", "argmax", "tuned"] = "auto"
    one_standard_error: bool = False
    inner_folds: Annotated[str, Field(min_length=1)] = "auto"
    inner_scores: Literal["chosen", "all"] = "chosen"
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_unique)] = [0]
    resamples: Annotated[int, Field(ge=100)] = 2000
    duplicates: Literal["strict", "warn", "allow"] = "warn"
    track: list[str] = Field(default_factory=list)
    pictures: Literal["embed", "none"] = "embed"
    volumes: Annotated[int, Field(ge=0, le=24)] = 0
    groups: Annotated[
        Literal["auto", "none"] | Annotated[list[str], Field(min_length=1), AfterValidator(_unique)],
        BeforeValidator(_groups),
    ] = "auto"

    @model_validator(mode="after")
    def _image_or_images(self) -> "Study":
        if self.images and "image" in self.model_fields_set:
            raise ValueError("'image' and 'images' are both given; use 'images' only to compare several settings")
        return self

    @model_validator(mode="after")
    def _volumes_are_pictures(self) -> "Study":
        if self.volumes and self.pictures == "none":
            raise ValueError(f"'volumes: {self.volumes}' needs images in the report, which 'pictures: none' keeps out")
        return self

    @property
    def choices(self) -> dict[str, Any]:
        """How choices are made, as `evaluate` and `train` take it."""
        asked = {"inner_scores"} if self.inner_scores == "all" else set()
        return self.model_dump(include={"choose", "select_by", "decision", "one_standard_error", "inner_folds", *asked})

    @property
    def image_settings(self) -> tuple[ImageSettings, ...]:
        """The image settings that are compared; usually one."""
        return tuple(self.images) or (self.image,)

    def with_runtime(self, runtime: str) -> "Study":
        """The study with features of all backbones computed by `runtime`. Raises UsageError for an unknown one."""
        if runtime not in (*RUNTIMES, AUTO):
            raise UsageError(f"Unknown runtime {runtime!r}. {suggest(runtime, (*RUNTIMES, AUTO))}")
        entries = [entry.model_copy(update={"runtime": runtime}) for entry in self.backbones]
        return self.model_copy(update={"backbones": entries})

    def resolved(self) -> str:
        """The study as YAML with every default filled in; reading it back gives the same study."""
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        del plain["image" if self.images else "images"]
        plain["protocols"] = [_as_written(entry) for entry in self.protocols]
        if not isinstance(self.controls, str):
            plain["controls"] = [_as_written(entry) for entry in self.controls]
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def read_study(path: Path) -> Study:
    """Read a study file. Its cohort and weight paths are relative to the file; the result holds absolute paths.

    A folder among the backbones becomes the weights of a backbone of the folder's name. Raises UsageError for unknown
    keys, naming the line and the nearest known key, and for missing files.
    """
    study = read_yaml(path, Study, "study file")
    base = path.resolve().parent
    cohorts = [str(_existing(base / name, f"cohort {name!r}", path)) for name in study.cohorts]
    backbones = [_located(entry, base, path) for entry in study.backbones]
    try:
        _unique_folders(backbones)
    except ValueError as error:
        raise UsageError(
            f"Two backbones of {path} have the same name: {error}, as in {{name: …, weights: FOLDER}}."
        ) from None
    track = [str(Where.of(text, base)) for text in study.track]
    return study.model_copy(update={"cohorts": cohorts, "backbones": backbones, "track": track})


def _located(entry: BackboneEntry, base: Path, path: Path) -> BackboneEntry:
    if entry.weights is None:
        return _named_folder(entry, base)
    if entry.weights.split(":")[0] in ("random", "hub", "package"):
        return entry
    what, weights = f"weights {entry.weights!r} of backbone {entry.name!r}", base / expanded(entry.weights)
    return entry.model_copy(update={"weights": str(weights if is_folder(weights) else _existing(weights, what, path))})


def _named_folder(entry: BackboneEntry, base: Path) -> BackboneEntry:
    """The entry with its folder as weights if `name` is the folder of an adapted backbone, else the entry unchanged.

    Raises UsageError for a folder that holds no backbone.
    """
    from radapt.backbones import CATALOG
    from radapt.backbones.adapted import adapted_folder

    if entry.name in CATALOG:
        return entry
    folder = adapted_folder(str(base / expanded(entry.name)), None, (), entry.as_)
    if folder is None:
        return entry
    return entry.model_copy(update={"name": folder.resolve().name, "weights": str(folder)})


def _existing(file: Path, what: str, study: Path) -> Path:
    if not is_file(file):
        raise UsageError(f"The study file {study} names the {what}, but there is no file {file}.")
    return file
