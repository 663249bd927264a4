"""Splits by patient: what a draw must keep, whatever it is given."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radapt.cohorts import load_cohort
from radapt.cohorts.cohort_file import Fractions
from radapt.cohorts.splits import draw_splits, read_recorded
from radapt.errors import DataError

SHARES = Fractions(0.15, 0.2)


def draw(labels, patients, given=None, seed=0, previous=None, shares=SHARES):  # type: ignore[no-untyped-def]
    words = np.array([""] * len(patients) if given is None else given, dtype=object)
    return draw_splits(labels, np.asarray(patients, dtype=object), words, shares, np.random.default_rng(seed), previous)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_patient_is_never_in_two_splits(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    patients = [f"p{data.draw(st.integers(0, 12))}" for _ in range(n)]
    labels = np.array([data.draw(st.integers(-1, 3)) for _ in range(n)])
    by_patient = {name: data.draw(st.sampled_from(["", "", "train", "test", "ext"])) for name in set(patients)}
    given_words = [by_patient[name] if data.draw(st.booleans()) else "" for name in patients]
    words = draw(labels, patients, given_words, seed=data.draw(st.integers(0, 5)))
    assert all(word == was for word, was in zip(words, given_words, strict=True) if was)
    assert all(len({w for w, p in zip(words, patients, strict=True) if p == name}) == 1 for name in patients)
    assert all(words)
    if "test" in given_words:
        free = {p for p in patients if not any(w for w, q in zip(given_words, patients, strict=True) if q == p)}
        assert not {w for w, p in zip(words, patients, strict=True) if p in free} & {"test"}


def test_shares_and_classes_are_kept() -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice(3, size=2000, p=[0.7, 0.25, 0.05])
    words = draw(labels, [str(at) for at in range(2000)])
    for word, share in (("train", 0.65), ("val", 0.15), ("test", 0.2)):
        assert (words == word).mean() == pytest.approx(share, abs=0.002)
        for label in range(3):
            assert (words[labels == label] == word).mean() == pytest.approx(share, abs=0.02)


def test_findings_are_spread_too() -> None:
    rng = np.random.default_rng(2)
    labels = (rng.random((3000, 4)) < [0.5, 0.1, 0.03, 0.01]).astype(float)
    labels[rng.random(3000) < 0.05] = np.nan
    words = draw(labels, [str(at // 2) for at in range(3000)])
    for finding in range(4):
        positive = labels[:, finding] == 1
        assert (words[positive] == "test").mean() == pytest.approx(0.2, abs=0.05)


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    labels = np.arange(60) % 2
    patients = np.array([f"p{at // 2}" for at in range(60)])
    words = draw(labels, patients)
    order = np.random.default_rng(3).permutation(60)
    np.testing.assert_array_equal(draw(labels[order], patients[order]), words[order])
    assert (draw(labels, patients, seed=1) != words).any()


def test_a_given_val_leaves_the_rest_to_train_and_test() -> None:
    given_words = ["val"] * 20 + [""] * 80
    words = draw(np.arange(100) % 2, [str(at) for at in range(100)], given_words)
    assert (words == "val").sum() == 20
    assert 15 <= (words == "test").sum() <= 25


def test_external_cases_do_not_count() -> None:
    given_words = ["ext"] * 50 + [""] * 100
    words = draw(np.arange(150) % 2, [str(at) for at in range(150)], given_words)
    assert (words == "test").sum() == 20


def test_unlabelled_patients_learn_only() -> None:
    labels = np.where(np.arange(100) < 50, np.arange(100) % 2, -1)
    assert set(draw(labels, [str(at) for at in range(100)])[50:]) == {"train"}
    assert set(draw(np.full(100, -1), [str(at) for at in range(100)])) == {"train", "val", "test"}


def test_few_cases_of_a_class_are_seen_in_train_first() -> None:
    words = draw(np.array([0] * 20 + [1]), [str(at) for at in range(21)])
    assert words[-1] == "train"


def test_the_rarest_finding_is_spread_first() -> None:
    """Everyone has the first finding, ten have the second: spread last, the ten would follow the shares by chance."""
    labels = np.column_stack([np.ones(60), np.arange(60) < 10]).astype(float)
    for seed in range(8):
        words = draw(labels, [str(at) for at in range(60)], seed=seed, shares=Fractions(0.2, 0.2))
        assert [(words[:10] == word).sum() for word in ("train", "val", "test")] == [6, 2, 2]


@pytest.mark.parametrize(("recorded", "drawn"), [("val", "test"), ("test", "val")])
def test_ties_go_to_the_split_that_lacks_most_overall(recorded: str, drawn: str) -> None:
    """The only patient of a class: val and test lack 0.4 of it each, and one of them already has a patient."""
    labels, patients = np.array([0] * 10 + [1]), [str(at) for at in range(11)]
    words = draw(labels, patients, previous={"0": recorded}, shares=Fractions(0.4, 0.4))
    assert words[-1] == drawn


def toy(folder: Path, n: int, seed: int = 0) -> Path:
    rows = [f"c{at},p{at // 2},i.png,{at // 2 % 2}\n" for at in range(n)]
    (folder / "i.png").touch()
    (folder / "cases.csv").write_text("case,patient,image,label\n" + "".join(rows))
    (folder / "cohort.yaml").write_text(f"name: toy\nkind: xray\nsplit: {{seed: {seed}}}\n")
    return folder / "cohort.yaml"


def test_new_patients_do_not_move_old_ones(tmp_path: Path) -> None:
    before = load_cohort(toy(tmp_path, 40))
    assert before.split_seed == 0
    assert (tmp_path / "cohort.splits.csv").read_text().startswith("case,patient,split")
    after = load_cohort(toy(tmp_path, 60))
    np.testing.assert_array_equal(after.splits[:40], before.splits)
    assert {"train", "val", "test"} == set(after.splits[40:]) | {"val", "test", "train"}
    assert (after.splits == "test").sum() > (before.splits == "test").sum()
    np.testing.assert_array_equal(load_cohort(tmp_path / "cohort.yaml").splits, after.splits)


def test_another_seed_draws_anew(tmp_path: Path) -> None:
    before = load_cohort(toy(tmp_path, 40))
    after = load_cohort(toy(tmp_path, 40, seed=5))
    assert (before.splits != after.splits).any()
    np.testing.assert_array_equal(load_cohort(tmp_path / "cohort.yaml").splits, after.splits)


def test_a_word_in_the_table_beats_the_record(tmp_path: Path) -> None:
    cohort = load_cohort(toy(tmp_path, 40))
    patient = next(case.patient for case in cohort if case.split == "train")
    text = (tmp_path / "cases.csv").read_text().splitlines()
    rows = [f"{line},{'held-out' if line.split(',')[1] == patient else ''}" for line in text[1:]]
    (tmp_path / "cases.csv").write_text("\n".join([text[0] + ",split", *rows]))
    again = load_cohort(tmp_path / "cohort.yaml")
    assert {case.split for case in again if case.patient == patient} == {"held-out"}
    assert all(new.split == old.split for new, old in zip(again, cohort, strict=True) if new.patient != patient)


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "case,patient,split\nc0,p0\n", "case,patient,split\nc,p,val\nd,p,test\n"]
)
def test_a_broken_record_is_said(tmp_path: Path, text: str) -> None:
    path = toy(tmp_path, 40)
    (tmp_path / "cohort.splits.csv").write_text(text)
    with pytest.raises(DataError, match=r"cohort\.splits\.csv"):
        load_cohort(path)


def test_a_record_with_a_patient_in_two_splits_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "cohort.splits.csv"
    path.write_text("case,patient,split,seed\nc,p,val,0\nd,q,test,0\ne,p,test,0\n")
    words, (issue,) = read_recorded(path, seed=0)
    assert not words
    assert (issue.code, issue.case, issue.row) == ("patient-split", "e", 4)


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("radapt.cohorts.splits.write_text", refuse)
    assert set(load_cohort(toy(tmp_path, 40)).splits) == {"train", "val", "test"}
