"""Subsets of sequences in the page: equal to the tables, averaged over seeds, absent where a run has none."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.cli.adapt import headline
from radapt.errors import DataError
from radapt.metrics.shapley import members
from radapt.reports import write_adapt_report
from radapt.reports.bar_axis import axis_of
from radapt.reports.formatting import shown
from radapt.reports.subsets.views import DIFFERENCE, _dots, _is_shown, _thinned
from report_page import HOSTILE, Page, page_of, written_page
from toy_subsets import OUTPUTS, SEQUENCES, mask_subset_tables, subset_tables


def with_subsets(run, toy, *, seeds: tuple[int, ...] = (0, 1), label: str = "mmdino", **more: object) -> list[str]:
    ids = []
    for seed in seeds:
        ids.append(run.cell(toy, "dinov2-s", label, seed=seed))
        subset_tables(seed, **more).write(run.path / "cells" / ids[-1])  # type: ignore[arg-type]
    return ids


def rows_of(page: Page) -> list[str]:
    return [" ".join("".join(texts).split()) for _, _, texts in page.rows]


@pytest.fixture
def toy(toy_cohort):
    return toy_cohort(modalities=SEQUENCES, outputs=OUTPUTS)


def test_run_without_subset_tables_has_no_subset_section(written) -> None:
    assert "Subsets of sequences" not in written_page(written.path).text


def test_the_heat_map_holds_the_means_over_seeds(toy_run, toy) -> None:
    with_subsets(toy_run.cohort(toy).backbone("dinov2-s"), toy)
    page = page_of(toy_run.finish())
    assert len(page.ids) == len(set(page.ids))
    tables = [subset_tables(seed).scores for seed in (0, 1)]
    rows = [row for row in rows_of(page) if row.startswith("●with")]
    assert len(rows) == 8 * 6  # every subset, for four numbers and the sensitivity of two classes
    for names, dots in ((SEQUENCES, "●with" * 3), (("t2",), "●without●with●without"), ((), "●without" * 3)):
        own = [table[table["subset"] == " + ".join(names)] for table in tables]
        own = [table.query("metric == 'auroc' and site.isna()") for table in own]
        row = next(row for row in rows if row.startswith(dots))
        for split in ("test", "external"):
            values = [float(table.loc[table["split"] == split, "value"].iloc[0]) for table in own]
            low = np.mean([table.loc[table["split"] == split, "ci_low"].iloc[0] for table in own])
            assert shown(float(np.mean(values))) in row
            assert shown(float(low), 2) in row
            assert f"seeds {shown(min(values), 2)}" in row
    bare = (
        tables[0].query("subset == 't1' and metric == 'auroc' and site.isna() and split == 'test'")["n_without"].item()
    )
    assert f"{bare} cases without" in next(row for row in rows if row.startswith("●with●without●without"))
    assert "means over 2 runs" in page.text
    assert "north of test" in page.text


def test_contributions_and_costs_are_those_of_the_table(toy_run, toy) -> None:
    with_subsets(toy_run.cohort(toy).backbone("dinov2-s"), toy, seeds=(0,))
    page = page_of(toy_run.finish())
    result, rows = subset_tables(0), rows_of(page)
    for quantity, last in (("shapley", "sum"), ("absence", "mean over sequences")):
        table = getattr(result, quantity).query("metric == 'mcc' and split == 'test' and site.isna()")
        for name in (*SEQUENCES, None):
            own = table[table["modality"].isna() if name is None else table["modality"] == name].iloc[0]
            found = [row for row in rows if row.startswith(name or last) and shown(own["value"]) in row]
            assert any(shown(own["ci_low"], 2) in row and shown(own["ci_high"], 2) in row for row in found)
            assert name is None or any(f"{own['n_with']} cases with it" in row for row in found)
    best = result.shapley.query("metric == 'mcc' and split == 'test' and site.isna() and modality == 'flair'")
    assert f"and flair contributes most: {shown(best['value'].item())}." in page.text
    bars = [a["style"] for tag, a in page.elements if tag == "i" and a.get("class", "").startswith("fill")]
    ends = np.array([[float(end) for end in re.findall(r"([\d.]+)%", style)] for style in bars])
    assert ((ends >= 0) & (ends <= 100) & (ends[:, :1] <= ends)).all()


def test_methods_are_compared_best_first_by_number_of_sequences(toy_run, toy) -> None:
    run = toy_run.cohort(toy).backbone("dinov2-s")
    with_subsets(run, toy, label="mmdino", strength=1.5)
    with_subsets(run, toy, label="mmdino (preset=supervised)", strength=0.4)
    page = page_of(run.finish())
    rows = [row for row in rows_of(page) if row.startswith("dinov2-s · mmdino") and "2 seeds" in row]
    first, second = rows[:2]
    assert ("supervised" in first, "supervised" in second) == (False, True)
    tables = [subset_tables(seed, strength=1.5).scores for seed in (0, 1)]
    means = [
        table.query("metric == 'auroc' and split == 'test' and site.isna() and n_sequences == 2")["value"].mean()
        for table in tables
    ]
    assert shown(float(np.mean(means))) in first
    assert "Cost of one missing" in page.text
    options = [a for tag, a in page.elements if tag == "select"]
    assert "Metric on every subset of sequences" in [a.get("aria-label") for a in options]


def test_undefined_score_of_one_seed_leaves_a_dash(toy_run, toy) -> None:
    ids = with_subsets(toy_run.cohort(toy).backbone("dinov2-s"), toy)
    folder = toy_run.path / "cells" / ids[1]
    for name in ("subsets.parquet", "shapley.parquet"):
        table = pd.read_parquet(folder / name)
        table.loc[table["metric"] == "auroc", ["value", "ci_low", "ci_high"]] = np.nan
        table.to_parquet(folder / name)
    page = page_of(toy_run.finish())
    row = next(row for row in rows_of(page) if row.startswith("●with●with●with"))
    assert row.count("——") == 6  # two test sets and their four sites: neither value nor interval
    assert "AUROC is 0.000 with all" not in page.text
    assert "On test, AUROC is" not in page.text
    assert "Balanced accuracy is" in page.text


def test_with_many_sequences_the_largest_and_smallest_subsets_are_shown() -> None:
    for count, drawn in ((6, 64), (7, 1 + 7 + 7 + 1)):
        assert sum(_is_shown(tuple(has)) for has in members(count).tolist()) == drawn


def test_ticks_of_a_crowded_axis_are_thinned_around_zero() -> None:
    axis = _thinned(axis_of(DIFFERENCE, [-0.22, 0.78]))
    assert axis is not None
    assert "0.0" in [label for _, label in axis.ticks]
    assert len(axis.ticks) <= 4


@pytest.mark.parametrize("labels", [("core", "rim"), ("core",)])
def test_a_segmentation_model_has_the_section_with_dice_and_distances(
    toy_run, toy_cohort, labels: tuple[str, ...]
) -> None:
    toy = toy_cohort(modalities=("t1", "t2"), outputs=(), mask_labels=dict(zip("12", labels, strict=False)))
    run = toy_run.cohort(toy).backbone("dinov2-s")
    ids = [run.segmentation(toy, "dinov2-s", labels=labels), run.segmentation(toy, "dinov2-s", "linear", labels=labels)]
    result = mask_subset_tables(labels)
    for id_ in ids:
        result.write(run.path / "cells" / id_)
    page = page_of(run.finish())
    assert "One segmentation model, evaluated on every subset" in " ".join(page.text.split())
    assert "gets an empty mask, and is counted" in " ".join(page.text.split())
    rows = [row for row in rows_of(page) if row.startswith("●with")]
    views = (
        "dice",
        "hd95_mm",
        *(f"{name}:{label}" for name in ("dice", "hd95_mm") for label in labels * (len(labels) > 1)),
    )
    assert len(rows) == 2 * 4 * len(views)
    scores = result.scores.set_index(["subset", "metric"])
    for metric in views:
        found = [
            row for row in rows if row.startswith("●without●with") and shown(scores.loc[("t2", metric), "value"]) in row
        ]
        assert any("5 cases without" in row for row in found)
    shapley = result.shapley.set_index(["metric", "modality"])["value"]
    best = max(("t1", "t2"), key=lambda name: shapley["dice", name])
    assert f"and {best} contributes most: {shown(shapley['dice', best])}." in page.text
    assert ("Dice of rim" in page.text) == (len(labels) > 1)
    assert "Sensitivity for" not in page.text
    styles = [a.get("style", "") for tag, a in page.elements if tag == "td"]
    levels = [float(style.split(":")[1].rstrip("%")) for style in styles if style.startswith("--level")]
    dice, distance = levels[:4], levels[8:12]  # of the first method; all sequences first, none last
    for own in (dice, distance):  # the largest Dice and the smallest distance are the deepest
        assert own[0] == max(own) > own[1]
        assert own[-1] == min(own) == 0


def test_one_sequence_is_not_all_sequences(tmp_path: Path) -> None:
    subset_tables(sequences=("t1",)).write(tmp_path)
    (tmp_path / "adapt.json").write_text("{}")
    page = write_adapt_report(tmp_path).read_text(encoding="utf-8")
    assert "with its one sequence." in page
    assert "all 1 " not in page
    said = headline(tmp_path)
    assert len(said) == 3
    assert all(line.endswith(" patients") and "with its one sequence, " in line for line in said[1:])


def test_names_are_escaped(toy_run, toy) -> None:
    names = (HOSTILE, "t2")
    with_subsets(toy_run.cohort(toy).backbone("dinov2-s"), toy, sequences=names, seeds=(0,))
    page = page_of(toy_run.finish())
    assert HOSTILE in "".join(page.texts)
    assert not [a for tag, a in page.elements if tag == "img" and a.get("src") == "x"]


@pytest.mark.parametrize("name", ["subsets.parquet", "shapley.parquet"])
def test_damaged_table_is_named(toy_run, toy, name: str) -> None:
    (id_,) = with_subsets(toy_run.cohort(toy).backbone("dinov2-s"), toy, seeds=(0,))
    file = toy_run.path / "cells" / id_ / name
    toy_run.finish()
    pd.read_parquet(file).drop(columns="site").to_parquet(file)
    with pytest.raises(DataError, match=f"{name} has no column site"):
        page_of(toy_run.path)
    file.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=f"{name} cannot be read"):
        page_of(toy_run.path)


def test_dots_are_joined_from_the_first_to_the_last() -> None:
    assert _dots((True, False, True, False)) == ("has goes", "lacks comes goes", "has comes", "lacks")
    assert _dots((False, True, False)) == ("lacks", "has", "lacks")
    assert _dots((False, False)) == ("lacks", "lacks")
