"""Columns that the features tell and the label follows: planted ones are flagged, others are not."""

import numpy as np
import pytest

from radapt.metrics import auroc
from radapt.metrics.subgroups import Groups
from radapt.probes.shortcuts import LabelledCases, ProbedCases, Shortcut, find_shortcuts
from radapt.probes.shortcuts.association import rates_out_of_fold
from radapt.probes.shortcuts.readability import GroupTarget, out_of_fold
from radapt.probes.shortcuts.strata import overlap_weights, strata

PATIENTS = 120


class Matrix:
    def __init__(self, values: np.ndarray) -> None:
        self._values, self.columns = values, values.shape[1]

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return self._values[rows]


def search(
    seed: int, *, told: bool, followed: bool, findings: int = 0, groups: int = 2
) -> tuple[Shortcut, ProbedCases]:
    """Two images of each patient; the label always shifts the features."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(PATIENTS), 2)
    group = rng.integers(0, groups, PATIENTS)
    label = (rng.random(PATIENTS) < np.where(group == 1, 0.8, 0.2) if followed else rng.random(PATIENTS) < 0.5).astype(
        int
    )
    values = rng.normal(size=(PATIENTS, 20))
    values[:, 0] += 2 * label
    values[:, 1 : 1 + groups] += 4 * told * np.eye(groups)[group]
    images = (values[patients] + 0.3 * rng.normal(size=(2 * PATIENTS, 20))).astype(np.float32)
    labels, outputs = label[patients], ("well", "ill")
    if findings:
        others = rng.random((PATIENTS, findings - 1)) < 0.3
        labels = np.concatenate([label[:, None], others], axis=1).astype(float)[patients]
        outputs = tuple(f"f{at}" for at in range(findings))
    cases = ProbedCases(lambda rows: Matrix(images), np.arange(2 * PATIENTS), LabelledCases(labels, outputs, patients))
    names = tuple(f"g{at}" for at in range(groups))
    column = Groups("view", np.asarray(names, dtype=object)[group[patients]], names)
    (found,) = find_shortcuts(cases, [column], rng=np.random.default_rng(0), resamples=200)
    return found, cases


@pytest.mark.parametrize("findings", [0, 3])
@pytest.mark.parametrize("groups", [2, 3])
def test_a_planted_shortcut_is_flagged(findings: int, groups: int) -> None:
    found, _ = search(1, told=True, followed=True, findings=findings, groups=groups)
    assert found.is_shortcut
    assert found.readable > 0.9
    assert found.readable_low > 0.5
    assert found.strongest == ("f0" if findings else "ill")
    assert found.strongest_value > 0.6
    assert (found.n_groups, found.n_patients, found.n_cases) == (groups, PATIENTS, 2 * PATIENTS)


def test_what_the_features_tell_without_the_label_following_is_none() -> None:
    found, _ = search(2, told=True, followed=False)
    assert found.readable > 0.9
    assert not found.is_shortcut


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_what_the_features_tell_only_by_the_label_is_none(seed: int) -> None:
    found, _ = search(seed, told=False, followed=True)
    assert found.strongest_low > 0.6
    assert not found.is_shortcut  # told through the label alone, which strata take out


def test_a_column_that_repeats_the_label_cannot_be_told_from_it() -> None:
    _, cases = search(1, told=True, followed=True)
    names = np.asarray(["no", "yes"], dtype=object)[cases.labelled.labels]
    (found,) = find_shortcuts(cases, [Groups("copy", names, ("no", "yes"))], rng=np.random.default_rng(0), resamples=50)
    assert np.isnan(found.readable)
    assert found.label == 1
    assert not found.is_shortcut


def test_groups_of_few_patients_and_single_groups_are_left_out() -> None:
    _, cases = search(1, told=True, followed=True)
    few = np.where(cases.labelled.patients < 9, "few", "many").astype(object)
    assert find_shortcuts(cases, [Groups("x", few, ("few", "many"))], rng=np.random.default_rng(0), resamples=50) == ()


def test_answers_are_of_probes_that_saw_none_of_the_patient() -> None:
    rng = np.random.default_rng(0)
    rows, seen = np.arange(40), []

    def source(training: np.ndarray) -> Matrix:
        seen.append(set(training.tolist()))
        return Matrix(values)

    values = rng.normal(size=(40, 5)).astype(np.float32)
    target = GroupTarget("x", (np.arange(40) % 2).astype(float), np.zeros(40, dtype=np.int64))
    folds = [rows % 4 == fold for fold in range(4)]
    first = out_of_fold(source, rows, [target], folds)
    assert seen == [set(rows[~fold].tolist()) for fold in folds]
    turned = GroupTarget("x", np.where(folds[0], 1 - target.member, target.member), target.strata)
    second = out_of_fold(source, rows, [turned], folds)
    assert np.array_equal(first[folds[0]], second[folds[0]])  # the fold's own groups do not enter
    assert not np.array_equal(first[folds[1]], second[folds[1]])


def test_rates_are_those_of_the_other_folds() -> None:
    truth = np.array([1, 1, 0, 0, 1, 0], dtype=float)
    groups = np.array(["a", "a", "b", "b", "a", "b"], dtype=object)
    rates = rates_out_of_fold(truth, groups, [np.arange(6) < 3, np.arange(6) >= 3])
    assert float(auroc(truth, rates)) == 1
    unknown = rates_out_of_fold(truth, np.where(groups == "a", "", groups).astype(object), [np.arange(6) < 3])
    assert (unknown[groups == "a"] == 0).all()


def test_weights_make_strata_alike() -> None:
    strata_of = np.repeat([0, 1], 50)
    member = np.concatenate([np.arange(50) < 40, np.arange(50) < 10]).astype(float)
    weights = overlap_weights(member, strata_of)
    inside = [weights[(strata_of == s) & (member == 1)].sum() for s in (0, 1)]
    outside = [weights[(strata_of == s) & (member == 0)].sum() for s in (0, 1)]
    assert inside == pytest.approx(outside)
    assert weights.mean() == pytest.approx(1)


def test_findings_are_joined_into_bins() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((500, 4)) < 0.4).astype(float)
    labels[::7, 2] = np.nan
    member = (rng.random(500) < np.where(labels[:, 0] == 1, 0.8, 0.2)).astype(float)
    found = strata(labels, member)
    assert 2 <= len(set(found.tolist())) <= 10
    for stratum in set(found.tolist()):
        assert labels[found == stratum, 0].mean() in (0, 1)
