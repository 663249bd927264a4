"""Features of the lesion: crops of the planes that show it, in places that are found anew for every fold."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radapt.backbones.lazy import LazyBackbone
from radapt.cohorts.case_table import cohort_digest
from radapt.cohorts.cohort import Cohort
from radapt.digests import ByteDigests, digest
from radapt.errors import DataError, UsageError
from radapt.features.batches import SliceSource
from radapt.features.extract import LAYERS, Extraction, Grid
from radapt.features.feature_config import FeatureConfig
from radapt.features.features import Features
from radapt.features.lesions.fit_locator import locate, located
from radapt.features.lesions.locator import LesionLocator
from radapt.features.lesions.places import LesionPlaces
from radapt.features.lesions.reader import LesionReader
from radapt.features.lesions.tokens import LesionTokens
from radapt.features.token_store import slice_keys
from radapt.images import Recipe, SliceCache
from radapt.images.slice_cache import changed_while_reading
from radapt.progress import ProgressMaker, silent

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

VERSION = 1
"""Raise it when the same images and masks give other places or crops."""


@dataclass(frozen=True, eq=False)
class LesionFeatures:
    """A cohort and an encoder, of which `on` gives the features of lesions.

    The place of a lesion is the answer of a small segmenter (`LesionLocator`) on the encoder's patch tokens, fitted on
    the masks of training cases; with `own_masks` a case's own mask, where it has one. Masks of other splits are not
    read without that. A case in which nothing is found is seen as its foreground.

    Raises UsageError for an encoder of several modalities at once.
    """

    cohort: Cohort
    backbone: "Backbone | LazyBackbone"
    recipe: Recipe
    cache: Path
    own_masks: bool = False
    layers: tuple[int, ...] = LAYERS
    progress: ProgressMaker = silent

    def __post_init__(self) -> None:
        if getattr(self.backbone, "modalities", ()):
            raise UsageError(
                f"{self.backbone.name} encodes several sequences together, and look: lesion crops each by itself; use "
                "look: foreground."
            )

    def on(self, cohort: Cohort) -> Features:
        """The features of `cohort`, a variant of this one with other splits, labels or fewer masks.

        Raises UsageError if no case of the whole cohort has a mask; DataError for images that cannot be read.
        """
        return self._features(cohort, self.places_on(cohort))

    def by(self, locator: LesionLocator) -> Features:
        """The features of the cohort in places by a locator that was fitted before."""
        return self._features(self.cohort, self.places_by(locator))

    def places_on(self, cohort: Cohort) -> LesionPlaces:
        """Where the lesions of `cohort` are looked for, a variant of this one as in `on`, which raises the same."""
        check_lesion_masks(self.cohort)
        return locate(self._tokens, cohort, own_masks=self.own_masks)

    def places_by(self, locator: LesionLocator) -> LesionPlaces:
        """Where the lesions of the cohort are looked for by a locator that was fitted before."""
        return located(self._tokens, self.cohort, locator)

    @property
    def digest(self) -> str:
        """32 hex digits of everything that decides the features of a fold."""
        masks = cohort_digest(self.cohort, ByteDigests(self.cache), masks=True)
        return digest([VERSION, self._config.facts, masks, self.own_masks, list(self.cohort.modalities)])

    @cached_property
    def _loaded(self) -> "Backbone":
        return self.backbone.load() if isinstance(self.backbone, LazyBackbone) else self.backbone

    @cached_property
    def _tokens(self) -> LesionTokens:
        tokens = LesionTokens(self.cohort, self._loaded, self.recipe, SliceCache(self.cache))
        tokens.prepare(self.progress)
        return tokens

    @property
    def _config(self) -> FeatureConfig:
        dtype = str(self.backbone.dtype).removeprefix("torch.")
        return FeatureConfig(
            self.backbone.name, self.backbone.identity, dtype, self.layers, self.recipe.digest,
            runtime=self.backbone.runtime,
        )  # fmt: skip

    def _features(self, cohort: Cohort, places: LesionPlaces) -> Features:
        reader = LesionReader(self.cohort, self._tokens.reader.cache, self.recipe, cohort.modalities, places)
        where: dict[str, tuple[int, int]] = {}

        def key_of(pixels: np.ndarray) -> str:
            return digest([VERSION, *slice_keys(pixels)])

        def read(image: SliceSource) -> np.ndarray:
            pixels = reader.image(*where[image.key])
            if key_of(pixels) != image.key:
                raise changed_while_reading(image.location)
            return pixels

        grid: Grid = []
        for row, case in enumerate(cohort):
            found: list[SliceSource | None] = [None] * len(cohort.modalities)
            for column in reader.columns(row):
                key = key_of(reader.image(row, column))
                where[key] = row, column
                name = cohort.modalities[column]
                found[column] = SliceSource(key, case.case, name, reader.location(row, column))
            grid.append(found)
        config = self._config
        work = Extraction(
            config, config.folder(self.cache), self._loaded, self.recipe, reader.cache, None, self.progress,
            read=read,
        )  # fmt: skip
        images = {image.key: image for row in grid for image in row if image}
        failures = work.compute(list(images.values()), cohort.name)
        if failures:
            named = "; ".join(f"{fail.case}, {fail.modality}: {fail.reason}" for fail in failures[:5])
            raise DataError(f"{len(failures)} images of {cohort.name} gave no features: {named}")
        return replace(work.features(cohort, grid), places=places)


def check_lesion_masks(cohort: Cohort) -> None:
    """Raises UsageError for a cohort without any mask."""
    if all(case.mask is None for case in cohort):
        raise UsageError(
            f"look: lesion finds its place by masks, and no case of cohort {cohort.name!r} has one. Give training "
            "cases one in the column 'mask', or use look: foreground."
        )
