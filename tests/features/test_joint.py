"""All modalities of a slice seen together by a backbone that knows several: one row per slice of a case."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from radapt.backbones import find_backbone, load_backbone
from radapt.backbones.adapted import save_adapted
from radapt.backbones.backbone import Backbone
from radapt.backbones.multimodal_vit.vit import Crops, MultiModalViT
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.features import Features, extract, write_embedding
from radapt.features.batches import ModalityPart, SliceSource
from radapt.features.feature_config import FeatureConfig
from radapt.features.joint import pack_alike
from radapt.images import Recipe, SliceCache
from radapt.images.aligned import AlignedSliceCache
from radapt.locations import Location

NAMES = ("t1", "t2", "flair")  # the encoder's order
RECIPE = Recipe.for_kind("mri", size=32)
HAVE = (("t1", "t2", "flair"), ("t2",), ("flair", "t1"), ("t1", "t2"), ("flair",), ("t2", "flair"))
"""The modalities of each case, the first on finer voxels than the others if it has several."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("adapted") / "ours"
    base = load_backbone("timm:test_vit", "random")
    save_adapted(made, MultiModalViT.of(base, NAMES), base.card)
    return made


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(str(folder))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    cases = []
    for number, names in enumerate(HAVE):
        images, depth = {}, 2 + number % 3
        for place, name in enumerate(sorted(names, key=("flair", "t1", "t2").index)):
            fine = 2 if place == 0 and len(names) > 1 else 1
            path = folder / f"{number}-{name}.nii.gz"
            array = rng.integers(0, 1000, (12 * fine, 12 * fine, depth)).astype(np.float32)
            affine = np.diag([2 / fine, 2 / fine, 3.0, 1])
            affine[:2, 3] = (1 / fine - 1) * (fine - 1)  # the same field of view
            nibabel.save(nibabel.Nifti1Image(array, affine), path)
            images[name] = Location(path)
        cases.append(Case(f"c{number}", f"p{number}", "train", images, label=number % 2))
    return Cohort("toy", "mri", tuple(cases), ("flair", "t1", "t2"), classes=("no", "yes"))


def run(cohort: Cohort, backbone: Any, cache: Path, **options: Any) -> Features:
    return extract(cohort, backbone, cache=cache, **{"recipe": RECIPE, "layers": (-2, -1), "batch": 6, **options})


def everything(features: Features) -> list[np.ndarray]:
    return [np.array(features.slices(case, "joint")) for case in range(len(features.cohort))]


def expected_rows(case: Case, backbone: Backbone, cache: Path) -> np.ndarray:
    """The case alone, in one batch of all its slices."""
    matched = AlignedSliceCache(SliceCache(cache), RECIPE)
    first = next(name for name in NAMES if name in case.images)
    like = matched.grid(case.images[first])
    planes = {name: matched.planes(place, like) for name, place in case.images.items()}
    images = np.zeros((len(planes[first]), 3, 1, 32, 32), np.uint8)
    for name, each in planes.items():
        images[:, NAMES.index(name)] = each
    present = torch.tensor([[name in planes for name in NAMES]]).expand(len(images), -1)
    with torch.inference_mode():
        seen = backbone.joint(Crops(torch.from_numpy(images), present), (-2, -1)).layers
    return torch.cat([seen[0].cls, seen[1].cls, seen[0].mean, seen[1].mean], dim=1).numpy()


def test_a_row_per_slice_is_what_the_network_says_of_its_modalities(
    cohort: Cohort, backbone: Backbone, tmp_path: Path
) -> None:
    features = run(cohort, backbone, tmp_path)
    assert features.modalities == ("joint",)
    assert features.joint == cohort.modalities
    assert features.presence.tolist() == [[True]] * len(cohort)
    assert features.counts[:, 0].tolist() == [2, 3, 4, 2, 3, 4]
    assert features.pooled().shape == (6, 1, 4 * backbone.width)
    assert [tuple(each)[:2] for each in features.segments] == [
        (-2, "cls"), (-1, "cls"), (-2, "patch_mean"), (-1, "patch_mean"),
    ]  # fmt: skip
    for case, rows in zip(cohort, everything(features), strict=True):
        assert_allclose(rows, expected_rows(case, backbone, tmp_path), rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="joint"):
        features.slices(0, "t1")


def test_other_grids_are_resampled_to_the_first_of_the_models_modalities(
    cohort: Cohort, backbone: Backbone, tmp_path: Path
) -> None:
    """In another order of the model's modalities another image is the reference."""
    matched = AlignedSliceCache(SliceCache(tmp_path), RECIPE)
    case = cohort.cases[0]
    coarse, fine = matched.grid(case.images["t1"]), matched.grid(case.images["flair"])
    assert coarse.array.shape != fine.array.shape
    own = matched.planes(case.images["flair"], fine)
    assert not np.array_equal(own, matched.planes(case.images["flair"], coarse))


def test_neither_order_nor_what_was_stored_changes_a_bit(cohort: Cohort, backbone: Backbone, tmp_path: Path) -> None:
    whole = everything(run(cohort, backbone, tmp_path / "whole"))
    order = [4, 2, 0, 5, 1, 3]
    run(cohort.select(np.array([2, 3])), backbone, tmp_path / "parts")
    turned = dataclasses.replace(cohort.select(np.array(order)), modalities=NAMES[::-1])
    for case, rows in zip(order, everything(run(turned, backbone, tmp_path / "parts")), strict=True):
        assert_array_equal(rows, whole[case])


def test_a_modality_that_is_taken_away_is_as_if_it_had_never_been(
    cohort: Cohort, backbone: Backbone, tmp_path: Path
) -> None:
    whole, first = run(cohort, backbone, tmp_path), cohort.cases[0]
    fewer = dataclasses.replace(first, images={name: first.images[name] for name in ("t1", "t2")})
    alone = dataclasses.replace(cohort, cases=(fewer,), modalities=("t1", "t2"))
    rows = everything(run(alone, backbone, tmp_path))[0]
    assert_allclose(rows, expected_rows(fewer, backbone, tmp_path), rtol=1e-4, atol=1e-5)
    assert np.abs(rows - everything(whole)[0]).max() > 1e-3


def test_what_is_stored_is_neither_computed_nor_loaded(cohort: Cohort, folder: Path, tmp_path: Path) -> None:
    lazy = find_backbone(str(folder), dtype="float32").lazy
    first = run(cohort, lazy, tmp_path)
    again = run(cohort, dataclasses.replace(lazy, load=lambda: pytest.fail("loaded")), tmp_path)
    assert first.digest == again.digest
    for one, other in zip(everything(first), everything(again), strict=True):
        assert_array_equal(one, other)


def test_names_of_modalities_decide_a_row(cohort: Cohort, backbone: Backbone, tmp_path: Path) -> None:
    """The same file is another case under another modality's name."""
    first = cohort.cases[1]
    renamed = dataclasses.replace(first, images={"t1": first.images["t2"]})
    features = run(dataclasses.replace(cohort, cases=(first, renamed)), backbone, tmp_path)
    assert features.keys[0] != features.keys[1]
    assert np.abs(features.slices(0, "joint") - features.slices(1, "joint")).max() > 1e-3


def test_stores_of_single_images_keep_their_names() -> None:
    """What was stored before there were joint features is found again: the digest is that of version 0.2.0."""
    plain = FeatureConfig("name", "identity", "float32", (-2, -1), "recipe")
    assert plain.folder(Path()).name == "680aa0719fa94deaed5f81e95331d4c6"
    assert dataclasses.replace(plain, joint=True).folder(Path()).name != plain.folder(Path()).name


def test_batches_of_a_kind_have_one_shape(cohort: Cohort) -> None:
    def image(case: str, columns: tuple[int, ...]) -> SliceSource:
        here = Location(Path(case))
        return SliceSource(case, case, "joint", here, tuple(ModalityPart(column, here) for column in columns))

    planes = np.ones((3, 3, 1, 4, 4), np.uint8)
    read = [(image("a", (0,)), planes), (image("b", (2,)), planes), (image("c", (0, 2)), planes)]
    batches = list(pack_alike(read, 4))
    assert [each.pixels.shape for each in batches] == [(4, 3, 1, 4, 4)] * 2 + [(2, 3, 1, 4, 4)] * 2
    shown = [each.present.astype(int).tolist() for each in batches if each.present is not None]
    assert shown == [
        [[1, 0, 0]] * 3 + [[0, 0, 1]],
        [[0, 0, 1]] * 4,
        [[1, 0, 1]] * 2,
        [[1, 0, 1]] * 2,
    ]


def test_grey_beside_colour_is_repeated(backbone: Backbone, tmp_path: Path) -> None:
    rng, images = np.random.default_rng(0), {}
    for name, shape in (("t1", (3, 32, 32, 3)), ("t2", (3, 32, 32))):
        np.savez(tmp_path / f"{name}.npz", planes=rng.integers(0, 256, shape, dtype=np.uint8))
        images[name] = Location(tmp_path / f"{name}.npz", "planes", 1)
    cohort = Cohort("toy", "other", (Case("c", "p", "train", images),), ("t1", "t2"))
    recipe = Recipe.for_kind("other", size=32)
    rows = run(cohort, backbone, tmp_path, recipe=recipe).slices(0, "joint")
    cache, pixels = SliceCache(tmp_path), np.zeros((1, 3, 3, 32, 32), np.uint8)
    for column, place in enumerate(images.values()):
        pixels[:, column] = cache.planes(place, recipe)
    with torch.inference_mode():
        seen = backbone.joint(Crops(torch.from_numpy(pixels), torch.tensor([[True, True, False]])), (-2, -1))
    assert_allclose(rows[:, : backbone.width], seen.layers[0].cls, rtol=1e-4, atol=1e-5)


def test_unknown_modalities_are_refused_before_anything_is_read(cohort: Cohort, folder: Path, tmp_path: Path) -> None:
    first = dataclasses.replace(cohort.cases[0], images={"t2w": cohort.cases[0].images["t2"]})
    other = dataclasses.replace(cohort, cases=(first, *cohort.cases), modalities=(*cohort.modalities, "t2w"))
    with pytest.raises(UsageError, match=r"ours was not adapted to 't2w'\. Did you mean 't2'"):
        run(other, find_backbone(str(folder)).lazy, tmp_path / "none")
    assert not (tmp_path / "none" / "features").exists()


def test_a_column_without_images_needs_not_be_known(cohort: Cohort, folder: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(cohort, modalities=(*cohort.modalities, "t2w"))
    features = run(other, find_backbone(str(folder), dtype="float32").lazy, tmp_path)
    assert features.joint == cohort.modalities


def test_cases_that_cannot_be_seen_are_named_and_the_others_stored(
    cohort: Cohort, folder: Path, tmp_path: Path
) -> None:
    empty = dataclasses.replace(cohort.cases[1], case="bare", images={})
    gone = dataclasses.replace(
        cohort.cases[3], case="gone", images={**cohort.cases[3].images, "flair": Location(tmp_path / "none.nii")}
    )
    torn = tmp_path / "torn.nii.gz"
    torn.write_bytes(b"torn")
    broken = dataclasses.replace(cohort.cases[4], case="torn", images={"t1": Location(torn)})
    lazy = find_backbone(str(folder), dtype="float32").lazy
    with pytest.raises(DataError) as caught:
        run(dataclasses.replace(cohort, cases=(*cohort.cases, empty, gone, broken)), lazy, tmp_path)
    said = str(caught.value)
    assert said.startswith("3 of 9 cases of toy gave no features; the others are stored.")
    for line in ("case bare, joint: it has no image; expected at least one of t1, t2, flair",
                 "case gone, joint: ", "case torn, joint: "):  # fmt: skip
        assert line in said
    run(cohort, dataclasses.replace(lazy, load=lambda: pytest.fail("loaded")), tmp_path)


def test_pictures_that_do_not_fit_each_other_are_named(
    toy_cohort: Callable[..., Cohort], tmp_path: Path, backbone: Backbone
) -> None:
    """Without geometry nobody knows how images of different sizes lie."""
    with pytest.raises(DataError, match=r"case c1, joint: .*without geometry differ"):
        run(toy_cohort(cases=3), backbone, tmp_path, recipe=Recipe.for_kind("other", size=32))


def test_the_files_of_an_embedding_say_what_was_seen_together(
    cohort: Cohort, backbone: Backbone, tmp_path: Path
) -> None:
    import json

    import pandas as pd

    features = run(cohort, backbone, tmp_path / "cache")
    write_embedding(features, tmp_path / "out", {})
    facts = json.loads((tmp_path / "out" / "embed.json").read_text())
    assert (facts["modalities"], facts["seen_together"]) == (["joint"], ["flair", "t1", "t2"])
    assert pd.read_parquet(tmp_path / "out" / "cases.parquet")["slices:joint"].tolist() == [2, 3, 4, 2, 3, 4]
    assert np.load(tmp_path / "out" / "features.npy").shape == (6, 1, features.width)
