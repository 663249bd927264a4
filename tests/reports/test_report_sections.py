"""Segmentation, learning curves and training cost in the page: equal to the tables, absent where a run has none."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.metrics import score_repeats
from radapt.reports import write_report
from radapt.reports.cell_scores import CellScore
from radapt.reports.charts.strip import StripRow, strip_row
from radapt.reports.leaderboard import leaderboards
from radapt.reports.learning_curves import LearningCurveSet, independent_estimate, learning_curve_sets
from radapt.reports.methods import methods_of
from radapt.reports.run_folder import read_run
from radapt.reports.segmentation_cases import best_segmentations
from report_page import HOSTILE, charts_of, page_of, tips_of

COST = {"trained": 12_000, "parameters": 1_200_000, "peak_memory_mb": 1536.5, "seconds": 90.0}


def _row(value: float, low: float, high: float) -> CellScore:
    return CellScore("c", 0, 0, value, low, high, 9, 9, 0, 0)


@pytest.fixture
def mixed(toy_run, toy_cohort):
    """One cohort with classes and masks, evaluated for both, from a backbone and from scratch."""
    toy = toy_cohort(name="both", tests=("test", "external"), mask_labels={"1": "core", "2": "rim"})
    toy_run.cohort(toy).backbone("dinov2-s")
    toy_run.cell(toy, "dinov2-s", "lora", aim="classification", cost=COST)
    toy_run.cell(toy, "dinov2-s", "knn", aim="classification", skill=0.5)
    for seed in (0, 1):
        toy_run.segmentation(toy, "dinov2-s", skill=0.8, seed=seed, cost=COST | {"trained": 90_000})
    toy_run.segmentation(toy, "none", "unet", skill=0.9, cost=COST | {"trained": 1_200_000})
    toy_run.finish()
    return toy_run


@pytest.fixture
def curves(toy_run, toy_cohort):
    """Two backbones with 1, 4 and all labels, four draws each."""
    toy = toy_cohort(name="few", patients=30)
    toy_run.cohort(toy).backbone("dinov2-s").backbone("resnet50")
    for backbone, gain in (("dinov2-s", 0.3), ("resnet50", 0.1)):
        for shots in (1, 4):
            for repeat in range(4):
                options = {
                    "protocol": "logistic",
                    "shots": shots,
                    "repeat": repeat,
                    "fit": {"draw": {"patients": 2 * shots}},
                }
                toy_run.cell(toy, backbone, "fewshot", skill=gain * shots + repeat / 100, **options)
        toy_run.cell(toy, backbone, "logistic", skill=1.5, protocol="logistic")
    toy_run.finish()
    return toy_run


def test_both_aims_have_their_own_section(mixed) -> None:
    page = page_of(mixed.path)
    assert "unet from scratch was best on the validation patients (by Dice)" in page.text
    assert "dinov2-s with lora was best on the validation patients (by MCC)" in page.text
    assert [a.get("class") for tag, a in page.elements if tag == "h3"].count("aim") == 2
    assert "2 classes ; 2 structures" in page.text.replace("classes;", "classes ;")
    assert "40 with a mask" in page.text
    assert "cases with a mask" in page.text
    assert len(page.ids) == len(set(page.ids))


def test_the_table_of_structures_holds_numbers_and_counts(mixed) -> None:
    page = page_of(mixed.path)
    cell = mixed.cells[-1]
    predictions = pd.read_parquet(mixed.path / "cells" / cell / "predictions.parquet").query("split == 'test'")
    results = mixed.results.query("cell == @cell and split == 'test'").set_index("metric")
    rows = [" ".join("".join(texts).split()) for _, _, texts in page.rows]
    for label in ("core", "rim"):
        counts = predictions[predictions["label"] == label]["outcome"].value_counts()
        (row,) = [row for row in rows if row.startswith(label) and f"{results.loc[f'dice:{label}', 'value']:.3f}" in row
                  and f"{results.loc[f'dice:{label}', 'ci_low']:.3f}–" in row and "of" in row]  # fmt: skip
        assert f"{results.loc[f'hd95_mm:{label}', 'value']:.2f}" in row
        assert row.endswith(str(counts.get("unlabelled", 0)))
        assert f"{counts['missed']} of {counts['missed'] + counts['both']}".replace(" ", "") in row.replace(" ", "")
    assert any(row.startswith("all structures") for row in rows)


def test_overlays_are_shown_with_their_case(mixed) -> None:
    page = page_of(mixed.path)
    alts = [a["alt"] for tag, a in page.elements if tag == "img" and "outlines" in a["alt"]]
    assert len(alts) == 2  # one of each model's, and nothing from outside the cell's folder
    assert "worst : case-test-003 · Dice 0.000 · slice 4" in page.text.replace("worst:", "worst :")


def strip_rows(run: Path, title: str) -> dict[str, StripRow]:
    """The rows of the strip chart of a method on the test set, by structure."""
    boards = [board for board in leaderboards(read_run(run)) if (board.aim, board.split) == ("segmentation", "test")]
    (model,) = [model for board in boards for model in best_segmentations(board) if title in model.title]
    return {label: strip_row(model, label, label) for label in model.labels}


def test_every_scored_case_is_a_point(mixed) -> None:
    page_of(mixed.path)
    table = pd.read_parquet(mixed.path / "cells" / mixed.cells[-1] / "predictions.parquet")
    table = table[(table["split"] == "test") & table["dice"].notna()]
    rows = strip_rows(mixed.path, "unet")
    for label, row in rows.items():
        expected = table[table["label"] == label].sort_values("dice", kind="stable")
        assert row.cases["dice"].tolist() == expected["dice"].tolist()
        assert row.cut == 0
    (_, svg), *_ = charts_of(mixed.path, "strip")
    glyphs = [one for one in svg.iter() if one.attrib.get("class", "-").split()[0] in ("dots", "crosses", "triangles")]
    drawn = sum(one.attrib["d"].count("M") for one in glyphs)
    assert drawn == sum(len(row.cases) for row in rows.values())
    worst = rows["core"].cases.iloc[0]
    assert any(tip.startswith(f"{worst['case']} core missed, Dice 0.000") for tip in tips_of(svg))


def test_strip_of_many_cases_keeps_the_worst(toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), patients=700, mask_labels={"1": "core", "2": "rim"})
    toy_run.cohort(toy).segmentation(toy, "none", "unet")
    row = strip_rows(toy_run.finish(), "unet")["core"]
    assert len(row.cases) == 300
    table = pd.read_parquet(toy_run.path / "cells" / toy_run.cells[0] / "predictions.parquet")
    dice = np.sort(table[(table["split"] == "test") & (table["label"] == "core")]["dice"].dropna())
    assert row.cut == len(dice) - 300
    assert row.cases["dice"].tolist()[:150] == dice[:150].tolist()


def test_a_run_of_networks_from_scratch_on_masks_alone(toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"})
    toy_run.cohort(toy).segmentation(toy, "none", "unet")
    page = page_of(toy_run.finish())
    assert "unet from scratch is the only method of this study." in page.text
    assert "It misses the structure entirely in" in page.text
    assert "No backbone was loaded." in page.text
    assert "0 classes" not in page.text
    assert "a label map per case" in page.text


def test_test_set_without_masks_is_undefined(toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": "core"}, patients=1)  # its one case is the unlabelled one
    toy_run.cohort(toy).segmentation(toy, "none", "unet", labels=("core",))
    assert "Dice is undefined on test" in page_of(toy_run.finish()).text


def curves_of(run: Path) -> tuple[LearningCurveSet, ...]:
    read = read_run(run)
    return learning_curve_sets(read, methods_of(read), "auroc")


def test_points_of_a_curve_equal_the_statistic_of_repeats(curves) -> None:
    (chart,) = curves_of(curves.path)
    assert (chart.split, chart.kind) == ("test", "shots")
    curve = next(one for one in chart.curves if one.backbone == "dinov2-s")
    facts = [(point.x, point.draws, point.patients) for point in curve.points]
    assert facts == [(1, 4, "2"), (4, 4, "8")]
    tables = [pd.read_parquet(curves.path / "cells" / cell / "predictions.parquet") for cell in curves.cells[:4]]
    tables = [table[table["split"] == "test"] for table in tables]
    first = tables[0]
    expected = score_repeats(
        first["truth"].map({"benign": 0, "malignant": 1}).fillna(-1).astype(int).to_numpy(),
        [table[["p_benign", "p_malignant"]].to_numpy() for table in tables], first["patient"].to_numpy(dtype=object),
        task="binary", outputs=["benign", "malignant"], rng=np.random.default_rng(0), resamples=100,
    ).set_index("metric")  # fmt: skip
    for metric in ("auroc", "brier"):
        row = expected.loc[metric, ["value", "ci_low", "ci_high"]].astype(float)
        assert curve.points[0].numbers[metric] == pytest.approx(row.tolist(), abs=1e-9)
    whole = curves.results.query("protocol == 'logistic' and backbone == 'dinov2-s' and split == 'test'")
    assert curve.whole["auroc"][0] == pytest.approx(whole.set_index("metric").loc["auroc", "value"], abs=1e-4)


def test_the_chart_of_curves_says_every_point(curves) -> None:
    page_of(curves.path)
    (svg,) = [svg for metric, svg in charts_of(curves.path, "learning") if metric == "auroc"]
    tips = tips_of(svg)
    assert len(tips) == 6  # two sizes and every label, of two backbones
    assert sum("4 shots, 8 training patients, 4 draws" in tip for tip in tips) == 2
    assert sum("every label" in tip for tip in tips) == 2


def test_few_labels_have_a_section_of_their_own(curves) -> None:
    page = page_of(curves.path)
    rows = ["".join(texts) for attributes, _, texts in page.rows if "data-method" in attributes]
    assert not [row for row in rows if "fewshot" in row]
    assert [row for row in rows if "logistic" in row]
    assert re.search(
        r"AUROC on test: at 1 shot, \S+ with fewshot leads with 0\.\d+ .*; at 4 shots, dinov2-s", page.text
    )
    assert "Range over draws" in page.text
    assert "slightly too wide" not in page.text


@pytest.mark.parametrize("lost", ["predictions", "cases"])
def test_without_comparable_predictions_both_errors_are_added(curves, lost: str) -> None:
    file = curves.path / "cells" / curves.cells[0] / "predictions.parquet"
    table = pd.read_parquet(file)
    file.unlink() if lost == "predictions" else table.iloc[:-3].to_parquet(file)
    page = page_of(curves.path)
    assert "slightly too wide" in page.text
    curve = next(one for one in curves_of(curves.path)[0].curves if one.backbone == "dinov2-s")
    own = curves.results.query("cell in @curves.cells[:4] and split == 'test' and metric == 'auroc'")
    value, low, high = curve.points[0].numbers["auroc"]
    assert value == pytest.approx(own["value"].mean(), abs=1e-4)
    assert high - low > own["ci_high"].mean() - own["ci_low"].mean()


def test_interval_of_draws_alone_is_students() -> None:
    rows = [_row(value, value, value) for value in (0.5, 0.6, 0.7)]
    value, low, high = independent_estimate("auroc", rows)
    assert value == pytest.approx(0.6)
    assert high - value == pytest.approx(4.302653 * 0.1 / np.sqrt(3), rel=1e-5)
    assert value - low == pytest.approx(high - value)


def test_interval_of_one_draw_is_that_of_the_patients() -> None:
    assert independent_estimate("auroc", [_row(0.6, 0.5, 0.8)]) == pytest.approx((0.6, 0.5, 0.8))


def test_interval_stays_within_the_range_of_the_metric() -> None:
    assert independent_estimate("dice", [_row(0.9, 0.8, 1.0), _row(0.1, 0.0, 0.3)])[1:] == (0.0, 1.0)


def test_an_undefined_draw_leaves_no_mean() -> None:
    nan = float("nan")
    assert np.isnan(independent_estimate("auroc", [_row(nan, nan, nan), _row(0.6, 0.5, 0.8)])).all()


def test_fractions_of_labels_are_curves_too(toy_run, toy_cohort) -> None:
    toy = toy_cohort()
    toy_run.cohort(toy).backbone("dinov2-s")
    for fraction in (0.01, 0.1):
        for repeat in (0, 1):
            toy_run.cell(toy, "dinov2-s", "fewshot", fraction=fraction, repeat=repeat, skill=fraction * 5)
    page = page_of(toy_run.finish())
    (chart,) = curves_of(toy_run.path)
    assert chart.kind == "fraction"
    assert [point.x for point in chart.curves[0].points] == pytest.approx([1, 10])
    assert "10 % of labels was best on the validation patients" in page.text  # nobody learned from every label


def test_costs_are_shown_as_counted(mixed) -> None:
    page = page_of(mixed.path)
    rows = [" ".join(" ".join(texts).split()) for _, _, texts in page.rows]
    assert any("12,000 1 % 1,536 MB 1 min 30 s" in row or "12,000 1 % 1,537 MB 1 min 30 s" in row for row in rows), rows
    assert any("from scratch unet 1.20 million 100 %" in row for row in rows)
    charts = charts_of(mixed.path, "cost")
    (classes, _), (masks, _) = (
        [tips_of(svg) for name, svg in charts if name == metric] for metric in ("auroc", "dice")
    )
    assert ["(1 %)" in tip for tip in classes] == [True]  # knn trains nothing
    assert ["(7.5 %)" in tip or "(100 %)" in tip for tip in masks] == [True, True]


def test_older_runs_lack_these_sections(finished) -> None:
    table = pd.read_parquet(finished.path / "results.parquet")
    old = ["fraction", "trained_parameters", "trained_share", "peak_memory_mb", "minutes"]
    table.drop(columns=old, errors="ignore").to_parquet(finished.path / "results.parquet")
    page = page_of(finished.path)
    assert [charts_of(finished.path, kind) for kind in ("strip", "learning", "cost")] == [[], [], []]
    for word in ("Training cost", "Few labels", "Scores by structure", "Missed and false alarm", "segmentation"):
        assert word not in page.text


def test_cells_known_from_the_results_alone_keep_their_aim(mixed) -> None:
    import shutil

    shutil.rmtree(mixed.path / "cells")
    (mixed.path / "plan.json").unlink()
    page = page_of(mixed.path)
    assert "unet from scratch was best on the validation patients" in page.text
    assert "whether another method is really worse: no two were compared on the same cases" in page.text


def test_cells_not_started_belong_to_their_method(mixed) -> None:
    from radapt.durable import write_json

    waiting = {"id": "later", "cohort": "both", "backbone": "dinov2-s", "label": "segment", "seed": 2}
    write_json(mixed.path / "plan.json", {"cells": [*mixed.cells, waiting]})
    page = page_of(mixed.path)
    assert "2 of 3 done" in page.text


def test_hostile_structures_and_cases_are_escaped(toy_run, toy_cohort) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": HOSTILE}, case_prefix=HOSTILE)
    toy_run.cohort(toy).segmentation(toy, "none", f"unet{HOSTILE}", labels=(HOSTILE,), cost=COST)
    page = page_of(toy_run.finish())
    assert len(page.scripts) == 1
    assert not [a for _, a in page.elements if "onerror" in a]
    (_, svg), *_ = charts_of(toy_run.path, "strip")
    assert any(HOSTILE in tip for tip in tips_of(svg))


def test_equal_folders_give_equal_bytes(curves, mixed) -> None:
    assert write_report(curves.path).read_bytes() == write_report(curves.path).read_bytes()
