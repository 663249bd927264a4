"""The groups of patients in a report and in subgroups.parquet."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.metrics import auroc
from radapt.reports import write_report, write_report_with_answers


def write_groups(run, toy) -> pd.DataFrame:
    """Two sexes, and sites of which one has few patients of a split."""
    cases = [case for split in toy.splits for case in toy.ids(split)]
    numbers = np.arange(len(cases)) % toy.patients
    sites = np.where(numbers < 5, "small", np.where(numbers < 20, "A", "B"))
    sexes = pd.Categorical(np.where(numbers % 2, "F", "M"), ["F", "M"], ordered=True)
    table = pd.DataFrame({"case": cases, "sex": sexes, "site": pd.Categorical(sites, ["A", "B", "small"])})
    table.to_parquet(run.path / "cohorts" / toy.name / "groups.parquet")
    return table


def test_groups_of_the_leading_method(finished, toy_cohort) -> None:
    toy = toy_cohort(tests=("test", "external"))
    groups = write_groups(finished, toy).set_index("case")
    page = write_report(finished.path).read_text("utf-8")
    table = pd.read_parquet(finished.path / "subgroups.parquet")
    assert set(table["split"]) == {"test", "external"}
    own = table[(table["split"] == "test") & (table["column"] == "sex")].set_index("group")
    facts = {file.parent: json.loads(file.read_text("utf-8")) for file in finished.path.glob("cells/*/cell.json")}
    values = []
    for folder, cell in facts.items():
        if (cell["backbone"], cell["label"]) != tuple(own.iloc[0][["backbone", "protocol"]]):
            continue
        cases = pd.read_parquet(folder / "predictions.parquet")
        female = groups.loc[cases["case"], "sex"].to_numpy() == "F"
        rows = cases[(cases["split"] == "test") & cases["truth"].notna() & female]
        values.append(float(auroc((rows["truth"] == "malignant").to_numpy(int), rows["p_malignant"].to_numpy())))
    assert len(values) == 2
    assert own.loc["F", "value"] == pytest.approx(np.mean(values))
    assert own.loc["F", "against"] == "M"
    small = table[(table["group"] == "small") & (table["split"] == "test")].iloc[0]
    assert small["n_patients"] == 5
    assert np.isnan(small["ci_low"])
    assert "<h3>Groups of patients on <em>test</em></h3>" in page
    assert '<tr class="few"><th scope="row">small</th>' in page


def test_groups_are_of_the_method_that_the_first_screen_reports(toy_run, toy_cohort) -> None:
    """Not of the best one on the test set, which its patients chose."""
    toy = toy_cohort()
    toy_run.cohort(toy).backbone("dinov2-s").backbone("resnet50")
    for backbone, skill, inner in (("dinov2-s", 1.4, 0.1), ("resnet50", 0.6, 0.9)):
        fit = {"candidates": [{"options": {}, "val": {"mcc": inner}}], "chosen": 0}
        toy_run.cell(toy, backbone, skill=skill, fit=fit)
    write_groups(toy_run, toy)
    folder = toy_run.finish()
    written = write_report_with_answers(folder)
    chosen = json.loads((folder / "summary.json").read_text("utf-8"))["answers"][0]["method"]
    table = pd.read_parquet(folder / "subgroups.parquet")
    assert set(table["backbone"] + " with " + table["protocol"]) == {chosen}
    assert f"{chosen}, the method reported above." in written.path.read_text("utf-8")


def test_a_column_of_one_group_here_has_no_table(finished, toy_cohort) -> None:
    toy = toy_cohort(tests=("test", "external"))
    table = write_groups(finished, toy).assign(scanner=pd.Categorical(["3T"] * 160))
    table.to_parquet(finished.path / "cohorts" / toy.name / "groups.parquet")
    page = write_report(finished.path).read_text("utf-8")
    assert "<caption>By sex" in page
    assert "<caption>By scanner" not in page
    assert "Of one group here: scanner." in page


def test_groups_of_label_maps(toy_run, toy_cohort, tmp_path: Path) -> None:
    toy = toy_cohort(outputs=(), mask_labels={"1": "core", "2": "rim"})
    toy_run.cohort(toy).backbone("dinov2-s").segmentation(toy, "dinov2-s")
    write_groups(toy_run, toy)
    write_report(toy_run.finish())
    table = pd.read_parquet(toy_run.path / "subgroups.parquet")
    assert set(table["metric"]) == {"dice"}
    assert table["calibration"].isna().all()
    assert table.loc[table["column"] == "sex", "value"].between(0.3, 0.9).all()


def test_without_groups_there_is_no_section(finished) -> None:
    page = write_report(finished.path).read_text("utf-8")
    assert "Groups of patients" not in page
    assert not (finished.path / "subgroups.parquet").exists()


def test_shortcuts_are_a_warning_on_the_first_screen(finished, toy_cohort) -> None:
    number = {
        "n_groups": 2, "n_patients": 80, "n_cases": 80, "readable": 0.99, "readable_low": 0.97, "readable_high": 1.0,
        "label": 0.62, "label_low": 0.55, "label_high": 0.7, "strongest": "malignant", "strongest_value": 0.62,
        "strongest_low": 0.55, "strongest_high": 0.7, "p": 0.001,
    }  # fmt: skip
    rows = [
        {"backbone": "dinov2-s", "column": "view", **number, "p_holm": 0.002, "is_shortcut": True},
        {"backbone": "dinov2-s", "column": "sex", **number, "p_holm": 0.2, "is_shortcut": False},
    ]
    folder = finished.path / "cohorts" / toy_cohort().name / "shortcuts"
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "dinov2-s.parquet")
    written = write_report_with_answers(finished.path)
    page = written.path.read_text("utf-8")
    warning = "Possible shortcut: view can be read from the features of dinov2-s among patients with the same label"
    assert sum(warning in answer for answer in written.answers) == 1
    assert not any("sex can be read" in answer for answer in written.answers)
    assert page.count(warning) == 2  # on the first screen and in the section
    assert page.count('<span class="badge warn">shortcut</span>') == 1
