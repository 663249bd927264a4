"""The protocol `mmdino`: options, what it may see, what it leaves, and as a learning curve."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radapt.backbones import CATALOG, load_backbone
from radapt.backbones.backbone import Backbone
from radapt.cohorts import load_cohort
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.mmdino.options import Options, options_of
from radapt.mmdino.protocol import MmDino
from radapt.protocols import FewShot, Machine, Result, make, train
from toy_adaptation import QUICK
from toy_study import write_cohort


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return load_backbone("timm:test_vit", "random")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load_cohort(write_cohort(tmp_path_factory.mktemp("mmdino") / "discs", patients=24))


def fitted(cohort: Cohort, vit: Backbone, protocol: Any = "mmdino", folder: Path | None = None, **more: Any) -> Result:
    assert cohort.path is not None
    options = QUICK | more if isinstance(protocol, str) else {}
    machine = Machine(folder=folder)
    return train(
        cohort, protocol, vit, size=32, cache=cohort.path.parent / "cache", machine=machine, resamples=100, **options
    )


@pytest.fixture(scope="module")
def result(cohort: Cohort, vit: Backbone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("cell")
    return fitted(cohort, vit, folder=folder), folder


def test_it_is_judged_as_a_whole_and_on_every_subset(result: tuple[Result, Path], cohort: Cohort) -> None:
    found, _ = result
    assert set(found.predictions["split"]) == {"val", "test", "elsewhere"}
    np.testing.assert_allclose(found.predictions[["p_healthy", "p_ill"]].sum(axis=1), 1)
    assert found.subsets is not None
    assert set(found.subsets.scores["subset"]) == {"", "a", "b", "a + b"}
    whole = found.subsets.scores.query("subset == 'a + b' and metric == 'accuracy' and site.isna()").set_index("split")
    own = found.scores.query("metric == 'accuracy'").set_index("split")
    assert whole.loc["test", "value"] == own.loc["test", "value"]


def test_its_folder_is_a_backbone_and_says_how_it_was_made(result: tuple[Result, Path]) -> None:
    _, folder = result
    assert load_backbone(str(folder / "model")).modalities == ("a", "b")
    facts = json.loads((folder / "adapt.json").read_text())
    assert (facts["preset"], facts["options"]["steps"], facts["modalities"]) == ("default", 2, ["a", "b"])
    assert not (folder / "checkpoints").exists()


def test_the_cost_is_that_of_what_answers(result: tuple[Result, Path]) -> None:
    """Everything is trained, and the teacher is not counted beside the student."""
    cost = result[0].cost
    assert cost.trained == cost.parameters


def test_labels_of_test_sets_are_not_looked_at(result: tuple[Result, Path], cohort: Cohort, vit: Backbone) -> None:
    turned = tuple(
        case if case.split in ("train", "val") or case.label is None else replace(case, label=1 - case.label)
        for case in cohort
    )
    other = fitted(replace(cohort, cases=turned), vit)
    answers = [f"p_{name}" for name in cohort.outputs]
    pd.testing.assert_frame_equal(other.predictions[answers], result[0].predictions[answers])


def test_a_learning_curve_hides_labels_and_keeps_the_cases(cohort: Cohort, vit: Backbone) -> None:
    curve = FewShot(fractions=(0.5,), shots=(), repeats=1, protocol="mmdino", options=QUICK)
    found = fitted(cohort, vit, curve)
    assert set(found.predictions["fraction"]) == {0.5}
    assert found.fit.details["preset"] == "default"


def test_with_the_defaults_val_is_not_looked_at(cohort: Cohort, vit: Backbone) -> None:
    curve = FewShot(fractions=(1.0,), shots=(), repeats=1, protocol="mmdino", options=QUICK, choose="default")
    assert fitted(cohort, vit, curve).fit.cases.val == 0


def test_a_sequence_that_no_training_case_has_is_left_out(cohort: Cohort, vit: Backbone) -> None:
    kept = tuple(replace(case, images={"a": case.images["a"]}) if case.split == "train" else case for case in cohort)
    found = fitted(replace(cohort, cases=kept), vit)
    assert found.fit.details["modalities"] == ["a"]
    assert found.subsets is not None
    assert set(found.subsets.scores["subset"]) == {"", "a"}


def test_cases_that_have_nothing_else_are_answered_with_the_prior_and_counted(cohort: Cohort, vit: Backbone) -> None:
    """No training case has b; one case of val, one of the test set and one elsewhere have nothing but b."""
    splits = ("val", "test", "elsewhere")
    first = [next(case.case for case in cohort if case.split == split and len(case.images) == 2) for split in splits]

    def shown(case: Case) -> Case:
        name = "b" if case.case in first else "a"
        return replace(case, images={name: case.images[name]})

    found = fitted(replace(cohort, cases=tuple(map(shown, cohort))), vit)
    answers = found.predictions.set_index("case")[["p_healthy", "p_ill"]]
    np.testing.assert_array_equal(answers.loc[first], [[0.5, 0.5]] * 3)
    assert (answers.drop(first)["p_ill"] != 0.5).all()
    said = "for lack of any other sequence: 3 cases of other splits"
    assert any(said in note for note in found.fit.notes)
    assert found.subsets is not None
    rows = found.subsets.scores.query("metric == 'mcc' and site.isna()").set_index(["split", "subset"])["n_without"]
    assert rows.loc[("test", "a")] == rows.loc[("elsewhere", "a")] == 1


def test_options_are_a_preset_and_what_differs() -> None:
    assert make("mmdino") == MmDino("default", Options())
    assert make("mmdino", preset="mm-dinov2", steps=5) == MmDino("mm-dinov2", options_of("mm-dinov2", steps=5))
    freed = make("mmdino", preset="mm-dinov2", prototypes="none", clip="none", supervision="prototypes")
    assert isinstance(freed, MmDino)
    assert (freed.options.prototypes, freed.options.clip, freed.options.supervision) == (None, None, "prototypes")


def test_every_difference_to_the_published_method_is_in_the_docs() -> None:
    """Option, published value and default, each as the table has it."""
    ours, published = options_of("default").plain(), options_of("mm-dinov2").plain()
    differing = {
        name: tuple("null" if value is None else str(value) for value in (published[name], ours[name]))
        for name in ours
        if ours[name] != published[name]
    }
    table = (
        (Path(__file__).parents[2] / "docs" / "adaptation.md")
        .read_text(encoding="utf-8")
        .split("differs from the published")[1]
    )
    rows = [line.split(" | ") for line in table.split("## ")[0].splitlines() if line.startswith("| `")]
    said = {row[0].strip("| `"): tuple(re.split("[:,]", cell)[0].strip("`") for cell in row[1:3]) for row in rows}
    assert said == differing


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "mm-dino"}, "Did you mean 'mm-dinov2'"),
        ({"stepps": 5}, "Did you mean 'steps'"),
        ({"steps": 0}, "option 'steps' cannot be 0"),
        ({"prototypes": "none"}, "prototypes can be none only with"),
        ({"global_scale": [0.9, 0.1]}, "smaller number first"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make("mmdino", **options)
    with pytest.raises(UsageError, match=said):
        FewShot(protocol="mmdino", options=options)


@pytest.mark.parametrize(
    ("name", "suits"), [("dinov2-s", True), ("mae-l", True), ("resnet50", False), ("sam-l", False)]
)
def test_it_suits_plain_vision_transformers(name: str, suits: bool) -> None:
    assert make("mmdino").suits(CATALOG[name]) == suits


@pytest.mark.parametrize("word", ["none", "None", None])
def test_no_value_is_written_as_one_likes(word: str | None) -> None:
    made = make("mmdino", steps=word, clip=word)
    assert isinstance(made, MmDino)
    assert (made.options.steps, made.options.clip) == (None, None)
    with pytest.raises(UsageError, match="option 'slices' cannot be"):
        make("mmdino", slices=word)


@pytest.mark.parametrize(
    ("options", "said"), [({"global_size": 1}, "global_size is 1"), ({"local_size": 13}, "local_s")]
)
def test_crops_hold_a_patch(options: dict[str, Any], said: str) -> None:
    card = CATALOG["dinov2-s"]
    with pytest.raises(UsageError, match=rf"{said}.* 14 × 14 pixels. Set it to 14 or a multiple"):
        make("mmdino", **options).suits(card)
    assert make("mmdino", local_crops=0, local_size=13).suits(card)
    assert not make("mmdino", **options).suits(CATALOG["resnet50"])


def test_a_case_without_any_known_sequence_is_named(cohort: Cohort, vit: Backbone) -> None:
    lacking = tuple(replace(case, images={} if case.case == "c1" else dict(case.images)) for case in cohort)
    with pytest.raises(DataError, match="case c1"):
        fitted(replace(cohort, cases=lacking), vit)
