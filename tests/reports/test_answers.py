"""What the first screen says: every branch of every sentence, from hand-made numbers."""
# ruff: noqa: E501  sentences stay in one piece

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from radapt.metrics.comparison import Difference, Draws, Verdict
from radapt.reports.answers.answering import Answering
from radapt.reports.answers.choice import adapting_pair, choose, is_adapted, is_frozen, row_of
from radapt.reports.answers.elsewhere import sites_answer
from radapt.reports.answers.joined import (
    columns_of,
    images_alone,
    joined_answer,
    joined_differences,
    reads_both,
    reads_only,
)
from radapt.reports.answers.paired import (
    adapting_answer,
    chance_of,
    control_answer,
    next_answer,
    paired_numbers,
    shuffled_sentence,
)
from radapt.reports.answers.record import BoardAnswers, NamedValue, PairedNumbers
from radapt.reports.answers.result import limits_answer, percent, result_answer
from radapt.reports.board_comparisons import compare_board
from radapt.reports.cell_scores import CellScore
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow, leaderboards
from radapt.reports.methods import Method
from radapt.reports.run_folder import NO_NETWORK, CellRecord, read_run

NAN = float("nan")


def row(name: str, value: float = 0.8, low: float = 0.7, high: float = 0.9, *, backbone: str = "dino", patients: int = 90,
        control: str = "", **facts: Any) -> LeaderboardRow:  # fmt: skip
    cell = CellRecord(name, Path("cells"), {"protocol": name, "aim": "classification", **facts}, done={})
    method = Method(f"{backbone} {name}", "lgg", backbone, name, facts.get("shots"), (cell,), control=control)
    return LeaderboardRow(method, (CellScore(name, 0, None, value, low, high, patients, patients, 0, 0),))


def board(*rows: LeaderboardRow, split: str = "test", metric: str = "auroc", **more: Any) -> Leaderboard:
    return Leaderboard("lgg", split, {metric: rows}, {}, {}, **more)


def said(given: Leaderboard, *others: Leaderboard, metric: str = "auroc") -> BoardAnswers:
    return Answering(given, [given, *others]).of(metric)


def paired(gain: float, low: float, high: float, verdict: Verdict = "undecided", **more: Any) -> PairedNumbers:
    numbers = PairedNumbers("dino with lora", "resnet with knn", 0.75, gain, low, high, 0.2, 0.4, 3, 90, 0.06, verdict)
    return replace(numbers, **more)


# ---- which method, and how good -----------------------------------------------------------------------------------


def test_val_chooses_and_the_test_set_reports() -> None:
    val = board(row("knn", 0.6), row("lora", 0.4), split="val", metric="mcc")
    found = said(board(row("lora", 0.9), row("knn", 0.8)), val)
    assert found.method == "dino with knn"
    assert (found.chosen_by, found.methods, found.value) == ("val", 2, 0.8)
    assert found.answers[0].text == (
        "Of 2 methods, dino with knn was best on the validation patients (by MCC). On the 90 test patients of lgg, whom "
        "it had not seen, its AUROC is 0.800 (95 % interval 0.700 to 0.900)."
    )
    assert not found.weak


def test_inner_folds_choose_where_there_is_no_val() -> None:
    def fit(value: float) -> dict[str, Any]:
        candidate = {"options": {}, "val": {"mcc": value}, "best_epoch": None, "epochs": None, "steps": None}
        return {
            "candidates": [candidate | {"diverged": None}], "chosen": 0, "criterion": "mcc",
            "cases": {"train": 9, "val": 9, "val_source": "folds", "refit": None, "folds": 5, "repeats": 1},
            "cost": {"trained": 1, "parameters": 1, "peak_memory_mb": 1.0, "seconds": 1.0},
            "history": [], "notes": [], "notes_before_refit": [], "details": {}, "draw": None, "decision": None,
        }  # fmt: skip

    rows = row("knn", 0.9, folds={"a": fit(0.1), "b": fit(0.3)}), row("linear", 0.8, folds={"a": fit(0.5)})
    facts = {"folds": {"rule": {"by": "site"}}}
    found = said(board(*rows, split="oof", cohort_facts=facts))
    assert found.answers[0].text.startswith(
        "Of 2 methods, dino with linear was best in cross-validation of the training patients (by MCC). Over 90 "
        "patients, each tested by a model that had not seen that hospital or site, its AUROC is 0.800"
    )
    other = said(board(*rows, split="oof"))
    assert "had not seen that patient, its AUROC" in other.answers[0].text


@pytest.mark.parametrize(
    ("gain", "low", "high", "verdict"), [(-0.2, -0.3, -0.1, "worse"), (-0.1, -0.3, 0.1, "undecided")]
)
def test_a_better_method_that_could_not_be_chosen_is_said(
    gain: float, low: float, high: float, verdict: Verdict
) -> None:
    numbers = paired(gain, low, high, verdict)
    said = next_answer(numbers, "auroc", "patient", 2, eligible=False).text
    plain = next_answer(numbers, "auroc", "patient", 2).text
    assert "It was not chosen because it has no score on the patients that the choice was made on; where inner" in said
    assert "not chosen" not in plain


def test_methods_with_a_score_are_eligible(study: Leaderboard) -> None:
    val = board(row("knn", 0.6), row("linear", 0.5), split="val", metric="mcc")
    found = choose(board(row("lora"), row("linear"), row("knn")), val)
    assert [method.phrase for method in found.eligible] == ["dino with knn", "dino with linear"]
    whole = Answering(study, [study])
    others = {one.method.phrase for one in study.metrics["auroc"]} - {method.phrase for method in whole.choice.eligible}
    text = {answer.topic: answer.text for answer in whole.of("auroc").answers}["next"]
    assert not others
    assert "not chosen" not in text


def test_a_method_without_a_score_takes_no_part() -> None:
    val = board(row("knn", 0.6), row("linear", NAN), split="val", metric="mcc")
    assert choose(board(row("lora"), row("linear"), row("knn")), val).among == 1


def test_one_method_with_a_score_to_choose_by_was_not_the_best_of_one() -> None:
    chosen = replace(choose(board(row("knn"), row("lora")), None), by="inner folds", among=1)
    text = result_answer(board(row("knn"), row("lora")), "auroc", chosen, row("knn")).text
    assert text.startswith("dino with knn is the only method of this study with a score on patients to choose by.")


def test_the_test_set_chooses_only_where_nothing_else_can() -> None:
    found = said(board(row("lora", 0.9), row("knn", 0.8)))
    assert found.chosen_by == "these results"
    assert found.answers[0].text.startswith(
        "Of 2 methods, dino with lora has the best AUROC on the very patients it is reported on, so expect somewhat "
        "less on new ones. On the 90 test patients"
    )


def test_one_method_on_another_test_set_of_images() -> None:
    found = said(board(row("knn"), split="external", cohort_facts={"unit": "image"}))
    assert "dino with knn is the only method of this study. On the 90 “external” images of lgg" in found.answers[0].text
    limits = found.answers[-1]
    assert (limits.topic, limits.tone) == ("limits", "warning")
    assert "Patients unknown: intervals and splits count images." in limits.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (row("knn", patients=29), "29 patients are too few for a firm answer."),
        (row("knn", patients=1), "1 patient is too few"),
        (row("knn", 0.55, 0.45, 0.7), "The interval holds 0.5, the value of guessing"),
        (row("knn", 0.8, NAN, NAN), "its AUROC is 0.800 (no interval). How certain this is cannot be said."),
    ],
)
def test_a_weak_result_is_marked_and_says_why(given: LeaderboardRow, words: str) -> None:
    found = said(board(given))
    assert found.weak
    assert found.answers[0].tone == "weak"
    assert words in found.answers[0].text


def test_an_undefined_result_says_why() -> None:
    facts = {"labelled": 0, "outputs": {"a": {}, "b": {}}}
    found = said(replace(board(row("knn", NAN, NAN, NAN)), facts=facts))
    assert found.weak
    assert "Its AUROC is undefined on test of lgg: no case here is labelled." in found.sentences[0]
    empty = said(replace(board(), metrics={"auroc": (LeaderboardRow(row("knn").method, ()),)}))
    assert empty.method is None
    assert empty.sentences == ("On test of lgg no method has a result yet.",)
    assert Answering(replace(board(), metrics={}), []).of(None).metric is None


def test_few_labels_and_missed_structures_are_limits() -> None:
    few = said(board(row("knn", shots=4)))
    assert "It learned from few labels" in few.answers[-1].text
    own = row("unet", aim="segmentation")
    tables = {"dice": (own,)} | {
        name: (LeaderboardRow(own.method, (CellScore("c", 0, None, value, 0, 0, 9, 9, 0, 0),)),)
        for name, value in (("missed", 0.25), ("false_alarm", 0.004))
    }
    given = replace(board(aim="segmentation"), metrics=tables)
    found = limits_answer(given, choose(given, None), "dice", [own])
    assert found is not None
    assert found.text == (
        "It misses the structure entirely in 25 % of the cases that have it. It draws the structure in 0.4 % of the "
        "cases that do not have it."
    )


@pytest.mark.parametrize(("share", "text"), [(1.0, "100 %"), (0.996, "100 %"), (0.25, "25 %"), (0.004, "0.4 %")])
def test_percentages_are_never_in_exponent_notation(share: float, text: str) -> None:
    assert percent(share) == text


# ---- the next method ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "tone", "text"),
    [
        (paired(0.05, 0.01, 0.09, "better"), "plain", "Yes: resnet with knn, the best of the others, is worse: 0.750, by 0.050 (95 % interval 0.010 to 0.090; p = 0.40 after correction for 3 comparisons)."),
        (paired(-0.05, -0.09, -0.01, "worse"), "warning", "No: resnet with knn is better on these patients: 0.750, by 0.050 (95 % interval 0.010 to 0.090; p"),
        (paired(0.02, -0.02, 0.06), "weak", "Not shown: resnet with knn, the best of the others, scores 0.750, and a difference of 0.020 may be chance (95 % interval −0.020 to 0.060; p = 0.40 after correction for 3 comparisons). With 90 patients, a true difference below about 0.060 easily stays hidden."),
        (paired(-0.02, -0.06, 0.02), "weak", "No: resnet with knn scores 0.750 here, 0.020 better, which may be chance (95 % interval −0.020 to 0.060;"),
        (paired(0.0, 0.0, 0.0), "weak", "No: resnet with knn gives the same results."),
        (paired(0.02, NAN, NAN), "weak", "This cannot be said: the difference to resnet with knn (0.750) has no interval."),
    ],
)  # fmt: skip
def test_whether_the_next_is_worse(numbers: PairedNumbers, tone: str, text: str) -> None:
    found = next_answer(numbers, "auroc", "patient", 3)
    assert (found.topic, found.tone, found.paired) == ("next", tone, (numbers,))
    assert found.text.startswith(text)
    assert "the other method" not in found.text
    assert (
        "resnet with knn, the other method, is worse"
        in next_answer(paired(0.05, 0, 1, "better"), "auroc", "image", 1).text
    )


@pytest.mark.parametrize(
    ("p", "comparisons", "words"),
    [
        (0.0001, 1, "p < 0.001"), (0.0123, 1, "p = 0.012"), (0.5, 2, "p = 0.50 after correction for 2 comparisons"),
        (NAN, 5, ""),
    ],
)  # fmt: skip
def test_chance_in_words(p: float, comparisons: int, words: str) -> None:
    assert chance_of(p, comparisons) == words


# ---- adapting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "tone", "text"),
    [
        (paired(0.05, 0.01, 0.09, "better"), "plain", "0.050 (95 % interval 0.010 to 0.090;"),
        (paired(-0.05, -0.09, -0.01, "worse"), "warning", "It made results worse by 0.050 (95 % interval 0.010 to 0.090;"),
        (paired(0.02, -0.02, 0.06), "weak", "No gain shown: +0.020 (95 % interval −0.020 to 0.060;"),
        (paired(0.02, NAN, NAN), "weak", "This cannot be said: "),
    ],
)  # fmt: skip
def test_what_adapting_gained(numbers: PairedNumbers, tone: str, text: str) -> None:
    found = adapting_answer(numbers, "auroc", "patient", same_encoder=False)
    assert (found.tone, found.topic) == (tone, "adapting")
    assert found.text.startswith(text)
    assert "dino with lora against resnet with knn, whose encoder stays frozen; the encoders differ" in found.text
    assert "differ" not in adapting_answer(numbers, "auroc", "patient", same_encoder=True).text.split(". With")[
        0
    ].replace("difference", "")


def test_adapted_and_frozen_methods_of_one_encoder_are_paired() -> None:
    lora, knn, other, unet = (row(name).method for name in ("lora", "knn", "linear", "unet"))
    segment, tuned = (row(name, options={"encoder": how}).method for name, how in (("s", "frozen"), ("t", "lora")))
    assert (is_adapted(lora), is_frozen(knn), is_adapted(unet), is_frozen(unet)) == (True, True, False, False)
    assert (is_frozen(segment), is_adapted(segment), is_adapted(tuned), is_frozen(tuned)) == (True, False, True, False)
    far = replace(other, backbone="resnet")
    assert adapting_pair([far, lora, knn]) == (lora, knn)
    assert adapting_pair([far, lora]) == (lora, far)
    assert adapting_pair([knn, other]) is None
    assert adapting_pair([lora]) is None


# ---- controls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "tone", "text"),
    [
        (paired(0.12, 0.03, 0.21, "better"), "plain", "No. It is better than age and sex by 0.120 (95 % interval 0.030 to 0.210; p"),
        (paired(0.03, -0.1, 0.15), "warning", "Perhaps. It is not shown to be better than age and sex: +0.030 (95 % interval −0.100 to 0.150; p"),
        (paired(-0.2, -0.3, -0.1, "worse"), "warning", "Yes. It is worse than age and sex by 0.200 (95 % interval 0.100 to 0.300; p"),
        (paired(0.1, NAN, NAN), "weak", "Whether it is better than age and sex cannot be said: "),
    ],
)  # fmt: skip
def test_age_and_sex(numbers: PairedNumbers, tone: str, text: str) -> None:
    found = control_answer(replace(numbers, other="age and sex"), None, "auroc", "")
    assert found is not None
    assert (found.tone, found.text.startswith(text)) == (tone, True), found.text


@pytest.mark.parametrize(
    ("other", "start"),
    [
        (paired(0.12, 0.03, 0.21, "better"), "No. It is better than"),
        (paired(0.03, -0.1, 0.15), "Perhaps. It is better than"),
        (paired(-0.2, -0.3, -0.1, "worse"), "Yes. It is better than"),
        (paired(0.1, NAN, NAN), "It is better than"),
    ],
)
def test_the_simpler_thing_that_does_best_begins_the_answer(other: PairedNumbers, start: str) -> None:
    found = control_answer(paired(0.12, 0.03, 0.21, "better"), other, "auroc", "")
    assert found is not None
    assert found.text.startswith(start)


def test_other_controls_and_shuffled_labels_follow() -> None:
    better = paired(0.12, 0.03, 0.21, "better")
    found = control_answer(better, replace(better, other="brightness"), "auroc", "Labels leak.")
    assert found is not None
    assert "by 0.120" in found.text
    assert "It is better than brightness" in found.text
    assert found.text.endswith(" Labels leak.")
    assert found.tone == "warning"
    assert control_answer(None, None, "auroc", "") is None


@pytest.mark.parametrize(("low", "warns"), [(0.49, False), (0.54, False), (0.56, True)])
def test_shuffled_labels_are_named_far_above_chance_only(low: float, warns: bool) -> None:
    text = shuffled_sentence(row("shuffled", 0.6, low, 0.7, backbone=NO_NETWORK), "auroc", 2)
    assert bool(text) == warns
    assert not warns or text.startswith(
        "Even with labels shuffled between patients, shuffled is better than guessing (AUROC 0.60)"
    )
    assert shuffled_sentence(row("shuffled"), "brier", 2) == ""


# ---- elsewhere ------------------------------------------------------------------------------------------------------


def sites(*given: tuple[str, float, float, float, int], split: str = "oof") -> Any:
    own = [board(row("knn", *numbers[:3], patients=numbers[3]), split=f"oof:site={name}") for name, *numbers in given]
    whole = board(row("knn"), split=split)
    return sites_answer(whole, [whole, *own], "auroc", row("knn").method)


def test_hospitals_that_differ_and_that_do_not() -> None:
    same = sites(("CS", 0.7, 0.6, 0.8, 40), ("DU", 0.75, 0.65, 0.85, 50), ("EZ", 0.1, 0.0, 0.2, 9))
    assert same.tone == "plain"
    assert same.text == (
        "No difference shown between 2 sites: AUROC ranges from CS 0.700 (40 patients, 0.600–0.800) to DU 0.750 (50 "
        "patients, 0.650–0.850), with overlapping intervals. 1 site with fewer than 10 patients or without a value is not "
        "counted."
    )
    assert same.values[0] == NamedValue("CS", 0.7, 0.6, 0.8, 40)
    apart = sites(("CS", 0.5, 0.4, 0.6, 40), ("DU", 0.75, 0.65, 0.85, 50))
    assert (apart.tone, apart.text.split(":")[0]) == ("warning", "Not equally")
    assert "cannot be said" in sites(("CS", 0.5, 0.4, 0.6, 9), ("DU", 0.75, 0.65, 0.85, 50)).text
    assert sites(("CS", 0.5, 0.4, 0.6, 40)) is None
    assert sites(split="test") is None


@pytest.mark.parametrize(
    ("numbers", "tone", "words"),
    [
        ((0.7, 0.6, 0.8), "plain", "against 0.800 on test; the intervals overlap, so no loss is shown."),
        ((0.5, 0.4, 0.6), "warning", "No: AUROC is on external 0.500 (90 patients, 0.400–0.600), against 0.800 on test; the intervals do not overlap on external."),
        ((0.95, 0.92, 0.97), "plain", "against 0.800 on test: no loss is seen."),
        ((NAN, NAN, NAN), "weak", "on external — (90 patients)"),
    ],
)  # fmt: skip
def test_another_test_set(numbers: tuple[float, float, float], tone: str, words: str) -> None:
    here, there = board(row("knn")), board(row("knn", *numbers), split="external")
    val = board(row("knn"), split="val")
    found = sites_answer(here, [here, there, val], "auroc", row("knn").method)
    assert found is not None
    assert found.tone == tone
    assert words in found.text


@pytest.mark.parametrize(
    ("train", "val", "test", "words"),
    [
        ({"A": 9}, {}, {"B": 4}, "the patients tested are from B, those it learned from are from A."),
        ({"A": 9}, {"C": 1}, {"B": 4}, "from are from A, C."),
        (dict.fromkeys("ACDE", 1), {}, {"B": 4}, "from are from 4 hospitals."),
        ({"A": 9}, {"B": 1}, {"B": 4}, ""),
        ({"A": 9, "": 1}, {}, {"B": 4}, ""),
        ({"A": 9}, {}, {}, ""),
    ],
)
def test_patients_of_a_hospital_that_was_not_learned_from(
    train: dict[str, int], val: dict[str, int], test: dict[str, int], words: str
) -> None:
    splits = {"train": {"sites": train}, "val": {"sites": val}, "external": {"sites": test}}
    facts = {"sites": {"A": 9, "B": 4}, "splits": splits}
    found = said(board(row("knn"), split="external", cohort_facts=facts))
    answers = [answer.text for answer in found.answers if answer.topic == "sites"]
    assert [words in text for text in answers] == [True] * bool(words)
    assert ("no result is split by site" in found.left_open) != bool(words)


# ---- what is left open ----------------------------------------------------------------------------------------------


def test_what_a_study_leaves_open_is_said_with_its_reason() -> None:
    facts = {"sites": {"A": 9}, "modalities": ["t1", "flair"]}
    skipped = ({"control": "age-sex", "reason": "no column age"}, {"control": "metadata", "reason": "none"})
    found = said(board(row("lora"), cohort_facts=facts, skipped_controls=skipped))
    assert found.left_open == (
        "This study does not say whether another method is really worse: there is no other one; or "
        "what adapting gains: no method with a frozen encoder stands beside the adapted one; or whether age and sex "
        "alone do as well: no column age; or how it does at another hospital: all are from A; or what a missing "
        "sequence costs: no method was tested with sequences left out."
    )
    found = said(board(row("knn"), cohort_facts={"sites": {"A": 1, "B": 2}}))
    assert "no method of it trains a pretrained encoder" in found.left_open
    assert "no result is split by site" in found.left_open
    assert "they were not tried" in found.left_open
    assert "sequence" not in found.left_open


def test_a_bias_is_compared_with_nothing() -> None:
    found = said(
        board(row("u", 2.0, aim="segmentation"), metric="volume_error_ml", aim="segmentation"), metric="volume_error_ml"
    )
    assert [answer.topic for answer in found.answers] == ["result"]


# ---- from stored predictions ----------------------------------------------------------------------------------------


@pytest.fixture
def study(toy_run: Any, toy_cohort: Callable[..., Any]) -> Leaderboard:
    toy = toy_cohort(tests=("test",), patients=60)
    toy_run.cohort(toy).backbone("dino")
    toy_run.cell(toy, "dino", "lora", protocol="lora", skill=1.0)
    toy_run.cell(toy, "dino", "linear", protocol="linear", skill=0.2)
    toy_run.cell(toy, "dino", "linear", protocol="linear", skill=0.2, seed=1)
    toy_run.cell(toy, "none", "age and sex", protocol="metadata", skill=0.1, control="age-sex")
    toy_run.finish()
    return next(board for board in leaderboards(read_run(toy_run.path)) if board.split == "test")


def test_answers_rest_on_the_stored_predictions(study: Leaderboard) -> None:
    found = Answering(study, [study])
    by_topic = {answer.topic: answer for answer in found.of("auroc").answers}
    assert list(by_topic) == ["result", "next", "adapting", "controls", "joined"]
    values = {each.method.phrase: each.value for each in study.rows_of("auroc")}
    gain = values["dino with lora"] - values["dino with linear"]
    numbers = by_topic["next"].paired[0]
    assert numbers.gain == pytest.approx(gain)
    assert numbers.other_value == pytest.approx(values["dino with linear"])
    assert numbers.verdict == "better"
    assert by_topic["adapting"].text.startswith(f"{gain:.3f} (95 % interval")
    assert by_topic["controls"].text.startswith("No. It is better than age and sex by")
    loss = {answer.topic: answer for answer in found.of("log_loss").answers}["next"].paired[0]
    assert loss.gain > 0
    assert loss.ci_low > 0, "a smaller loss is a gain"
    assert loss.gain == pytest.approx(study.metrics["log_loss"][1].value - study.metrics["log_loss"][0].value)


def probabilities(given: LeaderboardRow) -> list[pd.Series]:
    """Of the last class, of every run of a method on the test set."""
    tables = [cell.predictions for cell in given.method.cells]
    own = [table[table["split"] == "test"].set_index("case") for table in tables if table is not None]
    return [table["p_malignant"] for table in own]


def test_images_with_age_and_sex_are_the_mean_of_both_probabilities(study: Leaderboard) -> None:
    rows = {each.method.phrase: each for each in study.rows_of("auroc")}
    linear, control = rows["dino with linear"], rows["age and sex"]
    (table,) = [cell.predictions for cell in control.method.cells]
    assert table is not None
    truth = table[table["split"] == "test"].set_index("case")["truth"]
    truth = truth[truth.isin(study.facts["outputs"])] == "malignant"
    (other,) = probabilities(control)
    means = [roc_auc_score(truth, ((one + other) / 2)[truth.index]) for one in probabilities(linear)]
    found = joined_differences(study, linear, control, ["auroc", "log_loss", "mcc"])
    assert set(found) == {"auroc", "log_loss"}, "the mean of two models has no threshold"
    over_age_sex, over_images = found["auroc"]
    assert over_age_sex.first == over_images.first == pytest.approx(np.mean(means)), "two seeds, averaged"
    assert over_age_sex.second == pytest.approx(control.value)
    assert over_images.second == pytest.approx(linear.value)
    assert over_age_sex.ci_low < over_age_sex.difference < over_age_sex.ci_high


def test_images_are_joined_with_age_and_sex_of_the_same_cases_only(study: Leaderboard) -> None:
    rows = {each.method.phrase: each for each in study.rows_of("auroc")}
    cell = rows["age and sex"].method.cells[0]
    table = cell.predictions
    assert table is not None
    table.drop(table.index[table["split"] == "test"][:1]).to_parquet(cell.folder / "predictions.parquet")
    again = next(one for one in leaderboards(read_run(cell.folder.parents[1])) if one.split == "test")
    assert "joined" not in {answer.topic for answer in Answering(again, [again]).of("auroc").answers}


def test_a_method_that_reads_both_is_compared_as_it_answers(toy_run: Any, toy_cohort: Callable[..., Any]) -> None:
    toy = toy_cohort(tests=("test",), patients=60)
    toy_run.cohort(toy).backbone("dino")
    both = {"protocol": "linear", "options": {"epochs": 3}, "columns": []}
    toy_run.cell(toy, "dino", "both", protocol="combined", options=both, skill=1.0)
    toy_run.cell(toy, "dino", "linear", protocol="linear", options={"epochs": 3, "batch": 8}, skill=0.2)
    toy_run.cell(
        toy, "none", "age and sex", protocol="metadata", options={"columns": ["age"]}, skill=0.1, control="age-sex"
    )
    toy_run.finish()
    board = next(one for one in leaderboards(read_run(toy_run.path)) if one.split == "test")
    for metric in ("auroc", "mcc"):
        (found,) = [answer for answer in Answering(board, [board]).of(metric).answers if answer.topic == "joined"]
        values = {each.method.phrase: each.value for each in board.rows_of(metric)}
        assert found.text.startswith("Yes. dino with both, which reads both, has "), found.text
        assert [numbers.other for numbers in found.paired] == ["age and sex", "dino with linear"]
        assert found.paired[1].gain == pytest.approx(values["dino with both"] - values["dino with linear"])
    own, control = (
        row_of(board, "auroc", method)
        for method in (board.metrics["auroc"][0].method, board.controls["auroc"][0].method)
    )
    assert own is not None and control is not None  # noqa: PT018
    assert reads_both(own.method)
    assert not reads_both(control.method)
    assert columns_of(control.method) == ("age",)
    assert reads_only(("age",), own.method)
    other = replace(own.method.cells[0], facts={**own.method.cells[0].facts, "options": {**both, "columns": ["site"]}})
    assert not reads_only(("age",), replace(own.method, cells=(other,)))
    others = [each.method for each in board.metrics["auroc"]]
    assert images_alone(own.method, others) == others[1]
    assert images_alone(replace(own.method, backbone="cnn"), others) is None


def test_cases_are_joined_by_name_and_not_by_place(study: Leaderboard) -> None:
    def both(board: Leaderboard) -> float:
        rows = {each.method.phrase: each for each in board.rows_of("auroc")}
        return joined_differences(board, rows["dino with linear"], rows["age and sex"], ["auroc"])["auroc"][0].first

    cell = next(row.method.cells[0] for row in study.rows_of("auroc") if row.method.control)
    before, table = both(study), cell.predictions
    assert table is not None
    table.iloc[::-1].to_parquet(cell.folder / "predictions.parquet")
    assert both(next(one for one in leaderboards(read_run(cell.folder.parents[1])) if one.split == "test")) == before


def test_joined_differences_draw_as_often_as_the_study(study: Leaderboard, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def record(sets: Any, pairs: Any, metrics: Any, draws: Draws, **more: Any) -> dict[str, Any]:
        drawn.append(draws.resamples)
        return {}

    monkeypatch.setattr("radapt.reports.answers.joined.compare_many", record)
    rows = {each.method.phrase: each for each in study.rows_of("auroc")}
    joined_differences(study, rows["dino with linear"], rows["age and sex"], ["auroc"])
    assert drawn == [100], "the resamples of the cells"


def test_nothing_is_joined_where_no_predictions_are_stored_under_the_test_set(study: Leaderboard) -> None:
    """As single folds, whose predictions are stored under `oof`."""
    rows = {each.method.phrase: each for each in study.rows_of("auroc")}
    fold = replace(study, split="oof:fold=0")
    assert joined_differences(fold, rows["dino with linear"], rows["age and sex"], ["auroc"]) == {}


def difference(first: float, second: float, low: float, high: float, p: float, **more: Any) -> Difference:
    return Difference(first, second, first - second, low, high, p, 90, 90, 0.06, False, **more)


@pytest.mark.parametrize(
    ("metric", "over_age_sex", "tone", "text"),
    [
        ("auroc", difference(0.8, 0.7, 0.02, 0.18, 0.01), "plain",
         "Yes. The mean of the probabilities of dino with lora and of age and sex has AUROC 0.800, 0.100 better than age and sex alone (95 % interval 0.020 to 0.180; p = 0.01) and 0.050 better than dino with lora alone (95 % interval −0.010 to 0.110; p = 0.12)."),
        ("auroc", difference(0.8, 0.7, -0.02, 0.22, 0.2), "weak", "Not shown. The mean of"),
        ("auroc", difference(0.6, 0.7, -0.18, -0.02, 0.01), "weak", "No. The mean of the probabilities of dino with lora and of age and sex has AUROC 0.600, 0.100 worse than age and sex alone (95 % interval 0.020 to 0.180"),
        ("log_loss", difference(0.5, 0.6, -0.18, -0.02, 0.01, smaller_is_better=True), "plain", "Yes. The mean of the probabilities of dino with lora and of age and sex has Log-loss 0.500, 0.100 better than age and sex alone (95 % interval 0.020 to 0.180"),
        ("auroc", difference(0.8, 0.7, NAN, NAN, NAN), "weak", "This cannot be said: the differences have no interval."),
    ],
)  # fmt: skip
def test_what_images_add_to_age_and_sex(metric: str, over_age_sex: Difference, tone: str, text: str) -> None:
    over_images = difference(over_age_sex.first, over_age_sex.first - 0.05, -0.01, 0.11, 0.12)
    control = row("age and sex", backbone=NO_NETWORK, control="age-sex")
    found = joined_answer(metric, row("lora"), control, (over_age_sex, over_images))
    assert (found.topic, found.tone, found.text.startswith(text)) == ("joined", tone, True), found.text
    assert found.paired[0].method == "dino with lora together with age and sex"


def test_a_method_on_other_cases_is_not_compared(study: Leaderboard) -> None:
    cell = study.metrics["auroc"][0].method.cells[0]
    table = cell.predictions
    assert table is not None
    table.drop(table.index[table["split"] == "test"][:1]).to_parquet(cell.folder / "predictions.parquet")
    again = next(one for one in leaderboards(read_run(cell.folder.parents[1])) if one.split == "test")
    found = compare_board(again)
    assert len(found.methods) in (1, 2)
    left = {row.method.key for row in again.rows_of("auroc")} - {method.key for method in found.methods}
    assert left
    assert all(not math.isnan(one.difference) for own in found.differences.values() for one in own.values())


def test_gains_of_a_difference_turn_with_the_methods(study: Leaderboard) -> None:
    found, rows = compare_board(study), study.metrics["auroc"]
    one, other = (found.family("auroc", [pair])[0] for pair in ((rows[0], rows[1]), (rows[1], rows[0])))
    first, second = paired_numbers(one, 1), paired_numbers(other, 1)
    assert (first.gain, first.ci_low, first.ci_high) == (-second.gain, -second.ci_high, -second.ci_low)
    assert {first.verdict, second.verdict} == {"better", "worse"}
    assert result_answer(study, "auroc", choose(study, None), rows[0]).topic == "result"
