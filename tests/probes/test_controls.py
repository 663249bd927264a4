"""The controls: what they learn from, what they must not see, and what they reach."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import radapt
from radapt.cohorts.cohort import Cohort
from radapt.cohorts.fold_rule import FoldRule
from radapt.cohorts.folds import in_folds
from radapt.cohorts.metadata import age_and_sex, metadata_columns, varied_columns
from radapt.errors import UsageError
from radapt.images import Recipe
from radapt.probes.controls.image_numbers import NAMES, first_order
from radapt.probes.controls.shuffled_labels import shuffled
from radapt.protocols import Machine, Result, make
from toy_features import make_features
from toy_images import discs, image_cohort

SPLITS = ("train", "train", "train", "test")


def aged(folder: Path, n: int = 60, *, signal: bool = True, images: bool = False) -> Cohort:
    """Patients who are ill from about 55 on, if there is a signal; images of noise, or with a disc where one is ill."""
    rng = np.random.default_rng(3)
    ages = rng.permutation(np.linspace(20, 90, n))
    ill = (ages + rng.normal(0, 5, n) > 55).astype(int) if signal else rng.integers(0, 2, n)
    pictures = [{"image": discs(rng, int(label) if images else 0, slices=1)} for label in ill]
    cohort = image_cohort(folder, pictures, ill, [SPLITS[row % 4] for row in range(n)])
    sexes = rng.permutation(["F", "M"] * (n // 2))
    cases = tuple(
        replace(case, metadata={"age": f"{age:.0f}", "sex": sex}, site=f"s{row % 3}")
        for row, (case, age, sex) in enumerate(zip(cohort, ages, sexes, strict=True))
    )
    return replace(cohort, cases=cases)


def ran(cohort: Cohort, cache: Path, name: str = "metadata", resamples: int = 0, **options: Any) -> Result:
    return radapt.train(cohort, make(name, **options), size=16, cache=cache, resamples=resamples)


def auroc(result: Result) -> float:
    scores = result.scores
    return float(scores.loc[(scores["metric"] == "auroc") & scores["split"].isin(["test", "oof"]), "value"].iloc[0])


def notes_of(result: Result) -> str:
    return " ".join(note for fit in result.fits for note in fit.notes)


def test_metadata_find_what_depends_on_age(tmp_path: Path) -> None:
    cohort = aged(tmp_path / "i")
    assert auroc(ran(cohort, tmp_path / "c")) > 0.9
    assert auroc(ran(cohort, tmp_path / "c", columns=("sex",))) < 0.75
    assert auroc(ran(cohort, tmp_path / "c", without=("age",))) < 0.75
    assert auroc(ran(cohort, tmp_path / "c", "first-order")) < 0.75


def test_brightness_finds_a_bright_disc(tmp_path: Path) -> None:
    cohort = aged(tmp_path / "i", signal=False, images=True)
    assert auroc(ran(cohort, tmp_path / "c", "first-order")) > 0.95
    assert auroc(ran(cohort, tmp_path / "c")) < 0.8


@pytest.mark.parametrize("folds", [False, True])
def test_what_is_held_out_decides_nothing_about_another_case(tmp_path: Path, folds: bool) -> None:
    cohort = aged(tmp_path / "i", 48)
    if folds:
        cohort = in_folds(cohort, [str(row % 3) for row in range(48)])
    held = [row for row, case in enumerate(cohort) if (case.fold == "1" if folds else case.split == "test")]
    others = [
        replace(case, metadata={"age": "", "sex": "X"}, site="far", label=1 - (case.label or 0))
        if row in held[1:]
        else case
        for row, case in enumerate(cohort)
    ]
    changed = replace(cohort, cases=tuple(others))
    first, second = (ran(each, tmp_path / "c").predictions.set_index("case") for each in (cohort, changed))
    name = cohort.cases[held[0]].case
    assert first.loc[name].filter(like="p_").tolist() == second.loc[name].filter(like="p_").tolist()
    assert not first.filter(like="p_").equals(second.filter(like="p_"))


def test_the_site_is_left_out_where_each_is_held_out_in_turn(tmp_path: Path) -> None:
    cohort = aged(tmp_path / "i", 48)
    sites = [case.site for case in cohort]
    by_site = in_folds(cohort, sites, FoldRule(by_site=True))
    assert metadata_columns(by_site) == ("age", "sex", "site")
    assert varied_columns(by_site) == ("age", "sex")
    assert any(
        "'site' left out: each site is held out" in note
        for fit in ran(by_site, tmp_path / "c").fits
        for note in fit.notes
    )
    drawn = in_folds(cohort, [str(row % 3) for row in range(48)], FoldRule(count=3))
    assert not any("'site'" in note for fit in ran(drawn, tmp_path / "c").fits for note in fit.notes)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no metadata column 'aeg'\. Did you mean 'age'"):
        ran(aged(tmp_path / "i", 12), tmp_path / "c", columns=("aeg",))


def test_finished_folds_are_fitted_again_where_metadata_changed(tmp_path: Path) -> None:
    cohort = in_folds(aged(tmp_path / "i", 36), [str(row % 3) for row in range(36)])
    other = replace(cohort, cases=tuple(replace(case, metadata={"age": "50", "sex": "F"}) for case in cohort))
    machine = Machine(folder=tmp_path / "cell")
    results = [
        radapt.train(each, "metadata", size=16, cache=tmp_path / "c", machine=machine, resamples=0).predictions
        for each in (cohort, cohort, other)
    ]
    assert results[0].equals(results[1])
    assert not results[0].filter(like="p_").equals(results[2].filter(like="p_"))


def test_age_and_sex_are_known_by_their_usual_names(tmp_path: Path) -> None:
    cohort = aged(tmp_path / "i", 8)
    names = [("age", "sex"), ("Patient Age", "Patient Gender"), ("AGE_years", "GENDER"), ("Age [y]", "Sex (m/f)")]
    names += [("Age (months)", "name")]
    found = []
    for old, sex in names:
        cases = tuple(replace(case, metadata={old: "5", sex: "F"}) for case in cohort)
        found.append(age_and_sex(replace(cohort, cases=cases)))
    assert found == [*names[:4], (None, None)]


def test_shuffled_labels_are_at_chance() -> None:
    labels = np.random.default_rng(1).integers(0, 2, 240)
    splits = np.asarray([SPLITS[row % 4] for row in range(240)])
    features = make_features(labels, splits, signal=3.0)
    assert auroc(radapt.evaluate(features, "logistic", resamples=0)) > 0.95  # type: ignore[arg-type]
    found = radapt.evaluate(features, "shuffled-labels", resamples=500)  # type: ignore[arg-type]
    row = found.scores[(found.scores["metric"] == "mcc") & (found.scores["split"] == "test")].iloc[0]
    assert row["ci_low"] < 0 < row["ci_high"]


def test_labels_are_shuffled_by_patient_inside_their_split() -> None:
    labels, patients = np.repeat(np.arange(40) % 2, 2), np.repeat(np.arange(40), 2)
    splits = np.where(patients < 20, "train", np.where(patients < 30, "val", "test"))
    cohort = make_features(labels, splits, patients=patients).cohort
    mixed = shuffled(cohort, np.random.default_rng(0)).labels
    assert (mixed.reshape(-1, 2)[:, 0] == mixed.reshape(-1, 2)[:, 1]).all()
    for split in ("train", "val"):
        own = splits == split
        assert np.bincount(mixed[own]).tolist() == np.bincount(labels[own]).tolist()
        assert (mixed[own] != labels[own]).any()
    assert (mixed[splits == "test"] == labels[splits == "test"]).all()


@pytest.mark.parametrize("name", ["bitfit", "fewshot", "shuffled-labels"])
def test_only_probes_are_shuffled(name: str) -> None:
    with pytest.raises(UsageError, match="a probe of stored features"):
        make("shuffled-labels", protocol=name)


def test_first_order_numbers_of_a_square() -> None:
    planes = np.zeros((2, 1, 10, 10), dtype=np.uint8)
    planes[0, 0, 2:6, 1:9] = 100
    planes[0, 0, 2:6, 1:5] = 200
    dark = Recipe.for_kind("other", 10).dark_levels(1)
    found = dict(zip(NAMES, first_order(planes, dark), strict=True))
    assert (found["mean"], found["sd"], found["p5"], found["p95"], found["mad"]) == (150, 50, 100, 200, 50)
    assert (found["skewness"], found["entropy"], found["uniformity"]) == (0, 1, 0.5)
    assert (found["area"], found["area max"], found["planes"]) == (pytest.approx(0.16), 0.32, 2)
    assert (found["height"], found["width"], found["centre y"], found["centre x"]) == (0.4, 0.8, 0.4, 0.5)
    assert found["compactness"] == pytest.approx(4 * np.pi * 32 / 24**2)
    assert found["mean of all"] == pytest.approx(32 * 150 / 200)


def test_an_image_without_foreground_has_numbers() -> None:
    found = dict(zip(NAMES, first_order(np.full((1, 3, 4, 4), 5, np.uint8), np.full(3, 25)), strict=True))
    assert (found["mean"], found["area"], found["kurtosis"], found["planes"]) == (5, 0, 0, 1)
