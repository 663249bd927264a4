"""`load_model`: a trained model from its folder, ready for the cases of any cohort."""

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.cachedir import cache_folder
from radapt.cohorts.cohort import Cohort
from radapt.cohorts.loading import as_cohort
from radapt.devices import pick_device
from radapt.errors import UsageError, suggest
from radapt.features import Features, LesionFeatures, extract
from radapt.features.lesions.places import LesionPlaces
from radapt.images import SliceCache, Volume
from radapt.models.encoder import encoder_of, fresh_copy
from radapt.models.folder import SavedModel, load, save
from radapt.notebook import Described
from radapt.progress import ProgressMaker, silent
from radapt.protocols.decisions import decide, decision_columns
from radapt.protocols.fitted import (
    DrawnMask,
    Model,
    Segmenter,
    SliceWeights,
    SubsetModel,
    SubsetSegmenter,
    TrainedModel,
)
from radapt.protocols.image_problem import CohortImages
from radapt.protocols.registry import PROTOCOLS, make
from radapt.protocols.stored_locator import read_locator, with_locator
from radapt.runtimes.runner import Runner, hand_over
from radapt.training.fit_record import Decision


class LoadedModel(Described):
    """A trained model, apart from any cohort; made by `load_model`.

    `card` says what it is and how it came about; `model` is what its protocol restored.
    """

    def __init__(
        self,
        saved: SavedModel,
        model: TrainedModel,
        encoder: Backbone | LazyBackbone | None,
        cache: Path,
        progress: ProgressMaker,
    ) -> None:
        self.card, self.model, self.folder = saved.card, model, saved.folder
        self._encoder, self._cache, self._progress = encoder, cache, progress
        self._locator = read_locator(saved.folder) if saved.card.recipe.look == "lesion" else None
        self._last: tuple[Cohort, Model | Segmenter] | None = None

    def __repr__(self) -> str:
        reads = ", ".join(self.modalities)
        return f"LoadedModel({self.card.protocol!r}, {', '.join(self.card.outputs) or 'masks'} from {reads})"

    def to(self, device: str) -> "LoadedModel":
        """The same model, read from its folder again, on `auto`, `cpu`, `cuda` or `cuda:N`.

        Raises UsageError for a device that this machine does not have, and where the encoder was given as a loaded
        backbone, which stays where it is.
        """
        if isinstance(self._encoder, Backbone):
            raise UsageError(
                "The encoder was given as a loaded backbone: radapt.load_model(folder, backbone.to(DEVICE)) instead."
            )
        return load_model(self.folder, cache=self._cache, device=device, progress=self._progress)

    def predict(
        self,
        cohort: Cohort | Path | str,
        *,
        rows: Sequence[int] | np.ndarray | None = None,
        modalities: Collection[str] | None = None,
    ) -> pd.DataFrame:
        """Predictions for the cases at `rows` (default: all) of any cohort, or of the path of its cohort.yaml.

        A row per case: case, patient, site, split, `p_<class>` and `decision`, or `p_<finding>` and
        `decision_<finding>`, as in `predictions.parquet`. The decision is the one that was fixed in training.

        With `modalities` a model that was adapted to several sequences (`mmdino`) answers as if a case had no others.
        Modalities that the model does not know are left out. Cases of one split are computed together, as a study does,
        so that the same cohort gives the same bits.

        Raises UsageError for a segmentation model, a cohort without any modality the model reads, and `modalities` for
        another model; DataError if an image cannot be read or a case has none.
        """
        cohort = as_cohort(cohort)
        model = self._on(cohort)
        if not isinstance(model, Model):
            raise UsageError(f"A model of protocol {self.card.protocol!r} draws label maps; use segment(cohort, row).")
        chosen = _checked(rows, len(cohort))
        found = np.empty((len(chosen), len(self.card.outputs)))
        for split in dict.fromkeys(cohort.splits[chosen]):
            place = np.flatnonzero(cohort.splits[chosen] == split)
            found[place] = self._answers(model, chosen[place], modalities)
        cases = [cohort.cases[row] for row in chosen]
        table: dict[str, Any] = {name: [getattr(case, name) for case in cases] for name in ("case", "patient")}
        table["site"] = pd.Series([case.site for case in cases], dtype=object)
        table["split"] = [case.split for case in cases]
        table |= {f"p_{output}": found[:, number] for number, output in enumerate(self.card.outputs)}
        decisions = decide(self.decision, found)
        return pd.DataFrame(table | decision_columns(decisions, self.card.classes, self.card.findings))

    def slice_weights(self, cohort: Cohort, row: int) -> tuple[SliceWeights, ...]:
        """The attention to the slices of the case at `row`; empty for a model that does not weigh slices."""
        model = self._on(cohort)
        return model.slice_weights(int(_checked([row], len(cohort))[0])) if isinstance(model, Model) else ()

    def remark(self, cohort: Cohort, row: int) -> str:
        """What is to be said beside the answer for the case at `row` (see `Model.remark`)."""
        model = self._on(cohort)
        return model.remark(int(_checked([row], len(cohort))[0])) if isinstance(model, Model) else ""

    @property
    def encoder(self) -> Backbone | LazyBackbone | None:
        """The encoder it stands on; None for a network without one, or if the folder holds it."""
        return self._encoder

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that it reads; those of an adapted encoder, which sees them together."""
        joint = tuple(getattr(self._encoder, "modalities", ())) if self.card.reads == "features" else ()
        return joint or self.card.modalities

    @property
    def decision(self) -> Decision:
        """How it decides: as fixed in training, else the most probable class, a finding above 0.5."""
        if self.card.fit.decision is not None:
            return self.card.fit.decision
        findings, classes = len(self.card.findings), len(self.card.classes)
        return Decision("argmax", "", weights=(1.0,) * classes * (not findings), thresholds=(0.5,) * findings)

    def segment(self, cohort: Cohort, row: int, modalities: Collection[str] | None = None) -> Volume:
        """The label map of the case at `row` of any cohort, values of `card.mask_labels` and 0, in the grid of the
        case's reference image.

        With `modalities` a model of several sequences (`segment`) predicts as if the case had no others.

        Raises UsageError for a model that draws none, and for `modalities` that it does not read or of another model;
        DataError if an image cannot be read or none is known to it.
        """
        model, place = self._segmenter(cohort), int(_checked([row], len(cohort))[0])
        if modalities is None:
            return model.segment(place)
        if not isinstance(model, SubsetSegmenter):
            raise self._reads_all
        return model.segment_from(place, _named(modalities, model.modalities))

    def draw(self, cohort: Cohort, row: int) -> DrawnMask:
        """As `segment`, with how sure the model is of the label map."""
        return self._segmenter(cohort).draw(int(_checked([row], len(cohort))[0]))

    def _segmenter(self, cohort: Cohort) -> Segmenter:
        model = self._on(cohort)
        if not isinstance(model, Segmenter):
            raise UsageError(f"A model of protocol {self.card.protocol!r} draws no label maps; use predict(cohort).")
        return model

    def save(self, folder: Path | str, *, portable: bool = False) -> None:
        """Write the model into `folder`, self-contained: nothing outside is needed but the encoder, if it has one.

        A `portable` model does not say where on this machine the weights of its encoder are; they have to be given.
        """
        state, card = self.model.state(self_contained=True), self.card
        if portable and card.backbone is not None:
            card = replace(card, backbone=card.backbone.without_path())
        save(Path(folder), card, state if self._locator is None else with_locator(state, self._locator))

    def with_cache(self, cache: Path) -> "LoadedModel":
        """The same model with another cache of slices and features."""
        other = copy(self)
        other._cache, other._last = cache, None
        return other

    def features(self, cohort: Cohort) -> Features:
        """The features of the cases of a cohort that a model of a protocol on features reads."""
        if self._encoder is None:
            raise UsageError(f"A model of protocol {self.card.protocol!r} needs the encoder it was trained with.")
        return self._features(cohort, self._encoder)

    def _on(self, cohort: Cohort) -> Model | Segmenter:
        """The model for the cases of a cohort, kept for the next call."""
        if self._last is not None and self._last[0] is cohort:
            return self._last[1]
        if self.modalities and not set(cohort.modalities) & set(self.modalities):
            raise UsageError(
                f"Cohort {cohort.name!r} has {', '.join(cohort.modalities)}; the model reads "
                f"{', '.join(self.modalities)}. Name the image columns image:<modality> as these."
            )
        if self.card.reads == "features":
            cases: Any = self.features(cohort)
        else:
            cases = CohortImages(cohort, SliceCache(self._cache), self._places(cohort))
        self._last = cohort, self.model.on(cases)
        return self._last[1]

    def _features(self, cohort: Cohort, encoder: Backbone | LazyBackbone) -> Features:
        recipe, layers = self.card.recipe, self.card.layers
        if self._locator is None:
            return extract(cohort, encoder, recipe=recipe, layers=layers, cache=self._cache, progress=self._progress)
        lesions = LesionFeatures(cohort, encoder, recipe, self._cache, layers=layers, progress=self._progress)
        return lesions.by(self._locator)

    def _places(self, cohort: Cohort) -> LesionPlaces | None:
        """Where a model that was trained on images of lesions looks for them."""
        if self._locator is None or self._encoder is None:
            return None
        lesions = LesionFeatures(cohort, self._encoder, self.card.recipe, self._cache, progress=self._progress)
        return lesions.places_by(self._locator)

    def _answers(self, model: Model, rows: np.ndarray, modalities: Collection[str] | None) -> np.ndarray:
        if modalities is None:
            return model.predict(rows)
        if not isinstance(model, SubsetModel):
            raise self._reads_all
        return model.predict_from(rows, _named(modalities, model.modalities))

    @property
    def _reads_all(self) -> UsageError:
        return UsageError(
            f"A model of protocol {self.card.protocol!r} answers from all a case has; leave out modalities."
        )


def load_model(
    folder: Path | str,
    backbone: Backbone | LazyBackbone | None = None,
    *,
    cache: Path | str | None = None,
    device: str = "cpu",
    offline: bool = False,
    progress: ProgressMaker = silent,
    runner: Runner | None = None,
) -> LoadedModel:
    """The trained model in `folder`, such as `cells/<id>/model` of a run or what `radapt adapt` wrote.

    The encoder it stands on is found by its card, on the hub, in its file or by its seed, unless `backbone` is given,
    which is not changed. `cache` takes decoded slices and features, as everywhere.

    Raises UsageError, with what is wrong, for a folder that holds no model, one of another version, a file that is
    missing or was changed, a device that this machine does not have, images that this version makes otherwise, a
    protocol that is not there, another backbone than the model was trained with, and stored features it refers to that
    are gone.

    With a `runner` it computes in float32, and the runner computes its networks; the given `backbone` is expected to be
    computed by it already. Raises UsageError for a model that only PyTorch computes.
    """
    saved = load(folder)
    if runner is not None:
        saved = replace(saved, card=replace(saved.card, precision="float32"))
    card = saved.card
    if card.protocol not in PROTOCOLS:
        raise UsageError(
            f"The model in {saved.folder} is of protocol {card.protocol!r}, which is not here. "
            f"{suggest(card.protocol, PROTOCOLS)} Install the package it comes from."
        )
    protocol = make(card.protocol, **card.options)
    encoder = encoder_of(saved, backbone, device=pick_device(device), offline=offline, cache=cache_folder(cache))
    own = fresh_copy(encoder) if encoder is not None and card.reads == "images" else None
    model = protocol.restore(saved, own)
    if runner is not None:
        _let_compute(runner, card.protocol, model, own)
    return LoadedModel(saved, model, encoder, cache_folder(cache), progress)


def _let_compute(runner: Runner, protocol: str, model: TrainedModel, own: Backbone | None) -> None:
    if model.pytorch_only:
        raise UsageError(f"A model of protocol {protocol!r} {model.pytorch_only}")
    if own is not None:
        own.computed_by(runner)
    for name, network in model.networks.items():
        hand_over(network, name, runner)


def _named(modalities: Collection[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The `modalities` in the order of the model's `known`. Raises UsageError for others."""
    if isinstance(modalities, str):
        raise UsageError(f"modalities = {modalities!r} is one name; expected a list, such as [{modalities!r}].")
    if unknown := [name for name in modalities if name not in known]:
        raise UsageError(f"The model does not know {unknown[0]!r}. {suggest(unknown[0], known)}")
    return tuple(name for name in known if name in modalities)


def _checked(rows: Sequence[int] | np.ndarray | None, cases: int) -> np.ndarray:
    """int64 (n,)"""
    if rows is None:
        return np.arange(cases)
    given = np.asarray(rows)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise UsageError("rows should be a list of whole numbers of cases, such as [0, 3].")
    if given.size and not (given.min() >= 0 and given.max() < cases):
        raise UsageError(f"rows should be from 0 to {cases - 1}, not {given.min()} to {given.max()}.")
    return given.astype(np.int64)
