"""Export fits calibration, sets and novelty on out-of-fold or val predictions; predict answers with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import radapt
from radapt.cohorts import load_cohort
from radapt.deploy.assessment import (
    Assessment,
    Assessor,
    CalibrationCases,
    TrainingVectors,
    fit_assessor,
    read_assessor,
)
from radapt.deploy.export.export_model import export_model
from radapt.deploy.load import ExportedModel
from radapt.errors import UsageError
from radapt.features.case_vectors import CaseVectors


@pytest.fixture(scope="module")
def ensemble(with_folds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("assessed") / "model"
    export_model(with_folds, out, cache=with_folds.parent / "cache", alpha=0.2)
    return out


MODALITIES = "flair", "t1c"


def cases(n: int = 40, seed: int = 0) -> CalibrationCases:
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, 2, n)
    second = np.clip(0.5 + (truths - 0.5) * 0.6 + rng.normal(scale=0.2, size=n), 0.01, 0.99)
    sequences = tuple(("flair",) if row % 4 == 0 else MODALITIES for row in range(n))
    return CalibrationCases(
        ("a", "b"), np.stack([1 - second, second], axis=1), truths, np.arange(n).astype(str), sequences, "val"
    )


def training(n: int = 40, seed: int = 0) -> TrainingVectors:
    names = tuple(f"c{row}" for row in range(n))
    values = np.random.default_rng(seed).normal(size=(n, 2, 4)).astype(np.float32)
    return TrainingVectors(CaseVectors(names, ("",) * n, MODALITIES, values), np.asarray(names, dtype=object), None)


def fitted(n: int = 40) -> Assessor:
    return fit_assessor(cases(n), MODALITIES, training(n))[0]


def test_predictions_are_calibrated_and_have_sets(ensemble: Path, with_folds: Path) -> None:
    model = radapt.load_model(ensemble)
    assert isinstance(model, ExportedModel)
    table = model.predict(with_folds.parent / "discs" / "cohort.yaml").table
    calibrated = table[[name for name in table if name.startswith("calibrated_")]]
    assert len(calibrated.columns) == len(model.outputs)
    assert np.allclose(calibrated.sum(axis=1), 1)
    assert table["set"].notna().all()
    decided = table["abstained"] == "false"
    assert set(table["set"][decided]) <= set(model.outputs)
    assert (table["reason"][~decided] != "").all()
    assert any("24 patients (out of fold)" in note for note in model.deployment.notes)
    assert model.assessor is not None
    assert model.assessor.certainty.alpha == 0.2


def test_another_kind_of_image_is_refused(ensemble: Path, with_folds: Path) -> None:
    """Noise in the place of discs."""
    model = radapt.load_model(ensemble)
    assert isinstance(model, ExportedModel)
    cohort = load_cohort(with_folds.parent / "discs" / "cohort.yaml")
    vectors = model.vectors(cohort, with_folds.parent / "cache")
    assert vectors is not None
    assert model.assessor is not None
    sequences = tuple(tuple(case.images) for case in cohort)
    even = np.full((len(cohort), len(model.outputs)), 1 / len(model.outputs))
    strange = replace(vectors, vectors=vectors.vectors + 10 * np.nanstd(vectors.vectors))
    found = model.assessor.assess(even, even.argmax(axis=1), sequences, strange)
    refused = [reason.startswith("The case is unlike the training cases") for reason in found.reasons]
    assert all(refused)
    assert found.abstained.all()
    usual = model.assessor.assess(even, even.argmax(axis=1), sequences, vectors)
    assert np.mean([reason.startswith("The case is unlike") for reason in usual.reasons]) < 0.2


def test_a_record_gives_an_equal_assessor() -> None:
    assessor, notes = fit_assessor(cases(), MODALITIES, training())
    assert notes[0] == "Calibration and prediction sets are from 40 patients (val)."
    read = read_assessor(assessor.record, training().vectors)
    assert read is not None
    new, own = cases(20, 1), training(20, 1).vectors
    decided = new.probabilities.argmax(axis=1)
    one, two = (each.assess(new.probabilities, decided, new.sequences, own) for each in (assessor, read))
    assert np.array_equal(one.calibrated, two.calibrated)
    assert (one.sets, one.reasons) == (two.sets, two.reasons)
    assert read_assessor(None, own) is None


def test_features_of_all_sequences_together_are_compared() -> None:
    """Those of an adapted backbone, which encodes them jointly."""
    own = training()
    joint = replace(
        own, vectors=CaseVectors(own.vectors.cases, own.vectors.labels, ("joint",), own.vectors.vectors[:, :1])
    )
    assessor, _ = fit_assessor(cases(), MODALITIES, joint)
    strange = replace(joint.vectors, vectors=joint.vectors.vectors + 30)
    found = assessor.assess(cases().probabilities, cases().truths, cases().sequences, strange)
    assert all(reason.startswith("The case is unlike") for reason in found.reasons)


def test_with_too_few_patients_the_model_abstains() -> None:
    assessor, notes = fit_assessor(cases(8), MODALITIES, None)
    found = assessor.assess(cases(1).probabilities, cases(1).truths, cases(1).sequences, None)
    assert found.sets == (("a", "b"),)
    assert found.reasons == ("No set can be given: 8 calibration patients, 9 are needed.",)
    assert notes[0] == "Calibration and prediction sets are from 8 patients (val)."
    wide, _ = fit_assessor(cases(8), MODALITIES, None, alpha=0.5)
    assert not wide.certainty.sets[0].holds_everything


def test_a_single_case_and_none_are_answered() -> None:
    none = fitted().assess(np.zeros((0, 2)), np.zeros(0, int), (), None)
    assert none.calibrated.shape == (0, 2)
    one = fitted().assess(np.array([[0.5, 0.5]]), np.array([0]), (("t1c",),), None)
    assert "No calibration patient had exactly t1c" in one.reasons[0]


def test_the_doubt_is_about_the_class_that_was_decided_for() -> None:
    found = Assessment(np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]]), ((), (), ()), np.zeros(3, bool), ("", "", ""))
    np.testing.assert_allclose(found.doubt(np.array([0, 1, 1])), [0.2, 0.8, 0.4])


def test_alpha_is_checked_before_anything_is_written(with_val: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        export_model(with_val, tmp_path / "model", alpha=1.0)
    assert not (tmp_path / "model").exists()
