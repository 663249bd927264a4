"""The record of a model's certainty: fitted, applied, saved and strictly loaded."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from radapt.deploy.certainty import (
    Certainty,
    LabelledPredictions,
    certainty_record,
    fit_certainty,
    fit_novelty,
    read_certainty,
)
from radapt.deploy.certainty.choose_calibration import calibrate
from radapt.deploy.certainty.conformal import fit_sets
from radapt.errors import DataError, UsageError

SEQUENCES = "flair", "t1c"
CLASSES = "astrocytoma", "oligodendroglioma", "glioblastoma"


def predictions(n: int, seed: int = 0, hospital: float = 0.0) -> tuple[LabelledPredictions, np.ndarray]:
    """Predictions of three classes, twice too sure, and features (n, 2, 8)."""
    rng = np.random.default_rng(seed)
    truths, presence = rng.integers(0, 3, n), np.ones((n, 2), dtype=bool)
    presence[:, 1] = rng.random(n) < 0.7
    logits = rng.normal(size=(n, 3)) + 2 * np.eye(3)[truths]
    features = rng.normal(size=(n, 2, 8)) + hospital
    features[~presence] = np.nan
    return LabelledPredictions(softmax(4 * logits, axis=1), truths, np.arange(n), presence), features


def findings(n: int, seed: int = 0) -> LabelledPredictions:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 2))
    truths = (rng.random((n, 2)) < expit(3 * logits)).astype(float)
    truths[rng.random((n, 2)) < 0.2] = np.nan
    return LabelledPredictions(expit(6 * logits), truths, np.arange(n), np.ones((n, 1), dtype=bool))


def fitted(n: int = 300, **options: Any) -> Certainty:
    labelled, features = predictions(n)
    novelty = fit_novelty(features, labelled.patients, SEQUENCES, rng=np.random.default_rng(0))
    given = {"outputs": CLASSES, "sequences": SEQUENCES, "novelty": novelty, "rng": np.random.default_rng(0)}
    return fit_certainty(labelled, **(given | options))


def fitted_findings(n: int = 300) -> Certainty:
    return fit_certainty(
        findings(n), outputs=["effusion", "nodule"], sequences=["image"], several=True, rng=np.random.default_rng(0)
    )


def decisions(probabilities: np.ndarray) -> np.ndarray:
    """The most probable class; of two columns, each a finding above one half."""
    return probabilities.argmax(axis=1) if probabilities.shape[1] == 3 else (probabilities > 0.5).astype(np.int64)


def test_sets_cover_new_patients_and_abstaining_helps() -> None:
    certainty = fitted()
    new, features = predictions(1000, 1)
    answers = certainty.apply(new.probabilities, decisions(new.probabilities), new.presence, features)
    truths = [CLASSES[label] for label in new.truths]
    assert np.mean([truth in answer.members for truth, answer in zip(truths, answers, strict=True)]) > 0.87
    answered = [(answer, truth) for answer, truth in zip(answers, truths, strict=True) if not answer.abstained]
    right = np.mean([CLASSES[int(np.argmax(answer.calibrated))] == truth for answer, truth in answered])
    assert right > np.mean(new.probabilities.argmax(axis=1) == new.truths) + 0.03
    assert all(len(answer.members) == 1 and answer.novelty > 0.05 for answer, _ in answered)


def test_abstaining_says_why() -> None:
    certainty = fitted()
    new, features = predictions(1000, 1)
    features[:5] += 30
    answers = certainty.apply(new.probabilities, decisions(new.probabilities), new.presence, features)
    assert all(answer.abstained and answer.reason.startswith("The case is unlike") for answer in answers[:5])
    several = next(answer for answer in answers[5:] if len(answer.members) == 2 and answer.novelty > 0.05)
    assert several.reason == f"{several.members[0]} and {several.members[1]} remain possible at 90 % coverage."
    assert all(bool(answer.reason) == answer.abstained for answer in answers)
    none = fitted(alpha=0.5).apply(np.full((1, 3), 1 / 3), np.array([0]), np.ones((1, 2), dtype=bool))[0]
    assert (none.members, none.abstained, none.reason) == ((), True, "No class fits at 50 % coverage.")


def test_sequences_that_calibration_never_saw_are_said() -> None:
    answer = fitted().apply(np.array([[0.98, 0.01, 0.01]]), np.array([0]), np.array([[False, True]]))[0]
    assert answer.reason == "No calibration patient had exactly t1c; the coverage is not assured."
    assert not answer.abstained
    assert np.isnan(answer.novelty)


def test_findings_are_calibrated_one_by_one() -> None:
    certainty = fitted_findings()
    new = findings(500, 1)
    assert [one.temperature for one in certainty.calibrations] == pytest.approx([2, 2], rel=0.25)
    answers = certainty.apply(new.probabilities, decisions(new.probabilities), new.presence)
    sure = certainty.apply(np.array([[1.0, 0.0]]), np.array([[1, 0]]), np.ones((1, 1), dtype=bool))[0]
    assert (sure.members, sure.abstained, sure.reason) == (("effusion",), False, "")
    one_open = next(answer for answer in answers if answer.members == ("effusion?",))
    assert not one_open.abstained
    assert one_open.reason == "Open at 90 % coverage: effusion."
    both = next(answer for answer in answers if answer.members == ("effusion?", "nodule?"))
    assert both.abstained
    inside = certainty.contain(certainty.calibrated(new.probabilities), new.presence)
    for place in range(2):
        known = np.isfinite(new.truths[:, place])
        covered = inside[known, place][np.arange(known.sum()), new.truths[known, place].astype(int)]
        assert covered.mean() > 0.85


@pytest.mark.parametrize("make", [fitted, fitted_findings])
def test_a_certainty_read_from_its_record_answers_alike(make: Any) -> None:
    certainty = make()
    features = predictions(300)[1] if make is fitted else None
    loaded = read_certainty(json.loads(json.dumps(certainty_record(certainty), allow_nan=False)), features)
    new, own = predictions(50, 1) if make is fitted else (findings(50, 1), None)
    same = [
        one.apply(new.probabilities, decisions(new.probabilities), new.presence, own) for one in (certainty, loaded)
    ]
    assert repr(same[0]) == repr(same[1])
    assert loaded.notes == certainty.notes


def test_a_changed_record_is_refused() -> None:
    features = predictions(100)[1]
    record = certainty_record(fitted(100))
    novelty = record["novelty"]
    changes: list[dict[str, Any]] = [
        {"format": 9},
        {"extra": 1},
        {"outputs": ["a", "b"]},
        {"sequences": ["flair"]},
        {"refused": 2},
        {"sets": []},
        {"calibrations": [{**record["calibrations"][0], "bias": [0.0]}]},
        {"sets": [{**record["sets"][0], "alpha": 1.5}]},
        {"novelty": {**novelty, "weights": novelty["weights"][1:]}},
        {"novelty": {**novelty, "rows": [1000] * 100}},
    ]
    for change in changes:
        with pytest.raises(UsageError, match="certainty cannot be read"):
            read_certainty({**record, **change}, features)
    with pytest.raises(UsageError, match="'refused' is missing or unknown"):
        read_certainty({name: value for name, value in record.items() if name != "refused"}, features)
    with pytest.raises(UsageError, match="features of the training cases are missing"):
        read_certainty(record)


def test_the_same_generator_gives_the_same_certainty() -> None:
    one, two = fitted(), fitted()
    assert [each.to_json() for each in one.sets] == [each.to_json() for each in two.sets]
    assert one.calibrations[0].to_json() == two.calibrations[0].to_json()


def test_unlabelled_cases_are_left_out() -> None:
    labelled, _ = predictions(100)
    truths = labelled.truths.copy()
    truths[50:] = -1
    half = LabelledPredictions(labelled.probabilities, truths, labelled.patients, labelled.presence)
    certainty = fit_certainty(half, outputs=CLASSES, sequences=SEQUENCES, rng=np.random.default_rng(0))
    assert certainty.calibrations[0].patients == 50
    assert sum(group.patients for group in certainty.sets[0].groups if group.sequences is None) == 50


def test_too_few_patients_answer_with_every_class() -> None:
    certainty = fitted(5)
    answer = certainty.apply(np.array([[0.9, 0.05, 0.05]]), np.array([0]), np.ones((1, 2), dtype=bool))[0]
    assert answer.members == CLASSES
    assert answer.abstained
    assert answer.calibrated == (0.9, 0.05, 0.05)
    assert answer.reason == "No set can be given: 5 calibration patients, 9 are needed."
    assert any("5 patients with a known outcome, 20 are needed" in note for note in certainty.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"alpha": 1.0}, "between 0 and 1"), ({"refused": 0.0}, "between 0 and 1"), ({"score": "raps"}, "no score")],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fitted(30, **options)


def test_arrays_that_do_not_fit_are_refused() -> None:
    labelled, _ = predictions(30)
    given: dict[str, Any] = {"outputs": CLASSES, "sequences": SEQUENCES, "rng": np.random.default_rng(0)}
    with pytest.raises(DataError, match=r"expected \(cases, 2\)"):
        fit_certainty(labelled, **(given | {"outputs": CLASSES[:2]}))
    with pytest.raises(DataError, match="Presence"):
        fit_certainty(labelled, **(given | {"sequences": ("flair",)}))
    wrong = LabelledPredictions(labelled.probabilities, labelled.truths + 3, labelled.patients, labelled.presence)
    with pytest.raises(DataError, match="expected 0 to 2"):
        fit_certainty(wrong, **given)
    for wrong_value in (np.nan, -0.1, 1.1):
        with pytest.raises(DataError, match=r"must lie in \[0, 1\] and not be NaN"):
            fitted().apply(np.full((1, 3), wrong_value), np.array([0]), np.ones((1, 2), dtype=bool))


def test_sets_are_of_probabilities_calibrated_without_their_patient() -> None:
    labelled, _ = predictions(100)
    found = calibrate(labelled.probabilities, labelled.truths, labelled.patients, np.random.default_rng(0))
    expected = fit_sets(
        found.out_of_fold, labelled.truths, labelled.patients, labelled.presence, sequences=SEQUENCES, alpha=0.1
    )
    certainty = fit_certainty(labelled, outputs=CLASSES, sequences=SEQUENCES, rng=np.random.default_rng(0))
    assert certainty.sets[0] == expected
    assert not np.array_equal(found.out_of_fold, found.calibration.apply(labelled.probabilities))
