"""Images and table together: the mean of two models that are fitted each on its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

import radapt
from radapt.cohorts.metadata import column_like
from radapt.deploy.load import load_exported
from radapt.errors import UsageError
from radapt.probes.combined.model import CombinedSubsetModel, combined_model
from radapt.probes.controls.table_design import CategoryColumn, NumberColumn, TableDesign
from radapt.protocols import FeatureProblem, Result, make
from radapt.protocols.choice import ChoiceRules
from radapt.protocols.fitted import Model, SubsetModel
from radapt.protocols.out_of_fold import OutOfFold
from toy_features import ArrayFeatures, make_features
from toy_images import discs, image_cohort

LOGISTIC = {"C": [0.01], "blocks": 1, "patch_mean": False}
N = 90


def with_table(features: ArrayFeatures, seed: int = 0) -> ArrayFeatures:
    """Patients of the first class are older; every seventh has no sex, every ninth nothing."""
    rng, cases = np.random.default_rng(seed), []
    for row, case in enumerate(features.cohort):
        age = 40 + 15 * ((case.label or 0) == 0) + rng.normal(0, 8)
        sex = "" if row % 7 == 0 else str(rng.choice(["female", "male"]))
        cases.append(
            replace(case, metadata={"age": "", "sex": ""} if row % 9 == 0 else {"age": f"{age:.0f}", "sex": sex})
        )
    return replace(features, cohort=replace(features.cohort, cases=tuple(cases)))


@pytest.fixture
def features() -> ArrayFeatures:
    rng = np.random.default_rng(1)
    splits = np.asarray(["train", "train", "test"])[np.arange(N) % 3]
    return with_table(make_features(rng.integers(0, 3, N), splits, signal=0.5))


def probabilities(result: Result) -> np.ndarray:
    return result.predictions.set_index("case").sort_index().filter(like="p_").to_numpy()


def combined(features: ArrayFeatures, **options: Any) -> Result:
    return radapt.evaluate(features, make("combined", **{"options": LOGISTIC, "C": (0.1,), **options}), resamples=0)


def test_it_is_the_mean_of_what_both_say_alone(features: ArrayFeatures, tmp_path: Path) -> None:
    images = probabilities(radapt.evaluate(features, make("logistic", **LOGISTIC), resamples=0))
    table = probabilities(
        radapt.train(features.cohort, make("metadata", columns=("age", "sex"), C=(0.1,)), cache=tmp_path, resamples=0)
    )
    known = [
        any(case.metadata.values())
        for case in sorted(features.cohort, key=lambda case: case.case)
        if case.split == "test"
    ]
    expected = np.where(np.asarray(known)[:, None], (images + table) / 2, images)
    np.testing.assert_allclose(probabilities(combined(features)), expected, rtol=0, atol=1e-9)


def test_its_inner_score_is_that_of_both_together(features: ArrayFeatures) -> None:
    problem = FeatureProblem.of(features, rules=ChoiceRules(decision="argmax"))  # type: ignore[arg-type]
    fitted = make("combined", options=LOGISTIC, C=(0.1,)).fit(problem, np.random.default_rng(0))
    alone = make("logistic", **LOGISTIC).fit(problem, np.random.default_rng(0))
    before = fitted.before_refit
    assert isinstance(before, OutOfFold)
    labels = features.cohort.labels[before.learned]
    expected = matthews_corrcoef(labels, before.predict(before.learned).argmax(axis=1))
    assert fitted.record.winner.val["mcc"] == pytest.approx(expected)
    assert fitted.record.winner.val["mcc"] != pytest.approx(alone.record.winner.val["mcc"])
    assert "The mean of the probabilities of logistic and of the table (C = 0.1)." in fitted.record.notes
    lacking = next(row for row in before.learned if not any(features.cohort.cases[row].metadata.values()))
    own = alone.before_refit.predict(np.asarray([lacking]))
    np.testing.assert_array_equal(before.predict(np.asarray([lacking])), own)


def test_test_patients_decide_nothing(features: ArrayFeatures) -> None:
    cases = tuple(
        replace(case, metadata={"age": "200", "sex": "X"}, label=0) if case.split == "test" and row > 20 else case
        for row, case in enumerate(features.cohort)
    )
    other = replace(features, cohort=replace(features.cohort, cases=cases))
    early = [row for row, case in enumerate(features.cohort) if case.split == "test" and row <= 20]
    found = [combined(each).predictions.set_index("case").filter(like="p_") for each in (features, other)]
    names = [features.cohort.cases[row].case for row in early]
    assert found[0].loc[names].equals(found[1].loc[names])
    assert not found[0].equals(found[1])


def test_findings_are_joined_one_by_one() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, (N, 2)).astype(np.float32)
    splits = np.asarray(["train", "train", "test"])[np.arange(N) % 3]
    features = with_table(make_features(labels, splits))
    images = probabilities(radapt.evaluate(features, make("logistic", **LOGISTIC), resamples=0))
    found = probabilities(combined(features))
    assert found.shape == images.shape
    assert not np.allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "combined"}, "'combined' is none"),
        ({"protocol": "metadata"}, "'metadata' is none"),
        ({"protocol": "segment"}, "'segment' is none"),
        ({"protocol": "fewshot"}, "A learning curve is {fewshot: {protocol: combined}}"),
        ({"protocol": "logistc"}, "Did you mean 'logistic'"),
        ({"options": {"class_weight": "balanced"}}, "written beside options"),
        ({"options": {"Cs": 1}}, "no option 'Cs'"),
    ],
)
def test_what_cannot_be_combined_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        make("combined", **options)
    assert words in str(caught.value)


def test_a_cohort_without_the_columns_is_refused(features: ArrayFeatures) -> None:
    bare = replace(features.cohort, cases=tuple(replace(case, metadata={"scanner": "A"}) for case in features.cohort))
    with pytest.raises(UsageError, match="no column of age or sex to combine images with"):
        combined(replace(features, cohort=bare))
    with pytest.raises(UsageError, match=r"no metadata column 'scaner'\. Did you mean 'scanner'"):
        combined(replace(features, cohort=bare), columns="scaner")


def test_class_weight_is_that_of_both(features: ArrayFeatures) -> None:
    found = make("combined", options=LOGISTIC, class_weight="balanced")
    assert found.base.settings["class_weight"] == "balanced"  # type: ignore[attr-defined]
    assert not np.allclose(
        probabilities(combined(features)), probabilities(combined(features, class_weight="balanced"))
    )


class _Fixed(Model):
    def __init__(self, answers: np.ndarray) -> None:
        self.answers = answers

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.answers[rows]


class _FromSubsets(_Fixed, SubsetModel):
    modalities = ("a", "b")
    prior = np.asarray([0.3, 0.7])

    def predict_from(self, rows: np.ndarray, modalities: tuple[str, ...]) -> np.ndarray:
        return self.answers[rows][:, ::-1] if modalities == ("a",) else self.predict(rows)


def test_subsets_of_sequences_are_joined_with_the_same_table() -> None:
    images, table = np.asarray([[0.9, 0.1], [0.2, 0.8]]), np.asarray([[0.5, 0.5], [0.4, 0.6]])
    model = combined_model(_FromSubsets(images), _Fixed(table), np.asarray([True, False]))
    assert isinstance(model, CombinedSubsetModel)
    assert model.modalities == ("a", "b")
    np.testing.assert_allclose(model.predict(np.arange(2)), [[0.7, 0.3], [0.2, 0.8]])
    np.testing.assert_allclose(model.predict_from(np.arange(2), ("a",)), [[0.3, 0.7], [0.8, 0.2]])
    assert not isinstance(combined_model(_Fixed(images), _Fixed(table), np.ones(2, bool)), SubsetModel)


def test_categories_are_known_in_any_case_and_by_their_first_letter() -> None:
    column = CategoryColumn("sex", ("female", "male"))
    cells = np.asarray(["Female", "F", "m", "MALE", "x", "", "unknown", "fem"], dtype=object)
    assert column.encode(cells).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0]]
    assert column.knows(cells).tolist() == [True, True, True, True, False, False, False, False]
    short = CategoryColumn("sex", ("F", "M"))
    assert short.encode(np.asarray(["female", "m"], dtype=object)).tolist() == [[1, 0], [0, 1]]
    several = CategoryColumn("scanner", ("GE", "general"))
    assert several.encode(np.asarray(["g", "ge"], dtype=object)).tolist() == [[0, 0], [1, 0]]


def test_what_is_not_known_is_named_with_its_value() -> None:
    design = TableDesign((NumberColumn("age", 50.0, True), CategoryColumn("sex", ("F", "M"))))
    table = {name: np.asarray(cells, dtype=object) for name, cells in
             {"age": ["45Y", "", "adult", ""], "sex": ["f", "M", "X", ""]}.items()}  # fmt: skip
    assert [design.unknown(table, row) for row in range(4)] == [
        (), ("age",), ("age ('adult')", "sex ('X')"), ("age", "sex"),
    ]  # fmt: skip
    assert design.known(table, 4).tolist() == [True, True, False, False]
    assert design.known({}, 2).tolist() == [False, False]
    assert design.unknown({}, 0) == ("age", "sex")


def test_predictions_say_which_columns_were_not_known(tmp_path: Path) -> None:
    rng, number = np.random.default_rng(0), np.arange(24)
    images = [{"image": discs(rng, int(label), slices=1)} for label in number % 2]
    splits = ["test" if row % 4 > 2 else "train" for row in number // 2]
    cohort = image_cohort(tmp_path / "i", images, number % 2, splits)
    metadata = [{"age": str(20 + row * 7 % 50), "sex": "FM"[row // 2 % 2]} for row in number]
    metadata[6] = {"sex": "female"}
    metadata[7], metadata[14], metadata[15] = {"age": "", "sex": "X"}, {}, {"age": "045Y", "sex": "m", "site": "here"}
    cases = tuple(replace(case, metadata=own) for case, own in zip(cohort, metadata, strict=True))
    cohort = replace(cohort, cases=cases)
    backbone = radapt.load_backbone("timm:test_vit", "random")
    features = radapt.extract(cohort, backbone, size=16, cache=tmp_path / "c")
    radapt.evaluate(features, make("combined", options=LOGISTIC), folder=tmp_path, resamples=0)
    found = load_exported(tmp_path / "model").predict(cohort).table.set_index("case")["reason"]
    cases = tuple(
        replace(case, metadata={"Patient Age (y)": own["age"], "gender": own["sex"], "sex_of_scanner": "X"})
        for case, own in zip(cohort, metadata, strict=True)
        if {"age", "sex"} <= set(own)
    )
    other = replace(cohort, cases=cases)
    again = [radapt.load_model(tmp_path / "model", cache=tmp_path / "c").predict(each) for each in (cohort, other)]
    answers = [each.set_index("case")["p_k1"] for each in again]
    assert answers[1].equals(answers[0].loc[answers[1].index]), "age and sex under other names"
    images_alone = "no column of the table is known: answered from the images alone"
    assert [found[f"c{row}"] for row in (6, 7, 14, 15)] == [
        "age not known: as for a typical training patient", images_alone, images_alone, "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "columns", "found"),
    [
        ("age", ["Patient Age", "age"], "age"),
        ("Age (years)", ["scanner", "PatientAge"], "PatientAge"),
        ("sex", ["gender", "age"], "gender"),
        ("sex", ["age"], None),
        ("t1-mean", ["t1 mean", "t1-mean"], "t1-mean"),
        ("t1-mean", ["t1 mean"], None),
    ],
)
def test_columns_of_age_and_sex_are_found_by_their_usual_names(
    name: str, columns: list[str], found: str | None
) -> None:
    assert column_like(name, columns) == found
