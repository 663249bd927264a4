"""Inner folds that leave out whole hospitals where the cohort leaves hospitals out in turn."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from radapt.cohorts.fold_rule import FoldRule
from radapt.cohorts.folds import hold_out, in_folds
from radapt.errors import UsageError
from radapt.metrics import mcc
from radapt.protocols import FeatureProblem, evaluate
from radapt.protocols.choice import ChoiceRules, InnerFolds
from toy_features import ArrayFeatures, make_features

BY_SITE = FoldRule(by_site=True)


def by_site(features: ArrayFeatures, sites: np.ndarray, rule: FoldRule = BY_SITE) -> ArrayFeatures:
    """The features in a cohort that leaves each of `sites` (N,) out in turn."""
    cases = tuple(replace(case, site=str(site)) for case, site in zip(features.cohort, sites, strict=True))
    folds = [rule.merge.get(str(site), str(site)) for site in sites]
    return replace(features, cohort=in_folds(replace(features.cohort, cases=cases), folds, rule))


def of_sites(count: int, patients: int = 8, seed: int = 0, rule: FoldRule = BY_SITE) -> ArrayFeatures:
    sites = np.repeat([f"s{number:02}" for number in range(count)], patients)
    labels = np.tile([0, 1], len(sites) // 2)
    return by_site(make_features(labels, np.full(len(sites), "train"), signal=0.5, seed=seed), sites, rule)


def drawn(features: Any, folds: int = 5, by: str = "auto") -> InnerFolds:
    problem = FeatureProblem.of(features, rules=ChoiceRules(inner_folds=by))
    return problem.inner_folds(folds, np.random.default_rng(0))


def with_site_artefact() -> ArrayFeatures:
    """Five hospitals of 16. The last layer has a weak sign of the class. The layer before has one column for each
    hospital that gives the class away there, and the opposite elsewhere: worth much among patients of hospitals that
    were seen, and misleading at another one."""
    rng = np.random.default_rng(1)
    sites, labels = np.repeat(np.arange(5), 16), np.tile([0, 1], 40)
    features = make_features(labels, np.full(80, "train"), width=5, signal=0.0)
    sign = 2.0 * labels - 1
    values = rng.normal(size=features.values.shape).astype(np.float32)
    before, last = (next(s for s in features.segments if (s.layer, s.kind) == (at, "cls")) for at in (-2, -1))
    artefact = np.where(sites[:, None] == np.arange(5), 6.0, -1.0) * sign[:, None]
    values[:, 0, before.start : before.stop] = artefact + 0.1 * rng.normal(size=artefact.shape)
    values[:, 0, last.start] += 1.2 * sign
    return by_site(replace(features, values=values), sites)


def test_folds_by_hospital_choose_what_holds_at_another_hospital() -> None:
    features = with_site_artefact()
    plain = replace(features, cohort=hold_out(features.cohort, "0"))

    def chosen(by: str) -> tuple[int, float]:
        result = evaluate(plain, "logistic", resamples=0, blocks=(1, 2), C=(0.1,), patch_mean=False, inner_folds=by)
        tested = result.predictions.query("split == 'oof'")
        right = mcc((tested["truth"] == "k1").to_numpy(int), (tested["p_k1"] > 0.5).to_numpy(int))
        return result.fit.candidates[result.fit.chosen].options["blocks"], float(right)

    mixed, misled = chosen("patient")
    whole, right = chosen("auto")
    assert (mixed, whole) == (2, 1)
    assert misled < 0 < 0.5 < right


def test_each_hospital_is_left_out_in_turn_and_is_never_on_both_sides() -> None:
    features = of_sites(5, rule=FoldRule(by_site=True, merge={"s04": "s03"}))
    plain = replace(features, cohort=hold_out(features.cohort, "s00"))
    folds = drawn(plain)
    assert [len(repeat) for repeat in folds.repeats] == [3]
    assert folds.words == "3 inner folds that leave out each group of 'site' in turn"
    sites = np.asarray([case.site for case in plain.cohort])
    held = [set(sites[fold.held_out]) for fold in folds.repeats[0]]
    assert held == [{"s01"}, {"s02"}, {"s03", "s04"}]
    for fold, own in zip(folds.repeats[0], held, strict=True):
        assert not set(sites[fold.train]) & own
        assert set(sites[fold.train]) == {"s01", "s02", "s03", "s04"} - own
    assert "s00" not in set().union(*held)


def test_many_hospitals_are_dealt_whole_into_folds() -> None:
    features = of_sites(13, patients=4)
    plain = replace(features, cohort=hold_out(features.cohort, "s00"))
    folds, networks = drawn(plain), drawn(plain, 3)
    assert (folds.folds, len(folds.repeats)) == (5, 3)
    assert folds.words == "5 inner folds of whole groups of 'site', drawn 3 times"
    assert networks.folds == 3
    sites = np.asarray([case.site for case in plain.cohort])
    for repeat in (*folds.repeats, *networks.repeats):
        np.testing.assert_array_equal(np.sort(np.concatenate([fold.held_out for fold in repeat])), folds.rows)
        for fold in repeat:
            assert not set(sites[fold.train]) & set(sites[fold.held_out])
    first, second = ([set(sites[fold.held_out]) for fold in repeat] for repeat in folds.repeats[:2])
    assert first != second


@pytest.mark.parametrize("case", ["two hospitals", "one class elsewhere", "two hospitals of a patient"])
def test_where_hospitals_cannot_be_left_out_folds_mix_them_and_say_so(case: str) -> None:
    features = of_sites(3 if case == "two hospitals" else 4)
    cases = list(features.cohort)
    if case == "one class elsewhere":  # class 1 is at s01 alone among the hospitals left
        cases = [replace(one, label=int(one.site in ("s00", "s01") and at % 2)) for at, one in enumerate(cases)]
    if case == "two hospitals of a patient":
        cases[-1] = replace(cases[-1], patient=cases[8].patient)
    cohort = hold_out(replace(features.cohort, cases=tuple(cases)), "s00")
    plain = replace(features, cohort=cohort)
    folds, by_patient = drawn(plain), drawn(plain, by="patient")
    why = {
        "two hospitals": "2 groups in train and val, and 3 are needed",
        "one class elsewhere": "not every class would be left to learn from without one of them",
        "two hospitals of a patient": "a patient is in two of them",
    }[case]
    assert folds.mixed == f"Inner folds mix the groups of 'site': {why}."
    assert "by patient" in folds.words
    assert by_patient.mixed == ""
    for left, right in zip(folds.repeats, by_patient.repeats, strict=True):
        for one, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(one.held_out, other.held_out)
    noted = evaluate(plain, "knn", resamples=0).fit.notes
    assert folds.mixed in noted


def test_folds_that_were_drawn_by_patient_stay_as_they_were() -> None:
    features = of_sites(5)
    random = replace(features, cohort=replace(features.cohort, fold_rule=FoldRule(count=5)))
    plain = replace(random, cohort=hold_out(random.cohort, "s00"))
    auto, asked = drawn(plain), drawn(plain, by="patient")
    assert (auto.folds, len(auto.repeats), auto.mixed) == (5, 3, "")
    for left, right in zip(auto.repeats, asked.repeats, strict=True):
        for one, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(one.train, other.train)


def test_findings_are_left_out_by_hospital_too() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((64, 2)) < 0.5).astype(float)
    labels[::5, 1] = np.nan
    features = by_site(make_features(labels, np.full(64, "train")), np.repeat(np.arange(4), 16))
    folds = drawn(replace(features, cohort=hold_out(features.cohort, "0")))
    assert (folds.folds, folds.mixed) == (3, "")


def test_a_column_is_named_or_refused() -> None:
    features = of_sites(4)
    cases = [replace(one, metadata={"scanner": f"m{at % 3}"}) for at, one in enumerate(features.cohort)]
    plain = replace(features, cohort=hold_out(replace(features.cohort, cases=tuple(cases)), "s00"))
    folds = drawn(plain, by="scanner")
    scanners = np.asarray([case.metadata["scanner"] for case in plain.cohort])
    assert [set(scanners[fold.held_out]) for fold in folds.repeats[0]] == [{"m0"}, {"m1"}, {"m2"}]
    with pytest.raises(UsageError, match=r"inner_folds = 'scaner' is no column of cohort 'toy'.*'scanner'"):
        evaluate(plain, "knn", resamples=0, inner_folds="scaner")
