"""A method that chooses nothing is scored inside training, if the study asks for it."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import matthews_corrcoef, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

import radapt
from radapt.cohorts import load_cohort
from radapt.cohorts.cohort import Cohort
from radapt.cohorts.folds import OUT_OF_FOLD
from radapt.errors import UsageError
from radapt.protocols import FeatureProblem, Machine, make
from radapt.protocols.choice import ChoiceRules
from radapt.protocols.fit import fit
from radapt.protocols.fitted import Fitted
from radapt.protocols.own_estimator import OwnEstimator
from radapt.studies import read_study
from radapt.studies.selection import inner_score
from toy_features import ArrayFeatures, make_features
from toy_study import write_cohort, write_study

ALL = ChoiceRules(inner_scores="all", decision="argmax")


@dataclass(frozen=True)
class Watched(OwnEstimator):
    """Keeps the cohorts that it was fitted on."""

    name: ClassVar[str] = "watched"
    estimator: Any = field(default_factory=lambda: KNeighborsClassifier(1))
    seen: list[Cohort] = field(default_factory=list)

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted[Any]:
        self.seen.append(problem.cohort)
        return super().fit(problem, rng)


def two_films_each(signal: float) -> ArrayFeatures:
    """45 patients with two films, of two classes; every third patient is tested."""
    rng, patients = np.random.default_rng(0), np.repeat(np.arange(45), 2)
    splits = np.asarray(["train", "train", "test"])[patients % 3]
    return make_features(rng.integers(0, 2, 45)[patients], splits, patients=patients, signal=signal)


def test_it_is_scored_by_models_that_had_not_seen_the_patient() -> None:
    features, protocol = two_films_each(0.5), Watched()
    problem = FeatureProblem.of(features, rules=ALL)  # type: ignore[arg-type]
    fitted = fit(protocol, problem, np.random.default_rng(0))
    whole, *inner = protocol.seen
    assert len(inner) == 3
    assert (whole.splits == OUT_OF_FOLD).sum() == 0
    held = [set(each.patients[each.splits == OUT_OF_FOLD]) for each in inner]
    assert sorted(patient for own in held for patient in own) == sorted(set(whole.patients[whole.splits == "train"]))
    for each, own in zip(inner, held, strict=True):
        assert not own & set(each.patients[each.splits == "train"])
        assert (each.labels[each.splits == OUT_OF_FOLD] == -1).all()
    learned = np.flatnonzero(whole.splits == "train")
    labels, answers = whole.labels[learned], fitted.before_refit.predict(learned)
    scores = fitted.record.winner.val
    assert scores["mcc"] == pytest.approx(matthews_corrcoef(labels, answers.argmax(axis=1)))
    assert scores["auroc"] == pytest.approx(roc_auc_score(labels, answers[:, 1]))
    assert (fitted.final.predict(learned).argmax(axis=1) == labels).all(), "its nearest neighbour is the film itself"
    assert scores["mcc"] < 0.9
    assert (fitted.record.cases.val_source, fitted.record.cases.val, fitted.record.cases.folds) == ("folds", 60, 3)
    assert any("fitted again on 3 inner folds by patient: MCC" in note for note in fitted.record.notes)


@pytest.mark.parametrize("rules", [ChoiceRules(), replace(ALL, choose="val")])
def test_it_is_fitted_once_where_nothing_is_asked_or_val_chooses(rules: ChoiceRules) -> None:
    features, protocol = two_films_each(0.5), Watched()
    if rules.choose == "val":
        cases = tuple(replace(case, split="val") if row % 6 < 2 else case for row, case in enumerate(features.cohort))
        features = replace(features, cohort=replace(features.cohort, cases=cases))
    problem = FeatureProblem.of(features, rules=rules)  # type: ignore[arg-type]
    fitted = fit(protocol, problem, np.random.default_rng(0))
    assert len(protocol.seen) == 1
    assert fitted.record.winner.val == {}


def test_what_was_chosen_has_its_score_already() -> None:
    features = two_films_each(0.5)
    problem = FeatureProblem.of(features, rules=ALL)  # type: ignore[arg-type]
    protocol = make("logistic", C=[0.01, 0.1], blocks=1)
    found = [
        fit(protocol, each, np.random.default_rng(0))
        for each in (problem, replace(problem, rules=replace(ALL, inner_scores="chosen")))
    ]
    assert found[0].record == found[1].record


def test_a_fusion_has_the_same_answers_and_a_score(tmp_path: Path) -> None:
    cohort = load_cohort(write_cohort(tmp_path / "discs", patients=24))
    vit = radapt.load_backbone("timm:test_vit", "random")
    small = {"epochs": 1, "members": 1, "width": 32, "depth": 1, "grid": 2, "slices": 1}
    found = [
        radapt.train(
            cohort, "mmdino", vit, size=32, cache=tmp_path / "cache", machine=Machine(folder=tmp_path / rule),
            resamples=0, choose="cv", inner_scores=rule, trained="fusion", fusion=small,
        )
        for rule in ("chosen", "all")
    ]  # fmt: skip
    tested = [one.predictions[one.predictions["split"] != "val"] for one in found]
    pd.testing.assert_frame_equal(*tested, check_exact=True)
    facts = [{"fit": one.fits[0].to_json()} for one in found]
    assert math.isnan(inner_score(facts[0], "mcc"))
    assert -1 <= inner_score(facts[1], "mcc") <= 1
    assert not list(tmp_path.rglob("inner-*")), "what the inner trainings kept"


def test_a_study_passes_it_on_and_keeps_its_cells_where_it_is_not_asked(tmp_path: Path) -> None:
    paths = [write_cohort(tmp_path / "discs", patients=8)]
    plain = read_study(write_study(tmp_path, paths))
    asked = read_study(write_study(tmp_path, paths, inner_scores="all"))
    assert asked.choices == plain.choices | {"inner_scores": "all"}
    with pytest.raises(UsageError, match="inner_scores"):
        read_study(write_study(tmp_path, paths, inner_scores="every"))
    with pytest.raises(UsageError, match="inner_scores = 'every' is not known"):
        ChoiceRules(inner_scores="every")  # type: ignore[arg-type]
