"""The parts of a report for a paper: summary, tables, figures, checklists."""

import csv
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radapt.cli import main
from radapt.reports import summary_schema, write_report_with_answers
from radapt.reports.charts.figure import Chart, LegendEntry
from radapt.reports.export import figures as figures_module
from radapt.reports.export.checklist_items import CHECKLISTS
from radapt.reports.export.checklists import filled
from radapt.reports.export.evidence import evidence_of
from radapt.reports.export.figures import as_png, standalone
from radapt.reports.export.tables import Table, as_csv, as_latex, as_markdown
from radapt.reports.study_report import read_study_report


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def exported(_finished_once, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside the run folder that it was exported from."""
    folder = tmp_path_factory.mktemp("export")
    shutil.copytree(_finished_once.path, folder / "run")
    assert call("report", folder / "run", "--export", folder / "out") == 0
    return folder / "out"


def test_the_summary_fits_its_schema_and_says_what_the_terminal_says(exported: Path) -> None:
    summary = json.loads((exported / "summary.json").read_text(encoding="utf-8"))
    schema = json.loads((exported / "summary.schema.json").read_text(encoding="utf-8"))
    assert schema == json.loads(json.dumps(summary_schema()))
    jsonschema.validate(summary, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**summary, "answers": [{}]}, schema)
    assert summary == json.loads((exported.parent / "run" / "summary.json").read_text(encoding="utf-8"))
    said = write_report_with_answers(exported.parent / "run").answers
    leading = [one for one in summary["answers"] if one["metric"] == "auroc"]
    assert len(leading) == len(said) == 2
    for record, text in zip(leading, said, strict=True):
        assert all(answer["text"] in text for answer in record["answers"])
    page = (exported.parent / "run" / "report.html").read_text(encoding="utf-8")
    assert leading[0]["answers"][0]["text"].split(" (")[0] in page


def test_tables_hold_the_numbers_of_the_results(exported: Path) -> None:
    scores = pd.read_csv(exported / "tables" / "scores.csv")
    results = pd.read_parquet(exported.parent / "run" / "results.parquet").query(
        "split == 'test' and metric == 'auroc'"
    )
    own = scores.query("split == 'test' and metric == 'auroc'")
    means = sorted(results.groupby(["backbone", "protocol"])["value"].mean())
    assert sorted(own["value"]) == pytest.approx(means)
    assert list(own["rank"]) == [1, 2, 3, 4]
    comparisons = pd.read_csv(exported / "tables" / "comparisons.csv")
    assert len(comparisons) == len(pd.read_parquet(exported.parent / "run" / "comparisons.parquet"))
    text = (exported / "tables" / "leaderboard-toy-classification-test.md").read_text(encoding="utf-8")
    assert f"| {own['method'].iloc[0]} | {own['value'].iloc[0]:.3f} [" in text
    assert r"\toprule" in (exported / "tables" / "comparisons-toy-classification-test.tex").read_text("utf-8")


def test_hostile_texts_in_every_format() -> None:
    table = Table("50 % of_all", ("Method", "A|B"), (("a & b_c", "−1.0"), ("=cmd|x", "#{}~^\\")))
    assert r"a \& b\_c & $-$1.0 \\" in as_latex(table)
    assert r"\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{} \\" in as_latex(table)
    assert r"| a & b\_c | −1.0 |" in as_markdown(table)
    assert r"A\|B" in as_markdown(table)
    rows = list(csv.reader(as_csv(["x", "y"], [("=1+1", float("nan")), ("-a", -1.5), ('q"', 2)]).splitlines()))
    assert rows == [["x", "y"], ["'=1+1", ""], ["'-a", "-1.5"], ['q"', "2"]]


def test_figures_stand_alone(exported: Path) -> None:
    files = sorted((exported / "figures").glob("*.svg"))
    assert {"roc", "reliability", "forest"} <= {kind for file in files for kind in file.stem.split("-")}
    for file in files:
        text = file.read_text(encoding="utf-8")
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(" not in text
        assert ".chart text" in text
        assert "#0072b2" in text
    chart = Chart("x", files and _first(files[0]), (LegendEntry("a <b> & c", "t0"),))
    assert "a &lt;b&gt; &amp; c" in standalone(chart, "head")
    with pytest.raises(ValueError, match="SVG"):
        standalone(Chart("x", type(chart.svg)("<svg>")), "head")


def _first(file: Path):
    from radapt.reports.charts.drawing import Drawing

    assert file.is_file()
    return Drawing(10).svg("label")


def test_checklists_claim_only_what_the_run_holds(exported: Path) -> None:
    text = (exported / "checklists" / "claim-2024.md").read_text(encoding="utf-8")
    assert text.count("\n| ") == 44 + 1
    assert "| 23 | software and its versions | from the run | radapt 0.1.0, python 3.11.9, torch 2.11.0. |" in text
    assert "| 44 | funding | open |  |" in text
    study = read_study_report(exported.parent / "run")
    evidence = evidence_of(study.run, study.chapters)
    assert evidence["internal"] == "toy: a test set of the same cohort."
    assert evidence["external"].startswith("toy: further test set “external”")
    assert evidence["selection"] == "The reported method was chosen on validation patients, not on test patients."
    assert not evidence["simpler"]
    for checklist in CHECKLISTS:
        assert len({number for number, *_ in checklist.items}) == len(checklist.items)
        assert {topic for _, _, topics, _ in checklist.items for topic in topics} <= set(evidence)
        nothing = filled(checklist, dict.fromkeys(evidence, ""))
        assert {item.state for item in nothing} == {"open"}
        assert not any(item.evidence for item in nothing)
        assert {item.state for item in filled(checklist, dict.fromkeys(evidence, "yes"))} <= {
            "from the run", "in part", "open",
        }  # fmt: skip


def test_an_unfinished_run_has_parts_too(toy_run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("report", toy_run.path, "--export", tmp_path / "out") == 0
    jsonschema.validate(json.loads((tmp_path / "out" / "summary.json").read_text()), summary_schema())
    (tmp_path / "file").write_text("")
    assert call("report", toy_run.path, "--export", tmp_path / "file") == 2
    assert "is a file; expected a folder" in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("schema", "summary") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "radapt summary"


def test_every_figure_has_a_png_with_its_text(exported: Path) -> None:
    drawn = {path.stem: path for path in (exported / "figures").glob("*.png")}
    assert drawn.keys() == {path.stem for path in (exported / "figures").glob("*.svg")}
    for name, path in drawn.items():
        svg = ET.fromstring((exported / "figures" / f"{name}.svg").read_text(encoding="utf-8"))
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape[:2] == (round(3 * float(svg.get("height", 0))), round(3 * float(svg.get("width", 0))))
        assert tuple(pixels[0, 0]) == (255, 255, 255)
        heading = pixels[: 3 * 28]
        assert (heading.min(axis=2) < 100).mean() > 0.005, "the heading is text"


def test_without_a_font_there_is_no_png(finished, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_module, "_draws_text", lambda: False)
    assert as_png("<svg/>") is None
    assert call("report", finished.path, "--export", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert f"files in {tmp_path / 'out'}" in said
    assert "no font of this machine" in said
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_font_that_draws_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    figures_module._draws_text.cache_clear()
    monkeypatch.setattr(figures_module, "_SIGNS", "")
    assert not figures_module._draws_text()
    figures_module._draws_text.cache_clear()
