"""Methods over several cohorts: in the report, its tables and figures, and at the command line."""

import json
from pathlib import Path

import pandas as pd
import pytest

from radapt.cli import main
from radapt.reports import export_report
from radapt.reports.leaderboard import leaderboards
from radapt.reports.over_cohorts import over_cohorts
from radapt.reports.run_folder import read_run
from radapt.reports.study_report import write_report_with_answers

METHODS = (("dinov2-s", "knn", 1.4), ("dinov2-s", "linear", 1.0), ("resnet50", "knn", 0.2))


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def many(run, toy_cohort, cohorts) -> Path:
    for backbone in dict.fromkeys(backbone for backbone, *_ in METHODS):
        run.backbone(backbone)
    for number, name in enumerate(cohorts):
        toy = toy_cohort(name=name, tests=("test",), patients=8, case_prefix=name)
        run.cohort(toy)
        for backbone, label, skill in METHODS:
            run.cell(toy, backbone, label, skill=skill + 0.05 * number, seed=number)
    return run.finish()


def test_a_report_over_eight_cohorts(toy_run, toy_cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.reports.export.exporting.as_png", lambda text: None)  # drawing takes 6 s for 41 figures
    folder = many(toy_run, toy_cohort, "abcdefgh")
    written = write_report_with_answers(folder)
    table = pd.read_parquet(folder / "over_cohorts.parquet")
    own = table[table["metric"] == "auroc"]
    assert set(own["n_cohorts"]) == {8}
    assert set(own["comparisons"]) == {3}
    last = own[own["b"] == "resnet50 with knn"]
    assert list(last["verdict"]) == ["better", "better"]
    assert (last["p_holm"] < 0.05).all()
    results = pd.read_parquet(folder / "results.parquet")
    means = results[(results["split"] == "test") & (results["metric"] == "auroc")].groupby(["backbone", "protocol"])
    mean = means["value"].mean()
    first = own[(own["a"] == "dinov2-s with knn") & (own["b"] == "resnet50 with knn")].iloc[0]
    assert first["difference"] == pytest.approx(mean["dinov2-s", "knn"] - mean["resnet50", "knn"])
    summary = json.loads((folder / "summary.json").read_text())
    assert len(summary["over_cohorts"]) == len(table)
    page = written.path.read_text()
    assert 'id="over-cohorts"' in page
    assert page.count('data-plot="ranks"') == 1
    assert page.index('aria-label="Classification over all cohorts"') < page.index('aria-label="a, test"')
    assert any(answer.startswith("Over 8 cohorts, ") for answer in written.answers)
    assert "than every other method" in page or "It is better than resnet50 with knn" in page
    files = [path.relative_to(tmp_path / "out").as_posix() for path in export_report(folder, tmp_path / "out")]
    named = {"tables/over-cohorts.csv", "figures/over-cohorts-classification-auroc.svg"}
    assert named | {"tables/over-cohorts-classification-auroc.md"} <= set(files)
    stored = pd.read_csv(tmp_path / "out" / "tables" / "over-cohorts.csv")
    pd.testing.assert_frame_equal(stored, table, check_dtype=False)


def test_too_few_cohorts_are_said(toy_run, toy_cohort) -> None:
    view = over_cohorts(leaderboards(read_run(many(toy_run, toy_cohort, "ab"))))[0]
    assert {pair.verdict for pair in view.pairs} == {"undecided"}
    assert view.found.cliques == (tuple(view.found.order),)
    assert "2 cohorts cannot show that one method is better than another: with 3 comparisons" in view.sentence
    assert "needs at least 7 cohorts" in view.sentence


def test_one_cohort_has_no_such_section(written) -> None:
    assert not (written.path / "over_cohorts.parquet").exists()
    assert "over-cohorts" not in (written.path / "report.html").read_text()


def test_a_method_that_one_cohort_lacks_is_left_out_and_named(toy_run, toy_cohort) -> None:
    toy = toy_cohort(name="a")
    toy_run.cell(toy, "dinov2-s", "mil", skill=1.0)
    folder = many(toy_run, toy_cohort, "ab")
    view = over_cohorts(leaderboards(read_run(folder)))[0]
    assert view.left_out == ("dinov2-s with mil",)
    assert len(view.methods) == 3


def test_a_method_pretrained_on_a_cohort_is_left_out(toy_run, toy_cohort) -> None:
    toy_run.cell(toy_cohort(name="a"), "seen", contamination="listed")
    toy_run.cell(toy_cohort(name="b"), "seen")
    view = over_cohorts(leaderboards(read_run(many(toy_run, toy_cohort, "ab"))))[0]
    assert view.left_out == ("seen with linear",)


def test_segmentations_have_ranks_of_their_own(toy_run, toy_cohort) -> None:
    for name in "ab":
        toy = toy_cohort(name=name, outputs=(), mask_labels={"1": "core", "2": "rim"}, patients=8, case_prefix=name)
        toy_run.cohort(toy)
        for backbone, skill in (("dinov2-s", 0.9), ("resnet50", 0.6)):
            toy_run.segmentation(toy, backbone, skill=skill)
    views = {view.metric: view for view in over_cohorts(leaderboards(read_run(toy_run.finish())))}
    assert views["dice"].aim == "segmentation"
    assert "volume_error_ml" not in views
    for metric in ("dice", "hd95_mm"):
        assert views[metric].ranked[0][0].startswith("dinov2-s")


def test_a_run_with_several_cohorts_is_compared_over_them(toy_run, toy_cohort, tmp_path: Path, capsys) -> None:
    folder, file = many(toy_run, toy_cohort, "abcdefgh"), tmp_path / "found.json"
    assert call("compare", folder, "--metric", "auroc", "--json", file) == 0
    said = capsys.readouterr().out
    assert said.startswith("AUROC over 8 cohorts (a, b, c, d, e, f, g, h):\n  mean rank 1.")
    record = json.loads(file.read_text())
    assert (record["n_cohorts"], record["comparisons"], record["metric"]) == (8, 3, "auroc")
    assert record["rank_a"] <= record["rank_b"]
    assert call("compare", folder, "--cohort", "a", "--metric", "auroc") == 0
    assert "on a, test:" in capsys.readouterr().out


def test_several_runs_are_compared_over_their_cohorts(toy_cohort, tmp_path: Path, capsys) -> None:
    from .conftest import ToyRun

    folders = [many(ToyRun(tmp_path / name), toy_cohort, cohorts) for name, cohorts in (("one", "ab"), ("two", "c"))]
    assert call("compare", *folders) == 0
    assert " over 3 cohorts (a, b, c):\n" in capsys.readouterr().out
    assert call("compare", folders[0], folders[0]) == 2
    assert "The cohort 'a' is in two of the run folders" in capsys.readouterr().err
    assert call("compare", *folders, "--metric", "dice") == 2
    assert "The metric 'dice' is not on two cohorts" in capsys.readouterr().err
    assert call("compare", *folders, "--interval", "bca") == 2
    assert "has no interval; drop --interval" in capsys.readouterr().err
    assert call("compare", *folders, "--cohort", "a") == 2
    assert "drop --cohort" in capsys.readouterr().err
