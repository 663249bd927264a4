"""Few-shot draws: nested, by patient, stratified, and decided by seed and repeat alone."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radapt.cohorts.cohort import Case, Cohort
from radapt.cohorts.label_draws import NO_FINDING, Draw, draw_patients, restrict
from radapt.locations import Location

SHOTS = (1, 2, 4, 8, 16)


def cohort_of(
    labels: Sequence[int] | np.ndarray, patients: Sequence[str] | None = None, splits: Sequence[str] | None = None
) -> Cohort:
    """Class indices (-1 unlabelled), or rows of findings with NaN unknown."""
    truth = np.asarray(labels)
    several = truth.ndim == 2
    cases = tuple(
        Case(
            f"c{at}",
            patients[at] if patients else f"p{at:04d}",
            splits[at] if splits else "train",
            {"image": Location(Path(f"{at}.png"))},
            mask=Location(Path(f"{at}-mask.png")),
            label=None if several or truth[at] < 0 else int(truth[at]),
            findings=tuple(None if np.isnan(value) else int(value) for value in truth[at]) if several else (),
        )
        for at in range(len(truth))
    )
    if several:
        names = tuple(f"f{at}" for at in range(truth.shape[1]))
        return Cohort("toy", "other", cases, ("image",), findings=names)
    names = tuple(f"k{at}" for at in range(max(2, int(truth.max()) + 1)))
    return Cohort("toy", "other", cases, ("image",), classes=names)


def imbalanced(n: int = 300) -> Cohort:
    return cohort_of(np.random.default_rng(0).choice(3, n, p=[0.6, 0.3, 0.1]))


def by_repeat(draws: Sequence[Draw]) -> dict[int, list[Draw]]:
    return {repeat: [draw for draw in draws if draw.repeat == repeat] for repeat in {draw.repeat for draw in draws}}


def test_k_patients_of_each_class_nested_and_different_in_each_repeat() -> None:
    cohort = imbalanced()
    draws = draw_patients(cohort, SHOTS, (), repeats=10, seed=0)
    assert [(draw.shots, draw.repeat) for draw in draws] == [(k, repeat) for k in SHOTS for repeat in range(10)]
    label = {case.patient: case.label for case in cohort}
    for draw in draws:
        assert np.bincount([label[name] for name in draw.patients]).tolist() == [draw.shots] * 3
        assert draw.notes == ()
    for nested in by_repeat(draws).values():
        for small, large in pairwise(nested):
            assert set(small.patients) < set(large.patients)
    assert len({draw.patients for draw in draws}) == len(draws)


def test_every_patient_is_as_likely_as_the_others_of_its_class() -> None:
    cohort = cohort_of([0] * 6 + [1] * 3)
    times = dict.fromkeys(cohort.patients, 0)
    for draw in draw_patients(cohort, [1], (), repeats=3000, seed=1):
        for name in draw.patients:
            times[name] += 1
    # 3000 draws of one in six, or in three: standard deviations of 20 and 26.
    assert [times[name] for name in cohort.patients] == pytest.approx([500] * 6 + [1000] * 3, abs=90)


def test_other_sizes_and_more_repeats_change_no_draw() -> None:
    cohort = imbalanced()
    alone = draw_patients(cohort, [4], (), repeats=2, seed=3)
    among = draw_patients(cohort, [16, 1, 4, 4], [0.5], repeats=5, seed=3)
    assert alone == tuple(draw for draw in among if draw.shots == 4 and draw.repeat < 2)
    shares = draw_patients(cohort, (), [0.5], repeats=2, seed=3)
    assert shares == tuple(draw for draw in among if draw.fraction == 0.5 and draw.repeat < 2)


def test_the_seed_decides() -> None:
    first, again, other = (draw_patients(imbalanced(), SHOTS, [0.1], 3, seed) for seed in (0, 0, 1))
    assert first == again
    assert all(one.patients != two.patients for one, two in zip(first, other, strict=True))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_the_cohort_draws_are_nested_by_patient_and_blind_to_the_order_of_rows(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    several = data.draw(st.booleans())
    value = st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=3, max_size=3) if several else st.integers(-1, 3)
    labels = np.asarray([data.draw(value) for _ in range(n)])
    patients = [f"p{data.draw(st.integers(0, 12))}" for _ in range(n)]
    splits = {name: data.draw(st.sampled_from(["train", "train", "val", "test"])) for name in patients}
    order = data.draw(st.permutations(range(n)))
    words = [splits[name] for name in patients]
    cohort = cohort_of(labels, patients, words)
    shuffled = cohort.select(np.asarray(order))
    draws = draw_patients(cohort, [1, 2, 5], [0.2, 0.7, 1.0], repeats=2, seed=data.draw(st.integers(0, 3)))
    assert {draw.repeat for draw in draws} <= {0, 1}
    for draw in draws:
        limited = restrict(cohort, draw)
        known = np.isfinite(limited.labels).any(axis=1) if several else limited.labels >= 0
        train = cohort.splits == "train"
        kept = set(cohort.patients[known & train])
        assert kept == set(draw.patients)  # whole patients, each with a label of its own
        for name in kept:
            mine = train & (cohort.patients == name)
            np.testing.assert_array_equal(limited.labels[mine], cohort.labels[mine])
        np.testing.assert_array_equal(limited.labels[~train], cohort.labels[~train])
    again = draw_patients(shuffled, [1, 2, 5], [0.2, 0.7, 1.0], repeats=2, seed=0)
    assert again == draw_patients(cohort, [1, 2, 5], [0.2, 0.7, 1.0], repeats=2, seed=0)
    for nested in by_repeat(draws).values():
        for kind in ([draw for draw in nested if draw.shots], [draw for draw in nested if draw.fraction]):
            assert all(set(a.patients) <= set(b.patients) for a, b in pairwise(kind))


def test_a_patient_brings_all_its_cases_and_counts_in_each_of_its_classes() -> None:
    #                    a a  b  c  d  d
    cohort = cohort_of([0, 1, 1, 0, -1, 0], ["a", "a", "b", "c", "d", "d"])
    for draw in draw_patients(cohort, [1], (), repeats=20, seed=0):
        # Class k1 is rarer (a, b) and drawn first; a then stands for k0 as well.
        assert draw.patients in (("a",), ("b", "c"), ("a", "b"), ("b", "d"))
        labels = restrict(cohort, draw).labels
        assert (labels[:2] >= 0).all() == ("a" in draw.patients)
        assert labels[4] == -1


def test_a_class_with_fewer_patients_gives_all_it_has_and_says_so() -> None:
    cohort = cohort_of([0] * 9 + [1] * 3, None)
    one, four, sixteen = (draw_patients(cohort, [k], (), repeats=3, seed=0) for k in (1, 4, 16))
    assert one[0].notes == ()
    assert one[0].words == "1 shot"
    assert [note.split(",")[0] for note in four[0].notes] == ["'k1' has 3 labelled training patients"]
    assert sum(name >= "p0009" for name in four[2].patients) == 3
    assert len(sixteen) == 1  # everything is in: another repeat would be the same
    assert sixteen[0].patients == tuple(sorted(cohort.patients))
    assert len(sixteen[0].notes) == 2


def test_each_finding_gets_its_positives_and_as_many_are_without_any() -> None:
    rng = np.random.default_rng(2)
    labels = (rng.random((600, 4)) < [0.3, 0.1, 0.05, 0.02]).astype(float)
    labels[rng.random((600, 4)) < 0.1] = np.nan
    cohort = cohort_of(labels)
    place = {name: at for at, name in enumerate(cohort.patients)}
    draws = draw_patients(cohort, SHOTS, (), repeats=5, seed=0)
    rarest = int((labels == 1).sum(axis=0).argmin())
    for draw in draws:
        assert draw.shots is not None
        taken = labels[[place[name] for name in draw.patients]]
        positives = (taken == 1).sum(axis=0)
        assert (positives >= np.minimum(draw.shots, (labels == 1).sum(axis=0))).all()
        assert positives[rarest] <= draw.shots + 1  # nobody tops up a finding that has enough
        assert (~(taken == 1).any(axis=1)).sum() == draw.shots
        assert len(taken) <= 5 * draw.shots
    few = cohort_of(np.array([[1.0, 0], [1, 1], [0, 1]]))
    assert any(NO_FINDING in note for note in draw_patients(few, [1], (), 1, 0)[0].notes)


def test_shares_keep_the_classes_in_proportion_and_lose_none() -> None:
    cohort = imbalanced(1000)
    sizes = np.bincount(cohort.labels)
    draws = draw_patients(cohort, (), [0.01, 0.1, 1.0], repeats=4, seed=0)
    assert [(draw.fraction, draw.repeat) for draw in draws] == [
        *((0.01, at) for at in range(4)), *((0.1, at) for at in range(4)), (1.0, 0),
    ]  # fmt: skip
    label = {case.patient: case.label for case in cohort}
    for draw in draws:
        kept = np.bincount([label[name] for name in draw.patients], minlength=3)
        np.testing.assert_array_equal(kept, np.maximum(1, np.floor(np.asarray(draw.fraction) * sizes + 0.5)))
    assert draws[0].words == "1 % of labels"
    rare = cohort_of([0] * 200 + [1] * 10)
    tiny = draw_patients(rare, (), [0.01], 1, 0)[0]
    assert len(tiny.patients) == 3
    assert tiny.notes == ("'k1' keeps 1 patient, more than the share, so that it is not lost.",)


def test_restrict_blanks_labels_and_findings_of_undrawn_training_cases_only() -> None:
    cohort = cohort_of([0, 1, 0, 1, 0, 1], None, ["train", "train", "train", "val", "test", "external"])
    limited = restrict(cohort, Draw(1, None, 0, ("p0000", "p0001")))
    assert limited.labels.tolist() == [0, 1, -1, 1, 0, 1]
    assert not any(case.mask is None for case in limited)
    assert [case.images for case in limited] == [case.images for case in cohort]
    assert limited.classes == cohort.classes
    findings = restrict(cohort_of(np.array([[1.0, 0], [0, 1]])), Draw(1, None, 0, ("p0000",)))
    assert findings.cases[1].findings == (None, None)
    assert findings.task == "multilabel"


def test_labels_of_val_and_test_and_unlabelled_cases_decide_no_draw() -> None:
    splits = ["train"] * 30 + ["val"] * 10 + ["test"] * 10
    labels = np.tile([0, 1], 25)
    changed = labels.copy()
    changed[30:] = 1 - changed[30:]
    same = [draw_patients(cohort_of(each, None, splits), SHOTS, [0.3], 2, 0) for each in (labels, changed)]
    assert same[0] == same[1]
    more = cohort_of([*labels, -1, -1], None, [*splits, "train", "train"])
    assert draw_patients(more, SHOTS, [0.3], 2, 0) == same[0]


def test_nothing_labelled_in_train_draws_nobody() -> None:
    draws = draw_patients(cohort_of([-1, -1, 0, 1], None, ["train", "train", "val", "test"]), [1, 2], [0.5], 3, 0)
    assert [draw.patients for draw in draws] == [(), (), ()]
