"""`trained: fusion` on small cohorts: what it may see, what it leaves, and what is asked of it without its parts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.backbones import find_backbone, load_backbone
from radapt.backbones.backbone import Backbone
from radapt.backbones.weights import WeightSource
from radapt.cases.reader import CaseReader
from radapt.cohorts import load_cohort
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.features import extract
from radapt.features.token_store import Precision
from radapt.images import Recipe, SliceCache
from radapt.locations import Location
from radapt.mmdino.fusion.fit_fusion import Fusion, fit_fusion
from radapt.mmdino.fusion.token_kind import PooledTokenStore
from radapt.mmdino.options import options_of
from radapt.mmdino.protocol import MmDino
from radapt.protocols import Machine, train
from radapt.protocols.load_model import load_model
from radapt.training import training_run
from toy_study import write_cohort

QUICK: dict[str, Any] = {"epochs": 2, "members": 2, "width": 32, "depth": 1, "grid": 2, "slices": 2}


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return load_backbone("timm:test_vit", "random")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load_cohort(write_cohort(tmp_path_factory.mktemp("fusion") / "discs", patients=24))


def fitted(
    cohort: Cohort, vit: Backbone, checkpoint: Path | None = None, look: str = "foreground", **fusion: Any
) -> Fusion:
    assert cohort.path is not None
    return fit_fusion(
        cohort, vit, options_of(trained="fusion", fusion=QUICK | fusion),
        recipe=Recipe.for_kind("other", size=32, look=look), cache=SliceCache(cohort.path.parent / "cache"),
        checkpoint=checkpoint,
    )  # fmt: skip


def answers(fusion: Fusion, cohort: Cohort, *names: str) -> np.ndarray:
    assert cohort.path is not None
    rows = np.flatnonzero(cohort.presence[:, [cohort.modalities.index(name) for name in names]].any(axis=1))
    model = fusion.model.of(cohort, SliceCache(cohort.path.parent / "cache"))
    return model.predict_from(rows, names) if names != cohort.modalities else model.predict(rows)


def changed(cohort: Cohort, how: Callable[[Case], Case]) -> Cohort:
    return replace(cohort, cases=tuple(map(how, cohort)))


def only(name: str) -> Callable[[Case], Case]:
    return lambda case: replace(case, images={key: each for key, each in case.images.items() if key == name})


@pytest.fixture(scope="module")
def fusion(cohort: Cohort, vit: Backbone) -> Fusion:
    return fitted(cohort, vit)


def test_it_is_scored_on_every_subset_and_its_folder_is_a_model(cohort: Cohort, vit: Backbone, tmp_path: Path) -> None:
    assert cohort.path is not None
    cache = cohort.path.parent / "cache"
    found = train(
        cohort, "mmdino", vit, size=32, cache=cache, machine=Machine(folder=tmp_path), resamples=100, trained="fusion",
        fusion=QUICK,
    )  # fmt: skip
    assert found.subsets is not None
    assert set(found.subsets.scores["subset"]) == {"", "a", "b", "a + b"}
    assert set(found.subsets.shapley["modality"].dropna()) == {"a", "b"}
    model = load_model(tmp_path / "model", vit, cache=cache)
    test = np.flatnonzero(cohort.splits == "test")
    saved = found.predictions.set_index("case")["p_ill"]
    again = model.predict(cohort, rows=test).set_index("case")["p_ill"]
    np.testing.assert_array_equal(again, saved.loc[again.index])


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_subset_is_answered_as_if_nothing_else_were_there(fusion: Fusion, cohort: Cohort, name: str) -> None:
    stripped = changed(cohort, only(name))
    stripped = replace(stripped, cases=tuple(case for case in stripped if case.images))
    rows = np.flatnonzero([name in case.images for case in cohort])
    assert cohort.path is not None
    cache = SliceCache(cohort.path.parent / "cache")
    alone = fusion.model.of(stripped, cache).predict(np.arange(len(stripped)))
    np.testing.assert_array_equal(fusion.model.of(cohort, cache).predict_from(rows, (name,)), alone)


def test_a_prediction_does_not_depend_on_other_cases(fusion: Fusion, cohort: Cohort) -> None:
    assert cohort.path is not None
    model = fusion.model.of(cohort, SliceCache(cohort.path.parent / "cache"))
    together = model.predict(np.asarray([3, 8, 5]))
    np.testing.assert_array_equal(together[1:2], model.predict(np.asarray([8])))


def test_the_slices_of_a_case_have_weights_that_sum_to_one(fusion: Fusion, cohort: Cohort) -> None:
    assert cohort.path is not None
    model = fusion.model.of(cohort, SliceCache(cohort.path.parent / "cache"))
    (found,) = model.slice_weights(3)
    assert found.modality == ""
    assert len(found.planes) == len(found.weights)
    assert list(found.planes) == sorted(set(found.planes))
    assert sum(found.weights) == pytest.approx(1)


def test_a_subset_costs_no_pass_of_the_encoder(fusion: Fusion, cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cohort.path is not None
    model = fusion.model.of(cohort, SliceCache(cohort.path.parent / "cache"))

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the encoder was called")

    monkeypatch.setattr(Backbone, "tokens", refuse)
    rows = np.flatnonzero(cohort.presence.all(axis=1))
    assert model.predict_from(rows, ("b",)).shape == (len(rows), 2)


def test_the_same_cases_are_cropped_once(fusion: Fusion, cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored of a case is found again without its pixels, by another process too."""
    before = answers(fusion, cohort, *cohort.modalities)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("A case was read whose tokens are stored.")

    monkeypatch.setattr(CaseReader, "image", refuse)
    np.testing.assert_array_equal(answers(fusion, cohort, *cohort.modalities), before)


def test_it_looks_at_what_the_recipe_says(fusion: Fusion, cohort: Cohort, vit: Backbone) -> None:
    def framed(case: Case) -> Case:
        """The same images with black around them."""
        images = {}
        for name, place in case.images.items():
            array = np.load(place.path)
            path = place.path.with_name(f"framed-{place.path.name}")
            np.save(path, np.pad(array, ((0, 0), (8, 8), (8, 8)), constant_values=array.min()))
            images[name] = Location(path)
        return replace(case, images=images)

    whole, smaller = fitted(cohort, vit, look="whole"), changed(cohort, framed)
    assert (whole.record.details["look"], fusion.record.details["look"]) == ("whole", "foreground")
    moved = [np.abs(answers(each, smaller, "a") - answers(each, cohort, "a")).max() for each in (whole, fusion)]
    assert moved[0] > 3 * moved[1]


def test_labels_outside_train_are_not_looked_at(fusion: Fusion, cohort: Cohort, vit: Backbone) -> None:
    def turned(case: Case) -> Case:
        return case if case.split == "train" or case.label is None else replace(case, label=1 - case.label)

    other = fitted(changed(cohort, turned), vit)
    np.testing.assert_array_equal(answers(other, cohort, "a", "b"), answers(fusion, cohort, "a", "b"))


def test_a_killed_training_ends_with_the_same_bits(
    fusion: Fusion, cohort: Cohort, vit: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from radapt.training import loop

    write, whole = loop.Checkpoint.write, training_run.TrainingRun._close_epoch
    monkeypatch.setattr(loop.Checkpoint, "due", property(lambda self: True))

    def killed(self: Any) -> None:
        whole(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run.TrainingRun, "_close_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(cohort, vit, tmp_path / "at.pt")
    assert (tmp_path / "at.pt").is_file()
    monkeypatch.setattr(training_run.TrainingRun, "_close_epoch", whole)
    monkeypatch.setattr(loop.Checkpoint, "write", write)
    resumed = fitted(cohort, vit, tmp_path / "at.pt")
    np.testing.assert_array_equal(answers(resumed, cohort, "a", "b"), answers(fusion, cohort, "a", "b"))


def with_masks(cohort: Cohort, folder: Path, *splits: str) -> Cohort:
    """A mask of the disc for the cases of some splits; one that cannot be read for all others."""
    disc = np.broadcast_to(np.hypot(*np.mgrid[-8:8, -8:8]) < 4, (5, 16, 16)).astype(np.uint8)
    np.save(folder / "disc.npy", disc)
    (folder / "broken.npy").write_bytes(b"nothing")

    def masked(case: Case) -> Case:
        name = "disc.npy" if case.split in splits else "broken.npy"
        return replace(case, mask=Location(folder / name))

    return replace(changed(cohort, masked), mask_labels={1: "disc"})


def test_masks_teach_where_the_lesion_is_and_those_of_other_splits_are_not_read(
    cohort: Cohort, vit: Backbone, tmp_path: Path
) -> None:
    found = fitted(with_masks(cohort, tmp_path, "train"), vit, hidden=1.0, consistency=1.0)
    assert found.model.facts.shape.lesions == 1
    assert {"supervised", "lesion", "hidden", "consistency"} <= set(found.record.history[-1])
    assert np.isfinite(answers(found, cohort, "a", "b")).all()


def test_both_is_the_mean_of_what_the_network_and_the_readout_say(
    fusion: Fusion, cohort: Cohort, vit: Backbone
) -> None:
    network, readout = (fitted(cohort, vit, classifier=each) for each in ("network", "readout"))
    for names in (("a",), ("a", "b")):
        each = [answers(model, cohort, *names) for model in (network, readout, fusion)]
        np.testing.assert_array_equal(each[2], (each[0] + each[1]) / 2)
        assert not np.allclose(each[0], each[1])
    assert set(readout.record.details["readout"]["strengths"]) == {"a", "b"}
    assert "readout" not in network.record.details


def test_the_network_alone_answers_where_a_class_has_one_patient(cohort: Cohort, vit: Backbone) -> None:
    ill = next(case.patient for case in cohort if case.split == "train" and case.label == 1)
    few = changed(cohort, lambda case: replace(case, label=int(case.patient == ill)) if case.split == "train" else case)
    found = fitted(few, vit)
    assert found.model.facts.options.classifier == "network"
    assert any("the network alone answers" in note for note in found.record.notes)
    assert np.isfinite(answers(found, cohort, "a")).all()


def test_cases_without_a_label_are_learned_from_where_something_else_teaches(cohort: Cohort, vit: Backbone) -> None:
    train_rows = np.flatnonzero(cohort.splits == "train")
    blank = {cohort.cases[row].case for row in train_rows[:4]}
    partly = changed(cohort, lambda case: replace(case, label=None) if case.case in blank else case)
    assert fitted(partly, vit).record.cases.train == len(train_rows) - 4
    assert fitted(partly, vit, consistency=1.0).record.cases.train == len(train_rows)


def test_one_class_is_refused(cohort: Cohort, vit: Backbone) -> None:
    same = changed(cohort, lambda case: replace(case, label=0))
    with pytest.raises(DataError, match="no two with different labels"):
        fitted(same, vit)
    with pytest.raises(DataError, match="no labelled training case"):
        fitted(changed(cohort, lambda case: replace(case, label=None)), vit)


def test_without_two_sequences_in_a_case_it_says_so(cohort: Cohort, vit: Backbone) -> None:
    def single(case: Case) -> Case:
        name = "b" if "b" in case.images and int(case.case[1:]) % 2 else "a"
        return only(name)(case)

    found = fitted(changed(cohort, single), vit)
    assert any("No training case has two sequences" in note for note in found.record.notes)


def test_a_sequence_that_no_training_case_has_is_left_out(cohort: Cohort, vit: Backbone) -> None:
    kept = changed(cohort, lambda case: only("a")(case) if case.split == "train" else case)
    found = fitted(kept, vit)
    assert found.modalities == ("a",)
    assert found.model.facts.left_out == ("b",)


def test_a_convolutional_encoder_and_several_layers_work(cohort: Cohort) -> None:
    cnn = load_backbone("timm:test_resnet", "random")
    found = fitted(cohort, cnn, layers=(-2, -1))
    assert found.model.facts.shape.token == sum(cnn.widths((-2, -1)))


def test_auto_is_fusion_for_pretrained_encoders_without_options_of_full(cohort: Cohort) -> None:
    pretrained, drawn = WeightSource("file", "sha256:1", True, "w"), WeightSource("random", "random:0", True, "random")

    def trained(source: WeightSource, modalities: tuple[str, ...] = (), **options: Any) -> str:
        return MmDino.of(**options).settled(source, cohort, modalities).options.trained

    assert trained(pretrained) == "fusion"
    assert trained(pretrained, slices=4, fusion={"epochs": 3}) == "fusion"
    assert trained(drawn) == trained(pretrained, epochs=3) == trained(pretrained, ("a", "b")) == "full"
    assert trained(pretrained, preset="mm-dinov2") == "full"
    unlabelled = changed(cohort, lambda case: replace(case, label=None))
    assert MmDino.of().settled(pretrained, unlabelled).options.trained == "full"


def test_options_of_full_are_refused_with_fusion() -> None:
    with pytest.raises(UsageError, match="'epochs' has no effect"):
        options_of(trained="fusion", epochs=3)
    with pytest.raises(UsageError, match="width"):
        options_of(trained="fusion", fusion={"width": 50})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_extraction_of_features_stores_the_tokens_of_the_same_slices(
    cohort: Cohort,
    vit: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: Precision,
) -> None:
    recipe = Recipe.for_kind("other", size=32, look="foreground", count=2)
    protocol = MmDino.of(trained="fusion", slices=2, fusion=QUICK)
    encoder = find_backbone("timm:test_vit", "random", dtype=dtype).lazy
    make = protocol.token_store(encoder, cohort, recipe, dtype, tmp_path / "together")
    together = extract(cohort, encoder, recipe=recipe, cache=tmp_path / "together", tokens=make)
    alone = extract(cohort, encoder, recipe=recipe, cache=tmp_path / "alone")
    np.testing.assert_array_equal(together.to_numpy(), alone.to_numpy())

    def chances(cache: Path) -> np.ndarray:
        slices = SliceCache(cache)
        fusion = fit_fusion(cohort, vit, protocol.options, recipe=recipe, cache=slices, precision=dtype)
        return fusion.model.of(cohort, slices).predict(np.arange(len(cohort)))

    expected = chances(tmp_path / "alone")
    monkeypatch.setattr(PooledTokenStore, "_encoded", lambda *_: pytest.fail("a slice was encoded twice"))
    np.testing.assert_array_equal(chances(tmp_path / "together"), expected)


def test_tokens_are_stored_beside_features_only_of_slices_that_the_fusion_reads(cohort: Cohort, tmp_path: Path) -> None:
    encoder = find_backbone("timm:test_vit", "random").lazy
    recipe = Recipe.for_kind("other", size=32, count=3)

    def stored(recipe: Recipe, **options: Any) -> bool:
        return MmDino.of(**options).token_store(encoder, cohort, recipe, "float32", tmp_path) is not None

    assert stored(recipe, trained="fusion", slices=3)
    assert not stored(recipe, trained="fusion", slices=2)
    assert not stored(Recipe.for_kind("other", size=32), trained="fusion", slices=3)
    assert not stored(recipe.looking("lesion"), trained="fusion", slices=3)
    assert not stored(recipe, trained="partial", slices=3)
    assert not stored(recipe, slices=3)  # random weights are trained in full
