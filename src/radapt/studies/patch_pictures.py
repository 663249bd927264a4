"""Draws example slices and the principal components of their patch tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radapt.cohorts import Case, Cohort
from radapt.digests import digest
from radapt.durable import atomic_path, write_json, write_text

if TYPE_CHECKING:
    from radapt.backbones import LazyBackbone
    from radapt.images import Recipe, SliceCache

EXAMPLES = 4
LEAST_PATCHES = 16
"""The smallest number of patches along a side; smaller images are enlarged for the picture."""

_MADE_FROM = "made_from.txt"


def write_pictures(
    target: Path, backbone: "LazyBackbone", cohort: Cohort, slices: "SliceCache", recipe: "Recipe"
) -> None:
    """Write PNG pairs and `pictures.json` into the folder `target`, unless it holds those of the same inputs.

    The examples are the middle slices of the first case of each class, then of further cases, from val, else train,
    else any split; the selection is deterministic.
    """
    from PIL import Image

    from radapt.features import patch_pca

    made_from = digest([backbone.identity, backbone.dtype, recipe.digest])
    if (target / _MADE_FROM).is_file() and (target / _MADE_FROM).read_text() == made_from:
        return
    examples = list(_examples(cohort))
    planes = [_middle(slices.planes(case.images[modality], recipe, modality)) for case, modality in examples]
    loaded = backbone.load()
    stacked = np.stack([plane for plane, _ in planes])
    pictures = patch_pca(loaded, _enlarged(stacked, loaded.grid(*stacked.shape[2:])), np.random.default_rng(0))
    with atomic_path(target, folder=True) as folder:
        entries = []
        for index, ((case, modality), (plane, number)) in enumerate(zip(examples, planes, strict=True)):
            Image.fromarray(np.moveaxis(plane, 0, -1)).save(folder / f"{index}.png")
            Image.fromarray(pictures[index]).save(folder / f"{index}-pca.png")
            entry = {"case": case.case, "modality": modality, "slice": number}
            entries.append({**entry, "image": f"{index}.png", "pca": f"{index}-pca.png"})
        write_json(folder / "pictures.json", entries)
        write_text(folder / _MADE_FROM, made_from)


def _examples(cohort: Cohort) -> Iterator[tuple[Case, str]]:
    """The first case of every class or set of findings, then further cases; each with its first modality."""
    cases = [case for case in cohort if case.split == "val"] or [case for case in cohort if case.split == "train"]
    cases = cases or list(cohort)
    first = {(case.label, case.findings): case for case in reversed(cases)}
    chosen = [case for case in cases if first[case.label, case.findings] is case]
    chosen += [case for case in cases if first[case.label, case.findings] is not case]
    for case in chosen[:EXAMPLES]:
        yield case, next(iter(case.images))


def _enlarged(planes: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(n, 3, H, W) uint8 planes, enlarged by an integer factor to at least `LEAST_PATCHES` patches along each side."""
    import torch

    factor = -(-LEAST_PATCHES // min(grid))
    if factor == 1:
        return planes
    larger = torch.nn.functional.interpolate(torch.from_numpy(planes).float(), scale_factor=factor, mode="bilinear")
    return np.asarray(larger.round().byte().numpy())


def _middle(planes: np.ndarray) -> tuple[np.ndarray, int]:
    """(n, C, H, W) → the middle plane (3, H, W) and its index."""
    number = len(planes) // 2
    plane = np.asarray(planes[number])
    return (np.repeat(plane, 3, axis=0) if len(plane) == 1 else plane), number
