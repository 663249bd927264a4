"""Answering for patients: bags of slices, subsets of sequences, two looks, and the folder that keeps it all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from radapt.backbones import load_backbone
from radapt.backbones.backbone import Backbone
from radapt.cohorts import load_cohort
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, SliceCache
from radapt.mmdino.adapt import Adapted, adapt
from radapt.mmdino.folder import load_adaptation, save_adaptation
from radapt.mmdino.inference import CaseQuery, checked_rows, subsets_of
from radapt.mmdino.options import Options, options_of
from toy_adaptation import QUICK
from toy_study import write_cohort

SMALL = QUICK | {"slices": 3, "zoom_slices": 2}


def with_masks(folder: Path) -> Path:
    """A mask for every case: label 1 a square in the middle, label 2 a corner of it."""
    path = write_cohort(folder, patients=24)
    table = pd.read_csv(folder / "cases.csv", dtype=str, keep_default_na=False)
    mask = np.zeros((5, 16, 16), np.uint8)
    mask[1:4, 5:11, 5:11] = 1
    mask[1:4, 5:8, 5:8] = 2
    np.save(folder / "images" / "mask.npy", mask)
    table["mask"] = "images/mask.npy"
    table.to_csv(folder / "cases.csv", index=False)
    with path.open("a") as file:
        file.write("mask_labels: {1: core, 2: rim}\n")
    return path


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load_cohort(with_masks(tmp_path_factory.mktemp("answers") / "discs"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> SliceCache:
    return SliceCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return load_backbone("timm:test_vit", "random")


def adapted_to(cohort: Cohort, vit: Backbone, cache: SliceCache, options: Options | None = None) -> Adapted:
    recipe = Recipe.for_kind(cohort.kind, size=32)
    return adapt(cohort, vit, options or options_of(**SMALL), recipe=recipe, cache=cache.folder)


@pytest.fixture(scope="module")
def adapted(cohort: Cohort, vit: Backbone, cache: SliceCache) -> Adapted:
    return adapted_to(cohort, vit, cache)


def everyone(cohort: Cohort) -> np.ndarray:
    return np.arange(len(cohort))


def test_answers_are_probabilities_that_do_not_depend_on_the_other_cases(
    adapted: Adapted, cohort: Cohort, cache: SliceCache
) -> None:
    found = adapted.predict(cohort, cache, everyone(cohort))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    alone = np.concatenate([adapted.predict(cohort, cache, [row]) for row in everyone(cohort)])
    np.testing.assert_allclose(found, alone, atol=1e-4)
    order = np.random.default_rng(0).permutation(len(cohort))
    np.testing.assert_allclose(adapted.predict(cohort, cache, order), found[order], atol=1e-4)


def test_a_subset_is_as_if_the_other_sequences_had_never_been_made(
    adapted: Adapted, cohort: Cohort, cache: SliceCache
) -> None:
    cases = tuple(replace(case, images={"a": case.images["a"]}) for case in cohort)
    without = replace(cohort, cases=cases)
    found = adapted.predict(cohort, cache, everyone(cohort), ["a"])
    np.testing.assert_allclose(found, adapted.predict(without, cache, everyone(cohort)), atol=1e-5)


def test_who_has_none_of_them_is_answered_with_the_prior(adapted: Adapted, cohort: Cohort, cache: SliceCache) -> None:
    found = adapted.predict(cohort, cache, everyone(cohort), ["b"])
    lacking = np.asarray(["b" not in case.images for case in cohort])
    assert lacking.any()
    assert adapted.answer is not None
    np.testing.assert_array_equal(found[lacking], np.tile(adapted.answer.prior, (lacking.sum(), 1)))
    assert not np.allclose(found[~lacking], adapted.answer.prior)


def test_answers_never_look_at_masks(adapted: Adapted, cohort: Cohort, cache: SliceCache) -> None:
    bare = replace(cohort, cases=tuple(replace(case, mask=None) for case in cohort))
    rows = everyone(cohort)[:6]
    np.testing.assert_array_equal(adapted.predict(cohort, cache, rows), adapted.predict(bare, cache, rows))


def test_a_second_look_is_closer(adapted: Adapted, cohort: Cohort, cache: SliceCache) -> None:
    """Where a reader finds marks in one corner only, another corner does not change the answer of the second look."""
    assert adapted.reader.weight is not None
    once = replace(adapted, options=replace(adapted.options, zoom_slices=0))
    wishes = [CaseQuery(0), CaseQuery(1)]
    twice = adapted.looking.vectors(adapted.feed(cohort, cache), wishes)
    assert not np.allclose(twice, once.looking.vectors(adapted.feed(cohort, cache), wishes))


def test_amounts_are_shares_of_whole_planes(adapted: Adapted, cohort: Cohort, cache: SliceCache) -> None:
    """Whatever part of a plane is looked at, here the square around the patient."""
    looking, feed = replace(adapted.looking, zoom_slices=0), adapted.feed(cohort, cache)
    bag = feed.bag(0, looking.slices)
    lesions = looking._encode(bag.planes, bag.present, bag.boxes).lesions
    assert lesions is not None
    area = (bag.boxes[:, 2:] - bag.boxes[:, :2]).amax(1).square() / (bag.planes.shape[-2] * bag.planes.shape[-1])
    expected = (lesions.shares * area[:, None]).mean(0).log().numpy()
    found = looking.vectors(feed, [CaseQuery(0)])[0, -len(expected) :]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_sequence_is_named_with_those_that_are_known(
    adapted: Adapted, cohort: Cohort, cache: SliceCache
) -> None:
    with pytest.raises(UsageError, match=r"'c'.*(a, b|b, a)"):
        adapted.predict(cohort, cache, [0], ["c"])
    renamed = replace(
        cohort,
        modalities=("a", "flair"),
        cases=tuple(replace(c, images={"a": c.images["a"], "flair": c.images["a"]}) for c in cohort),
    )
    with pytest.raises(UsageError, match=r"'flair'.*a, b"):
        adapted.predict(renamed, cache, [0])


def test_a_sequence_that_was_left_out_is_known_and_not_looked_at(
    adapted: Adapted, cohort: Cohort, vit: Backbone, cache: SliceCache, tmp_path: Path
) -> None:
    """Training cases have a alone: b is not looked at, be it there or not, and another name is an error as ever."""
    lacking = tuple(replace(c, images={"a": c.images["a"]}) if c.split == "train" else c for c in cohort)
    one = replace(cohort, cases=lacking)
    made = adapted_to(one, vit, cache)
    assert (made.modalities, made.left_out) == (("a",), ("b",))
    save_adaptation(tmp_path, made)
    again = load_adaptation(tmp_path)
    rows = np.flatnonzero(cohort.presence.all(axis=1) & (cohort.splits != "train"))
    alone = replace(cohort, cases=tuple(replace(c, images={"a": c.images["a"]}) for c in cohort))
    np.testing.assert_array_equal(again.predict(one, cache, rows), made.predict(alone, cache, rows))
    only_b = tuple(replace(c, images={"b": c.images["b"]}) if "b" in c.images else c for c in cohort)
    prior = made.answer.prior if made.answer else None
    np.testing.assert_array_equal(again.predict(replace(cohort, cases=only_b), cache, rows), [prior] * len(rows))
    with pytest.raises(UsageError, match="does not know the modality 'b'"):
        again.predict(one, cache, rows, ["b"])
    with pytest.raises(UsageError, match=r"'flair'.*Known: a\."):
        again.predict(replace(one, modalities=("a", "flair")), cache, rows)


def test_a_case_without_any_known_sequence_is_named(adapted: Adapted, cohort: Cohort, cache: SliceCache) -> None:
    empty = replace(cohort, cases=(replace(cohort.cases[0], images={}), *cohort.cases[1:]))
    with pytest.raises(DataError, match=cohort.cases[0].case):
        adapted.predict(empty, cache, [0])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([0, -1], "no case -1 among"), ([24, 99, 24], "no case 24, 99, 24 among .* 24 cases.* 0 to 23"),
        ([0.0, 1.0], r"float64 of shape \(2,\); expected a list of row numbers"),
        (np.ones(24, bool), "numpy.flatnonzero gives those of a mask"), ([[0, 1]], r"shape \(1, 2\)"),
        (3, r"shape \(\)"), (["c0"], "row numbers"), ([None], "row numbers"),
    ],
)  # fmt: skip
def test_rows_that_are_none_are_refused(rows: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        checked_rows(rows, 24)  # type: ignore[arg-type]


def test_rows_may_be_any_whole_numbers_or_none_at_all(adapted: Adapted, cohort: Cohort, cache: SliceCache) -> None:
    assert checked_rows(np.asarray([2, 2, 0], np.uint8), 3).tolist() == [2, 2, 0]
    assert adapted.predict(cohort, cache, []).shape == (0, 2)
    with pytest.raises(UsageError, match="no case -1"):
        adapted.predict(cohort, cache, [-1])


def test_a_folder_answers_as_what_was_saved(
    adapted: Adapted, cohort: Cohort, cache: SliceCache, tmp_path: Path
) -> None:
    save_adaptation(tmp_path / "model", adapted)
    again = load_adaptation(tmp_path / "model")
    rows = everyone(cohort)[:8]
    np.testing.assert_array_equal(again.predict(cohort, cache, rows), adapted.predict(cohort, cache, rows))
    assert (again.options, again.outputs, again.modalities) == (adapted.options, adapted.outputs, adapted.modalities)
    assert load_backbone(str(tmp_path / "model")).modalities == ("a", "b")


@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_classifier_is_refused(adapted: Adapted, tmp_path: Path, damage: str) -> None:
    save_adaptation(tmp_path, adapted)
    path = tmp_path / "model.safetensors"
    if damage == "gone":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-9] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UsageError, match=r"model.safetensors (is missing|does not match)"):
        load_adaptation(tmp_path)


def test_a_folder_of_a_version_that_looked_otherwise_is_refused(adapted: Adapted, tmp_path: Path) -> None:
    save_adaptation(tmp_path, adapted)
    stored = json.loads((tmp_path / "model.json").read_text())
    stored["facts"]["vectors"] -= 1
    (tmp_path / "model.json").write_text(json.dumps(stored))
    with pytest.raises(UsageError, match=r"computed other vectors.*adapt again"):
        load_adaptation(tmp_path)


def test_lora_answers_alike_once_it_is_merged(cohort: Cohort, vit: Backbone, cache: SliceCache, tmp_path: Path) -> None:
    made = adapted_to(cohort, vit, cache, options_of(**SMALL | {"trained": "lora", "rank": 2}))
    assert made.trained.trained_parameters < 0.5 * made.trained.parameters
    save_adaptation(tmp_path, made)
    rows = everyone(cohort)[:4]
    found = load_adaptation(tmp_path).predict(cohort, cache, rows)
    np.testing.assert_allclose(found, made.predict(cohort, cache, rows), atol=1e-5)


def test_an_adapted_backbone_goes_on_by_the_names_of_sequences(
    adapted: Adapted, cohort: Cohort, cache: SliceCache, tmp_path: Path
) -> None:
    """Adapted to a and b, then next to nothing to b and c: b is as it was, c is new."""
    save_adaptation(tmp_path / "first", adapted)
    first = load_backbone(str(tmp_path / "first"))
    names = {"a": "c", "b": "b"}
    cases = tuple(replace(c, images={names[name]: place for name, place in c.images.items()}) for c in cohort)
    other = replace(cohort, modalities=("b", "c"), cases=cases)
    still = options_of(**SMALL | {"lr": 1e-12, "weight_decay": 0.0, "weight_decay_end": 0.0})
    made = adapted_to(other, first, cache, still)
    before, after = adapted.network.state_dict(), made.network.state_dict()
    assert made.modalities == ("b", "c")
    assert before["mask_token"].any()
    for name in before:
        if name != "modality_embedding":
            torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-5)
    embedding = after["modality_embedding"]
    torch.testing.assert_close(embedding[0], before["modality_embedding"][1], rtol=0, atol=1e-5)
    assert (embedding[1] - before["modality_embedding"][0]).abs().max() > 1e-2
    said = "first was adapted to a, b before, and training continues from there; new: c"
    assert f"{said}; dropped, as no training case has it: a." in made.notes
    assert torch.equal(first.network.state_dict()["mask_token"], before["mask_token"])  # type: ignore[union-attr]


def test_the_same_seed_gives_the_same_bits(adapted: Adapted, cohort: Cohort, vit: Backbone, cache: SliceCache) -> None:
    again = adapted_to(cohort, vit, cache)
    for name, tensor in adapted.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def test_the_backbone_given_is_not_changed(cohort: Cohort, vit: Backbone, cache: SliceCache) -> None:
    before = {name: tensor.clone() for name, tensor in vit.module.state_dict().items()}
    adapted_to(cohort, vit, cache)
    assert all(torch.equal(tensor, vit.module.state_dict()[name]) for name, tensor in before.items())


def test_a_cohort_without_labels_is_adapted_to_without_a_classifier(
    cohort: Cohort, vit: Backbone, cache: SliceCache, tmp_path: Path
) -> None:
    bare = replace(cohort, cases=tuple(replace(case, label=None) for case in cohort))
    made = adapted_to(bare, vit, cache)
    assert made.answer is None
    assert any("no classifier" in note for note in made.notes)
    with pytest.raises(UsageError, match="without labels"):
        made.predict(bare, cache, [0])
    save_adaptation(tmp_path, made)
    assert load_adaptation(tmp_path).answer is None


def test_labels_alone_need_a_label(cohort: Cohort, vit: Backbone, cache: SliceCache) -> None:
    bare = replace(cohort, cases=tuple(replace(case, label=None) for case in cohort))
    with pytest.raises(DataError, match="no labelled training case"):
        adapted_to(bare, vit, cache, options_of("supervised", steps=1, batch=4, global_size=32))


def test_one_labelled_class_and_more_prototypes_than_cases_run(
    cohort: Cohort, vit: Backbone, cache: SliceCache
) -> None:
    one = replace(cohort, cases=tuple(replace(case, label=None if case.label else case.label) for case in cohort))
    made = adapted_to(one, vit, cache, options_of(**SMALL | {"prototypes": 500}))
    assert np.isfinite(made.predict(one, cache, everyone(one))).all()


@pytest.mark.parametrize("preset", ["mm-dinov2", "concatenation", "supervised"])
def test_other_presets_run(cohort: Cohort, vit: Backbone, cache: SliceCache, preset: str) -> None:
    quick = {name: value for name, value in SMALL.items() if preset == "concatenation" or name != "prototypes"}
    made = adapted_to(cohort, vit, cache, options_of(preset, **quick))
    assert np.isfinite(made.predict(cohort, cache, everyone(cohort))).all()
    assert all(np.isfinite(entry["loss"]) for entry in made.trained.history)


def test_what_is_saved_is_plain_json(adapted: Adapted, tmp_path: Path) -> None:
    save_adaptation(tmp_path, adapted)

    def refuse(value: str) -> None:
        raise AssertionError(value)

    for name in ("backbone.json", "model.json"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)


def test_subsets_are_all_of_them_or_so_many() -> None:
    rng = np.random.default_rng(0)
    assert len(subsets_of("abcd", 31, rng)) == len(set(subsets_of("abcd", 31, rng))) == 15
    many = subsets_of("abcdefgh", 31, rng)
    assert len(many) == len(set(many)) == 31
    assert tuple("abcdefgh") in many
    assert all(list(one) == sorted(one) for one in many)
