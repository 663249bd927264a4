"""Dice predicted from the model's own probabilities, its lower bound, and abstaining."""

from dataclasses import replace

import numpy as np
import pytest

from radapt.deploy.ensemble import joint_mask
from radapt.deploy.masks.mask_certainty import MaskCases, MaskCertainty, fit_mask_certainty, read_mask_certainty
from radapt.deploy.masks.predicted_dice import DicePredictor, fit_predictor
from radapt.errors import UsageError
from radapt.images import Volume
from radapt.protocols.fitted import DrawnMask


def drawn(patients: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Soft Dice, true Dice and patients: the former says 0.1 too much."""
    rng = np.random.default_rng(seed)
    dice = rng.uniform(0.5, 0.85, patients)
    return np.clip(dice + 0.1 + rng.normal(0, noise, patients), 0, 1), dice, np.arange(patients)


def fitted(patients: int = 200, noise: float = 0.02, **changes: object) -> DicePredictor:
    given = {"always": True, "alpha": 0.1, "refused": 0.05, "least": None, "rng": np.random.default_rng(0)}
    found = fit_predictor("lung", *drawn(patients, noise), **(given | changes))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_what_the_probabilities_say_too_much_is_taken_off() -> None:
    found = fitted()
    soft, dice, _ = drawn(500, 0.02, seed=1)
    assert abs(found.predict(soft) - dice).mean() < 0.02
    assert found.error == pytest.approx(abs(found.predict(soft) - dice).mean(), abs=0.005)
    assert found.error < found.error_of_mean / 3


def test_the_lower_bound_holds_for_new_patients_as_often_as_stated() -> None:
    shares = []
    for seed in range(30):
        found = fit_predictor(
            "lung", *drawn(60, 0.05, seed), always=True, alpha=0.1, refused=0.05, least=None,
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        assert found is not None
        soft, dice, _ = drawn(400, 0.05, seed + 100)
        shares.append((dice >= found.at_least(soft)).mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.02)


def test_cases_of_one_patient_count_once() -> None:
    soft, dice, patients = drawn(40, 0.02)
    again = [np.concatenate([values, np.repeat(values[:1], 60)]) for values in (soft, dice, patients)]
    one = fit_predictor(
        "lung", *again, always=True, alpha=0.1, refused=0.05, least=None, rng=np.random.default_rng(0)
    )  # fmt: skip
    assert one is not None
    assert (one.slope, one.intercept) == pytest.approx((fitted(40).slope, fitted(40).intercept))
    assert one.patients == 40


def test_too_few_patients_predict_nothing_and_some_more_have_no_bound() -> None:
    cases = masks(9)
    certainty, notes = fit_mask_certainty(cases, alpha=0.1, rng=np.random.default_rng(0))
    assert certainty is None
    assert notes == ("No Dice is predicted for lung: 9 patients (val), 10 are needed.",)
    few = fitted(12, alpha=0.05)
    assert few.margin == float("inf")
    assert np.isnan(few.covered)
    assert few.at_least(np.asarray([0.9])) == 0


def masks(patients: int = 60) -> MaskCases:
    soft, dice, people = drawn(patients, 0.02)
    return MaskCases(("lung",), soft[:, None], dice[:, None], np.ones((patients, 1), bool), people, "val")


def certain(**changes: object) -> MaskCertainty:
    found, _ = fit_mask_certainty(masks(), alpha=0.1, rng=np.random.default_rng(0), **changes)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_bad_mask_an_absent_structure_and_the_limit_of_the_user_abstain() -> None:
    own = certain()
    good, bad, absent = (own.answer({"lung": value}) for value in (0.9, 0.4, float("nan")))
    assert (good.abstained, good.reason) == (False, "")
    assert good.at_least["lung"] < good.dice["lung"] == pytest.approx(0.8, abs=0.02)
    assert bad.abstained
    assert (
        bad.reason == f"The Dice of lung is predicted as {bad.dice['lung']:.2f}, below {own.predictors[0].limit:.2f}."
    )
    assert absent.abstained
    assert absent.reason == "No lung is drawn, which every calibration case has."
    assert certain(least_dice=0.9).answer({"lung": 0.9}).abstained
    with pytest.raises(UsageError, match=r"least_dice is 70; expected a Dice from 0 to 1"):
        certain(least_dice=70)


def test_about_one_in_twenty_patients_is_refused_by_default() -> None:
    own, (soft, _, _) = certain(), drawn(2000, 0.02, seed=5)
    assert np.mean([own.answer({"lung": value}).abstained for value in soft]) == pytest.approx(0.05, abs=0.03)


def test_the_record_gives_the_same_answers_and_a_changed_one_is_refused() -> None:
    own = certain()
    again = read_mask_certainty(own.record, None)
    assert again is not None
    assert again.predictors == own.predictors
    with pytest.raises(UsageError, match="record of predicted Dice cannot be read"):
        read_mask_certainty({**own.record, "predictors": [{"structure": "lung"}]}, None)
    infinite = replace(own, predictors=(replace(own.predictors[0], margin=float("inf"), covered=0.5),))
    assert read_mask_certainty(infinite.record, None).predictors == infinite.predictors  # type: ignore[union-attr]


def test_the_uncertainty_of_several_models_is_the_mean_doubt_about_the_joint_label() -> None:
    def one(labels: list[int], probability: list[float], soft: float) -> DrawnMask:
        volume = Volume(np.asarray(labels, np.uint8).reshape(2, 1, 1), np.eye(4))
        return DrawnMask(volume, np.asarray(probability, np.float16).reshape(2, 1, 1), {1: soft})

    alone = joint_mask([one([1, 0], [0.75, 1.0], 0.5)])
    assert alone.agreement is None
    np.testing.assert_allclose(alone.uncertainty.ravel(), [0.25, 0])  # type: ignore[union-attr]
    members = [one([1, 0], [1, 1], 0.8), one([1, 0], [0.5, 1], 0.6), one([0, 0], [0.75, 0.5], float("nan"))]
    joint = joint_mask(members)
    np.testing.assert_array_equal(joint.mask.array.ravel(), [1, 0])
    np.testing.assert_allclose(joint.uncertainty.ravel(), [(0 + 0.5 + 0.75) / 3, 0.5 / 3], rtol=1e-6)  # type: ignore[union-attr]
    assert joint.soft_dice[1] == pytest.approx(0.7)
    assert joint_mask([DrawnMask(members[0].mask), members[1]]).uncertainty is None
