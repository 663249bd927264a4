"""Feature extraction: a frozen backbone runs once over every slice of a cohort; results are stored."""

import contextlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from radapt.backbones.adapted import check_modalities
from radapt.backbones.lazy import LazyBackbone
from radapt.backbones.reference import BackboneReference
from radapt.cachedir import cache_folder
from radapt.cases.plane_files import PlaneFiles
from radapt.cases.prefetch import prefetch, read_ahead
from radapt.cohorts.cohort import Case, Cohort
from radapt.cohorts.loading import as_cohort
from radapt.cohorts.remote_images import locations_of
from radapt.errors import DataError, UsageError
from radapt.features.batches import SliceSource, pack
from radapt.features.encode import default_batch, encode
from radapt.features.extraction_error import ExtractionFailure, extraction_error
from radapt.features.feature_config import FeatureConfig, read_segments, write_config
from radapt.features.features import Features, lay_out
from radapt.features.joint import JOINT, joint_key, joint_planes, pack_alike, together
from radapt.features.on_devices import helped
from radapt.features.sharing import Part, in_turn, parts_of
from radapt.features.store import FeatureStore, Place, ShardWriter
from radapt.features.token_pass import MakeStore, TokenPass
from radapt.images import Recipe, SliceCache
from radapt.images.slice_cache import changed_while_reading
from radapt.progress import Advance, ProgressMaker, silent
from radapt.remote.images import ask

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
LAYERS = (-4, -3, -2, -1)
"""The last four blocks, from which the radiology study's linear probe chooses (arXiv 2312.02366)."""

Grid = list[list[SliceSource | None]]


def extract(
    cohort: Cohort | Path | str,
    backbone: "Backbone | LazyBackbone",
    *,
    recipe: Recipe | None = None,
    size: int | tuple[int, int] = 224,
    axis: str = "axial",
    every: int = 1,
    count: int | None = None,
    neighbours: int = 0,
    look: str | None = None,
    layers: Sequence[int] | None = None,
    batch: int | None = None,
    cache: Path | str | None = None,
    progress: ProgressMaker | None = None,
    tokens: MakeStore | None = None,
    devices: int = 1,
) -> Features:
    """The CLS and the mean patch token of `layers` for every slice of every image.

    Layers are counted from the end, -1 is the last block; None takes the last four, or all of an encoder with fewer.

    `cohort` is what `load_cohort` gives, or the path of its cohort.yaml.

    An adapted backbone encodes all modalities of a slice together, and gives one row for them: the planes of a case are
    in the grid of the first of its modalities in the model's order (the reference grid), and others are resampled to
    it. Missing modalities have no tokens.

    Cached rows are not computed again, across cohorts and studies: they are stored under the digest of the image's
    bytes, the recipe, the weights, the layers and the dtype. After a kill, the next call resumes at the image and ends
    with the same bits; results do not depend on the order of the cases or the state of the cache. `recipe` overrides
    `size`, `axis`, `every`, `count`, `neighbours` and `look`, which otherwise modify the default recipe of the cohort's
    kind; the default `look` is the foreground for CT and MRI and the whole plane for others (see `Recipe`). Modalities
    that are encoded together are cropped to the foreground of all of them.
    `batch` is the batch size in slices, 16 on a CPU by default, proportionally fewer if modalities are encoded
    together. Memory does not grow with the number of cases. Of slices that are encoded, the rows of the store that
    `tokens` makes are stored in the same pass, if they are of the same layers and dtype, and one device is at work.

    Images that cannot be read, or whose features are not finite, do not stop the others: a DataError lists them after
    everything else is stored, and also cases without any modality of an adapted backbone. Raises UsageError for
    invalid layers, recipes and batch sizes, for a backbone given by name instead of loaded, and for
    modalities that an adapted backbone does not know.

    Processes that extract the images of one cohort at the same time share the work; each returns when all are stored.
    `devices` starts one for each GPU, or as many on a CPU (see `helped`).
    """
    cohort = as_cohort(cohort)
    if not hasattr(backbone, "identity"):
        raise UsageError(f"The backbone is {_described(backbone)}; expected the result of radapt.load_backbone(NAME).")
    if "lesion" in (look, recipe and recipe.look):
        raise UsageError(
            "look: lesion finds its place inside every fold; give LesionFeatures(cohort, backbone, recipe, cache) to "
            "evaluate, or use look: foreground."
        )
    if batch is not None and batch < 1:
        raise UsageError(f"The batch size is {batch}; expected at least 1.")
    recipe = recipe or Recipe.for_kind(
        cohort.kind, size=size, axis=axis, every=every, count=count, neighbours=neighbours, look=look
    )
    if isinstance(backbone, LazyBackbone) and not backbone.settled:
        backbone = backbone.load()
    root, show = cache_folder(cache), progress or silent
    slices = SliceCache(root)
    dtype = str(backbone.dtype).removeprefix("torch.")
    known = tuple(getattr(backbone, "modalities", ()))
    if known:
        check_modalities(_available_modalities(cohort), known, backbone.name)
    config = FeatureConfig(
        backbone.name, backbone.identity, dtype, _checked(_last(backbone) if layers is None else layers), recipe.digest,
        joint=bool(known), runtime=getattr(backbone, "runtime", "pytorch"),
    )  # fmt: skip
    work = Extraction(
        config, config.folder(root), backbone, recipe, slices, batch, show, known, tokens=tokens, devices=devices
    )
    grid, failures = work.find(cohort)
    failures += work.compute(_unique(grid), cohort.name)
    if failures:
        raise extraction_error(failures, cohort, "cases" if known else "images")
    return work.features(cohort, grid)


@dataclass(frozen=True)
class Extraction:
    """One extraction: configuration, source and store."""

    config: FeatureConfig
    folder: Path
    backbone: "Backbone | LazyBackbone"
    recipe: Recipe
    slices: SliceCache
    batch: int | None
    show: ProgressMaker
    known: tuple[str, ...] = ()
    """The modalities of an adapted backbone, which are encoded together."""
    read: Callable[[SliceSource], np.ndarray] | None = None
    """Gives the planes of an image, uint8 (n, C, H, W); by default those of the recipe."""
    tokens: MakeStore | None = None
    """Where tokens are stored in the same pass."""
    devices: int = 1

    def find(self, cohort: Cohort) -> tuple[Grid, list[ExtractionFailure]]:
        """The key of every image (N × M); reads the bytes of images without a cached digest."""
        grid: Grid = []
        failures: list[ExtractionFailure] = []
        ask(locations_of(cohort, masks=False))
        with self.show(len(cohort), f"Reading {cohort.name}", "cases") as advance:
            for case in cohort:
                grid.append([self._joint(case, failures)] if self.known else self._single(case, cohort, failures))
                advance(1)
        return grid, failures

    def _single(self, case: Case, cohort: Cohort, failures: list[ExtractionFailure]) -> list[SliceSource | None]:
        """Each modality of the cohort separately."""
        row: list[SliceSource | None] = [None] * len(cohort.modalities)
        for column, name in enumerate(cohort.modalities):
            if (location := case.images.get(name)) is None:
                continue
            try:
                key = self.slices.key(location, self.recipe, name)
                row[column] = SliceSource(key, case.case, name, location)
            except DataError as error:
                failures.append(ExtractionFailure(case.case, name, str(error)))
        return row

    def _joint(self, case: Case, failures: list[ExtractionFailure]) -> SliceSource | None:
        """All modalities of a case together; a case without any is a failure."""
        try:
            if (image := together(case, self.known, self.slices, self.recipe)) is not None:
                return image
            reason = f"it has no image; expected at least one of {', '.join(self.known)}"
        except DataError as error:
            reason = str(error)
        failures.append(ExtractionFailure(case.case, JOINT, reason))
        return None

    def compute(self, images: list[SliceSource], name: str, *, alone: bool = False) -> list[ExtractionFailure]:
        """Compute and store the missing rows, with other processes at them; returns the images that failed. `alone`
        starts no process for the other devices."""
        segments = read_segments(self.folder)
        if segments is None:
            segments = lay_out(self.config.layers, tuple(self._loaded.widths(self.config.layers)))
            write_config(self.folder, self.config, segments, self.recipe.describe())
        store = FeatureStore(self.folder, segments[-1].stop, verified=self._verified)
        parts = parts_of(sorted(images, key=lambda image: len(image.parts)), self.devices)
        missing = {at: count for at, part in enumerate(parts) if (count := len(_missing(part, store)))}
        if not missing:
            return []
        failures: list[ExtractionFailure] = []
        label = f"{self.config.backbone} on {name}"
        turns = in_turn(self.folder, {at: parts[at] for at in missing})
        with (
            nullcontext() if self.devices == 1 or alone else self._helped(images, name),
            store.writer() as writer,
            self.show(sum(missing.values()), label, "images") as advance,
            contextlib.closing(turns),
        ):
            for at in turns:
                store = store.with_new_rows(writer)
                images = _missing(parts[at], store)
                advance(missing[at] - len(images))
                failures += self._encode(self._loaded, images, writer, advance) if images else []
                writer.flush()
        return failures

    def _helped(self, images: list[SliceSource], name: str) -> AbstractContextManager[None]:
        make = partial(
            Extraction, self.config, self.folder, recipe=self.recipe, slices=self.slices, batch=self.batch, show=silent,
            known=self.known, devices=self.devices,
        )  # fmt: skip
        return helped(partial(_help, make, images, name), self._loaded, self.devices, self.slices.folder)

    @cached_property
    def _loaded(self) -> "Backbone":
        return self.backbone.load() if isinstance(self.backbone, LazyBackbone) else self.backbone

    @cached_property
    def _verified(self) -> set[Place]:
        """Rows that were read, so that the store opened after the extraction need not read them again."""
        return set()

    @cached_property
    def _files(self) -> PlaneFiles:
        return PlaneFiles(self.slices, self.recipe)

    def _encode(
        self, backbone: "Backbone", images: list[SliceSource], writer: ShardWriter, advance: Advance
    ) -> list[ExtractionFailure]:
        failures: list[ExtractionFailure] = []

        def failed(image: SliceSource, error: DataError) -> None:
            failures.append(ExtractionFailure(image.case, image.modality, str(error)))

        device = torch.device(backbone.device)
        read = read_ahead(images, self._planes, failed, _readers(device))
        chunks: list[np.ndarray] = []
        packed = (pack_alike if self.known else pack)(read, self.batch or default_batch(device))
        beside = None if self.known else TokenPass.of(self.tokens, backbone, self.config.layers)
        with contextlib.ExitStack() as stack:
            batches = stack.enter_context(contextlib.closing(prefetch(packed)))
            if beside:
                stack.enter_context(contextlib.closing(beside))
            for batch, rows in encode(backbone, batches, self.config.layers, beside.read if beside else None):
                if beside:
                    rows = beside.keep(batch, rows)
                for span in batch.spans:
                    chunks.append(rows[span.start : span.stop])
                    if sum(map(len, chunks)) == span.total:
                        _store(span.image, np.concatenate(chunks), writer, failed)
                        chunks = []
                        advance(1)
        return failures

    def _planes(self, image: SliceSource) -> np.ndarray:
        """The planes of an image; DataError if it is another one than when its key was computed."""
        if self.read is not None:
            return self.read(image)
        if self.known:
            planes = joint_planes(image, self._files, len(self.known))
            key = joint_key(image.parts, self.known, self.slices, self.recipe)
        else:
            planes = self._files.planes(image.location)
            key = self.slices.key(image.location, self.recipe)
        if key != image.key:
            raise changed_while_reading(image.location)
        return planes

    def features(self, cohort: Cohort, grid: Grid) -> Features:
        segments = read_segments(self.folder)
        if segments is None:
            raise DataError(f"The feature store {self.folder} was removed or changed while it was in use.")
        keys = tuple(tuple(image.key if image else None for image in row) for row in grid)
        return Features(
            cohort, self.config.backbone, self.config.identity, self.config.dtype, self.config.layers, segments,
            self.config.facts, keys, FeatureStore(self.folder, segments[-1].stop, verified=self._verified),
            _available_modalities(cohort) if self.known else (), self.recipe, BackboneReference.of(self.backbone),
        )  # fmt: skip


def _help(make: Callable[..., Extraction], images: list[SliceSource], name: str, backbone: LazyBackbone) -> None:
    make(backbone=backbone).compute(images, name, alone=True)


def _missing(images: Part, store: FeatureStore) -> list[SliceSource]:
    return [image for image in images if not store.is_intact(image.key)]


def _store(
    image: SliceSource, rows: np.ndarray, writer: ShardWriter, failed: Callable[[SliceSource, DataError], None]
) -> None:
    if np.isfinite(rows).all():
        writer.add(image.key, rows)
    else:
        failed(image, DataError(f"{image.location}: the features are not finite; try --dtype float32."))


def _available_modalities(cohort: Cohort) -> tuple[str, ...]:
    """The modalities that at least one case has."""
    return tuple(name for column, name in enumerate(cohort.modalities) if cohort.presence[:, column].any())


def _unique(grid: Grid) -> list[SliceSource]:
    """Each key once, in the order of the cases."""
    first: dict[str, SliceSource] = {}
    for image in (image for row in grid for image in row if image):
        first.setdefault(image.key, image)
    return list(first.values())


def _described(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"a {type(value).__name__}"


def _last(backbone: "Backbone | LazyBackbone") -> tuple[int, ...]:
    card = getattr(backbone, "card", None)
    return LAYERS if card is None else LAYERS[-card.depth :]


def _checked(layers: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(sorted({int(layer) for layer in layers}))
    if not chosen or chosen[-1] >= 0:
        raise UsageError(f"Layers are {list(layers)}; expected -1 for the last block, -2, and so on.")
    return chosen


def _readers(device: torch.device) -> int:
    """The number of decoding threads: more for a GPU, fewer for a CPU, which needs its cores to encode."""
    cores = os.cpu_count() or 1
    return max(1, min(4, cores // 8)) if device.type == "cpu" else max(1, min(8, cores // 2))
