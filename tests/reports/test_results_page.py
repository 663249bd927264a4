"""`benchmarks/results`: the page of results from toy run folders, with published figures, and what was not run."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from radapt.durable import write_json, write_parquet, write_text
from radapt.studies import Study

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COLUMNS = "dataset,size,model,protocol,metric,value,source,mark\n"
FIGURES = (
    COLUMNS
    + "PneumoniaMNIST,28,Reader,linear,AUROC,97.29,a table,F-eye\n"
    + "PneumoniaMNIST,28,Memory,linear,AUROC,12.3,nobody,M\n"
    + "PneumoniaMNIST,224,Larger,linear,AUROC,98.9,a table,F\n"
)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Writes the page of run folders and gives its text."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    results = importlib.import_module("results.page")

    def write(*runs: Path, published: str = FIGURES, keep: str | None = None) -> str:
        (tmp_path / "figures.csv").write_text(published)
        given = [*map(str, runs), "--out", str(tmp_path / "page.md"), "--published", str(tmp_path / "figures.csv")]
        if keep is not None:
            (tmp_path / "kept.md").write_text(keep, encoding="utf-8")
            given += ["--keep", str(tmp_path / "kept.md")]
        assert results.main(given) == 0
        return (tmp_path / "page.md").read_text("utf-8")

    return write


def part(text: str, title: str) -> str:
    """The section whose heading starts with `title`."""
    return next(section for section in text.split("\n## ") if section.startswith(title))


def finished(run: Any, path: Path) -> Path:
    """The run folder with a whole study file."""
    study = {"name": "toy", "cohorts": [str(path / "toys" / "cohort.yaml")], "backbones": ["dinov2-s"]}
    write_text(run.path / "study.yaml", yaml.safe_dump({**study, "protocols": ["knn"]}))
    folder: Path = run.finish()
    return folder


def classification(run: Any, cohort: Any) -> Path:
    toy = cohort(name="pneumoniamnist")
    run.cohort(toy)
    run.cell(toy, "dinov2-s-focus", "kNN with k = 11", protocol="knn", skill=0.4)
    run.cell(toy, "dinov2-s-focus", "linear", protocol="linear", skill=1.5)
    run.cell(toy, "random ViT-S", "linear", protocol="linear", skill=0.1)
    run.cell(toy, "none", "age-sex", protocol="age-sex", skill=0.1, control="age-sex")
    for repeat in (0, 1):
        run.cell(toy, "dinov2-s-focus", "fewshot", protocol="logistic", shots=4, repeat=repeat)
    run.cell(toy, "efficientnet-lite0", "logistic", protocol="logistic", state="failed", reason="no weights")
    return finished(run, run.path.parent)


def test_numbers_stand_in_the_table_with_their_intervals(toy_run: Any, toy_cohort: Any, page: Any) -> None:
    folder = classification(toy_run, toy_cohort)
    text = page(folder)
    found = toy_run.results.query("split == 'test' and metric == 'auroc' and protocol == 'linear'").iloc[0]
    number = f"{found.value:.3f} [{found.ci_low:.3f}, {found.ci_high:.3f}]"
    section = part(text, "PneumoniaMNIST")
    assert f"| linear | dinov2-s-focus | {number} |" in section
    assert "kNN with k = 11" in section
    assert "few-shot: fewshot, 4 shots" in section
    assert "40 × 2 runs" in section or "38 × 2 runs" in section
    assert section.index("random ViT-S") < section.index("control: age-sex")
    assert str(folder.parent) not in text
    assert "`radapt run toy.yaml --out runs/toy`" in text
    assert "cohorts: [toys/cohort.yaml]" in text


def test_a_cell_that_two_folders_share_is_one_row(toy_run: Any, toy_cohort: Any, page: Any, tmp_path: Path) -> None:
    folder = classification(toy_run, toy_cohort)
    shutil.copytree(folder, tmp_path / "again")
    assert part(page(folder, tmp_path / "again"), "PneumoniaMNIST") == part(page(folder), "PneumoniaMNIST")


def test_sections_of_other_data_sets_are_kept_with_their_commands(
    toy_run: Any, toy_cohort: Any, page: Any, tmp_path: Path
) -> None:
    classes = page(classification(toy_run, toy_cohort))
    assert "`radapt run toy.yaml --out runs/toy`" in part(classes, "PneumoniaMNIST")
    adapted = tmp_path / "adapted"
    adapted.mkdir()
    write_json(adapted / "adapt.json", {"cohort": "lgg", "backbone": "dinov2-s-focus"})
    own = pd.DataFrame({"patient": ["a", "b"], "split": "oof", "truth": ["x", "y"], "decision": ["x", "y"]})
    write_parquet(adapted / "predictions.parquet", own.assign(p_x=0.5, p_y=0.5))
    table = pd.DataFrame({"split": ["oof"], "site": None, "n_sequences": 1, "metric": "mcc", "value": 1.0})
    write_parquet(adapted / "subsets.parquet", table.assign(n_patients=2, ci_low=0.0, ci_high=1.0))
    both = page(adapted, keep=classes)
    assert part(both, "PneumoniaMNIST") == part(classes, "PneumoniaMNIST")
    assert "--out runs/lgg-adapted`" in part(both, "LGG molecular subtype")
    assert page(adapted, keep=both) == both
    assert "Not run." in part(page(adapted), "PneumoniaMNIST")
    assert part(page(toy_run.path, adapted), "LGG molecular") == part(both, "LGG molecular")


def test_a_run_of_two_data_sets_is_printed_once(toy_run: Any, toy_cohort: Any, page: Any, tmp_path: Path) -> None:
    for name in ("lgg-idh", "lgg-grade"):
        toy = toy_cohort(name=name)
        toy_run.cohort(toy)
        toy_run.cell(toy, "dinov2-s-focus", "linear", protocol="linear")
    text = page(finished(toy_run, tmp_path))
    assert text.count("`radapt run toy.yaml") == 1
    assert part(text, "LGG grade").rstrip().endswith("Runs of an earlier section: `toy`.")


def test_published_figures_stand_beside_ours_except_those_from_memory(toy_run: Any, toy_cohort: Any, page: Any) -> None:
    section = part(page(classification(toy_run, toy_cohort)), "PneumoniaMNIST")
    line = next(line for line in section.splitlines() if "Reader" in line)
    assert "0.973 (read from a picture)" in line
    assert line.rstrip(" |").endswith("dinov2-s-focus")
    assert "Memory" not in section
    assert "Larger" not in section
    assert "The published protocol (linear beside ours):" in section


def test_what_was_not_run_is_said(toy_run: Any, toy_cohort: Any, page: Any) -> None:
    text = page(classification(toy_run, toy_cohort))
    said = next(line for line in part(text, "PneumoniaMNIST").splitlines() if line.startswith("Not run: "))
    assert "kNN with efficientnet-lite0 or random" in said
    assert "linear with efficientnet-lite0" in said
    assert "logistic;" in said  # failed, so not run
    assert "fusion" in said
    assert "dinov2" not in said.replace("few-shot with", "")
    assert "\nNot run.\n" in part(text, "LGG grade")


def test_segmentations_are_compared_patient_by_patient(
    toy_run: Any, toy_cohort: Any, page: Any, tmp_path: Path
) -> None:
    toy = toy_cohort(name="lungs", outputs=(), mask_labels={"1": "core", "2": "rim"})
    toy_run.cohort(toy)
    conv = {"protocol": "segment", "options": {"decoder": "conv", "encoder": "frozen"}}
    toy_run.segmentation(toy, "dinov2-s-focus", "segment conv", skill=0.9, **conv)
    toy_run.segmentation(toy, "random ViT-S", "segment conv", skill=0.6, **conv)
    toy_run.segmentation(toy, "none", "unet", skill=0.8, protocol="unet")
    section = part(page(finished(toy_run, tmp_path)), "Lungs")
    means = [
        pd.read_parquet(toy_run.path / "cells" / cell / "predictions.parquet")
        .query("split == 'test'").groupby("patient")["dice"].mean()
        for cell in toy_run.cells
    ]  # fmt: skip
    for name, other in (("random", means[1]), ("U-Net", means[2])):
        said = next(line for line in section.splitlines() if line.startswith("- conv decoder") and name in line)
        assert f": {(means[0] - other).mean():.3f} [" in said
    assert "- conv decoder with dinov2-s-focus minus linear" not in section


def test_classifiers_are_compared_on_the_patients_of_both(
    toy_run: Any, toy_cohort: Any, page: Any, tmp_path: Path
) -> None:
    toy = toy_cohort(name="lgg-subtype")
    toy_run.cohort(toy)
    joined = {"protocol": "combined", "options": {"protocol": "mmdino"}}
    toy_run.cell(toy, "dinov2-s-focus", "both", skill=1.5, **joined)
    toy_run.cell(toy, "none", "age-sex", protocol="age-sex", skill=0.3, control="age-sex")
    toy_run.cell(toy, "dinov2-s-focus", "mmdino", protocol="mmdino", skill=1.0)
    folder = finished(toy_run, tmp_path)
    section = part(page(folder), "LGG molecular")
    assert "| fusion with age and sex: both | dinov2-s-focus |" in section
    said = [line for line in section.splitlines() if line.startswith("- ") and " minus " in line]
    assert [line.split(":")[0] for line in said] == [
        "- fusion with age and sex with dinov2-s-focus minus age-sex",
        "- fusion with age and sex with dinov2-s-focus minus fusion with dinov2-s-focus",
    ]
    values = toy_run.results.query("split == 'test'").set_index(["protocol", "metric"])["value"]
    gained = values["both"] - values["age-sex"]
    numbers = [f"{gained[metric]:+.3f}" for metric in ("auroc", "mcc", "balanced_accuracy")]
    assert [part.split(" [")[0] for part in said[0].split(": ")[1].split("], ")] == numbers
    # "Not run" asks no data set for columns that it may not have.
    assert "with age and sex" not in next(line for line in section.splitlines() if line.startswith("Not run"))


def test_age_and_sex_stand_beside_the_published_control(
    toy_run: Any, toy_cohort: Any, page: Any, tmp_path: Path
) -> None:
    toy = toy_cohort(name="lgg-idh")
    toy_run.cohort(toy)
    toy_run.cell(toy, "dinov2-s-focus", "logistic", protocol="logistic", skill=1.5)
    toy_run.cell(toy, "none", "age-sex", protocol="age-sex", skill=0.3, control="age-sex")
    figures = COLUMNS + "TCGA glioma IDH,-,age + sex,logistic,AUROC,.76,a page,S\n"
    section = part(page(finished(toy_run, tmp_path), published=figures), "LGG IDH")
    found = toy_run.results.query("split == 'test' and metric == 'auroc' and protocol == 'age-sex'").iloc[0]
    line = next(line for line in section.splitlines() if line.startswith("| age + sex"))
    assert f"| 0.760 (second-hand) | {found.value:.3f} [" in line
    assert "dinov2" not in line


def test_a_folder_of_an_adaptation_is_a_row_of_fusion(tmp_path: Path, page: Any) -> None:
    folder = tmp_path / "adapted"
    folder.mkdir()
    write_json(folder / "adapt.json", {"cohort": "lgg", "backbone": "dinov2-s-focus"})
    truth = np.tile(["codel", "wt"], 20)
    decided = np.where(np.arange(40) < 10, truth[::-1], truth)
    right = pd.DataFrame(
        {"patient": [f"p{n}" for n in range(40)], "split": "oof", "truth": truth, "decision": decided}
    ).assign(p_codel=0.4, p_wt=0.6)
    write_parquet(folder / "predictions.parquet", right)
    table = pd.DataFrame(
        {"split": "oof", "site": None, "n_sequences": [1, 2], "metric": "mcc", "value": [0.1, 0.5], "n_patients": 40}
    ).assign(ci_low=0.0, ci_high=np.array([0.2, 1.0]))
    write_parquet(folder / "subsets.parquet", table)
    section = part(page(folder), "LGG molecular subtype")
    line = next(line for line in section.splitlines() if line.startswith("| fusion | dinov2-s-focus | 0.500 [0."))
    assert line.split(" | ")[3] == "40"


def test_intervals_are_computed_again_and_values_have_to_be_those_of_the_predictions(
    toy_run: Any, toy_cohort: Any, page: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = classification(toy_run, toy_cohort)
    before = part(page(folder), "PneumoniaMNIST")
    stored = pd.read_parquet(folder / "results.parquet")
    write_parquet(folder / "results.parquet", stored.assign(ci_low=0.123, ci_high=0.124))
    assert part(page(folder), "PneumoniaMNIST") == before
    write_parquet(folder / "results.parquet", stored.assign(value=stored["value"] + 1e-3))
    with pytest.raises(AssertionError):
        page(folder)
    assert "in the table and" in capsys.readouterr().err


def test_the_studies_stand_on_the_page_and_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    compact = importlib.import_module("results.studies").compact
    given = {
        "name": "toy",
        "cohorts": [str(tmp_path / "lungs" / "cohort.yaml")],
        "backbones": ["dinov2-s", {"name": "ours", "as": "dinov2-s", "weights": str(tmp_path / "secret" / "w.bin")}],
        "protocols": ["knn", {"logistic": {"blocks": 1}, "title": "linear"}],
        "image": {"size": 98},
    }
    text = compact(Study.model_validate(yaml.safe_load(Study.model_validate(given).resolved())))
    assert str(tmp_path) not in text
    assert "resamples" not in text
    again = Study.model_validate(yaml.safe_load(text))
    assert again.cohorts == ["lungs/cohort.yaml"]
    assert [entry.label for entry in again.protocols] == ["knn", "linear"]
    assert again.backbones[1].weights == "w.bin"
    assert again.image.size == 98


def test_a_folder_or_figures_that_are_none_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    results = importlib.import_module("results.page")
    assert results.main([str(tmp_path / "nothing"), "--out", str(tmp_path / "page.md")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    (tmp_path / "figures.csv").write_text("dataset,value\n")
    sets = importlib.import_module("results.data_sets")
    with pytest.raises(Exception, match="has no column size, model"):
        sets.Published.read(tmp_path / "figures.csv")
