"""All modalities of a case seen together: one row per slice, by a backbone that was adapted to several modalities."""

from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

from radapt.backbones.multimodal_vit.vit import Crops
from radapt.cases.channels import most_channels, stacked
from radapt.cases.plane_files import PlaneFiles
from radapt.cohorts.cohort import Case
from radapt.digests import digest
from radapt.features.batches import Batch, ModalityPart, SliceSource, pack
from radapt.images.aligned import VERSION as ALIGNED_VERSION
from radapt.images.cropping import cropped
from radapt.images.foreground import Extents, foreground, shown
from radapt.images.recipe import Recipe
from radapt.images.slice_cache import SliceCache
from radapt.locations import Location

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

JOINT = "joint"
"""The name of the one modality that features of several seen together have."""


def together(case: Case, known: tuple[str, ...], slices: SliceCache, recipe: Recipe) -> SliceSource | None:
    """The images of a case that go into the encoder together, in its order `known`; None if the case has none.

    Raises DataError if one of them is not there.
    """
    named = [(column, name, case.images[name]) for column, name in enumerate(known) if name in case.images]
    if not named:
        return None
    parts = tuple(ModalityPart(column, location) for column, _, location in named)
    return SliceSource(joint_key(parts, known, slices, recipe), case.case, JOINT, parts[0].location, parts)


def joint_key(parts: Iterable[ModalityPart], known: tuple[str, ...], slices: SliceCache, recipe: Recipe) -> str:
    """The key of the features of several images together."""
    keys = [[known[part.column], slices.key(part.location, recipe)] for part in parts]
    return digest([JOINT, ALIGNED_VERSION, keys])


def joint_planes(image: SliceSource, files: PlaneFiles, columns: int) -> np.ndarray:
    """uint8 (n, M, C, H, W) planes of a case, black where it lacks a modality; M is `columns`.

    All lie in the grid of the first part, to which others are resampled. Grey beside colour is repeated over the
    channels. A recipe that looks at the foreground crops every plane to that of all modalities together, so that they
    stay aligned. Raises DataError if an image cannot be read, or does not lie where the first one does.
    """
    reference = image.parts[0].location
    planes = {part.column: files.planes(part.location, reference) for part in image.parts}
    if files.recipe.look != "whole":
        planes = _foreground_of_all(planes, files, reference)
    return stacked(planes, columns, most_channels(planes.values()))


def _foreground_of_all(
    planes: Mapping[int, np.ndarray], files: PlaneFiles, reference: Location
) -> dict[int, np.ndarray]:
    recipe = files.recipe
    seen = reduce(Extents.__or__, (foreground(own, recipe.dark_levels(own.shape[1])) for own in planes.values()))
    boxes, kept = shown(seen, recipe.whole.place(files.grid(reference)).axes, recipe.size)
    return {column: cropped(own, boxes, which=np.concatenate(kept)) for column, own in planes.items()}


def pack_alike(read: Iterable[tuple[SliceSource, np.ndarray]], size: int) -> Iterator[Batch]:
    """Batches of slices that have equally many modalities, about as much work each as `size` slices of one.

    Slices of one batch then make equally many tokens, those that fill up the last one too. So every batch of a kind
    has one shape, and a slice's numbers are the same whatever else is in its batch. Images should come in order of how
    many modalities they have.
    """
    for (count, _), alike in groupby(read, key=lambda pair: (len(pair[0].parts), pair[1].shape[2])):
        for batch in pack(alike, max(1, size // count)):
            yield batch._replace(present=_present(batch))


def _present(batch: Batch) -> np.ndarray:
    """(B, M) bool; rows that fill up have what the first one has."""
    present = np.zeros(batch.pixels.shape[:2], dtype=bool)
    present[:, [part.column for part in batch.spans[0].image.parts]] = True
    for span in batch.spans:
        present[span.start : span.stop] = False
        present[span.start : span.stop, [part.column for part in span.image.parts]] = True
    return present


def joint_rows(
    backbone: "Backbone", pixels: torch.Tensor, present: torch.Tensor, layers: tuple[int, ...]
) -> torch.Tensor:
    """float32 (B, D) of pixels uint8 (B, M, C, H, W) and present (B, M): CLS of every layer, then patch means."""
    found = backbone.joint(Crops(pixels, present), layers).layers
    return torch.cat([*(layer.cls for layer in found), *(layer.mean for layer in found)], dim=1)
