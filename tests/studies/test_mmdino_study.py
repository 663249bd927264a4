"""Adaptations in a study: titles of entries, unsupported backbones, masks in the digest."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from radapt.errors import UsageError
from radapt.mmdino.fusion.token_kind import PooledTokenStore
from radapt.reports import write_report
from radapt.reports.verification import verify_run
from radapt.studies import Plan, Settings, plan_study, read_study, run_study
from toy_adaptation import QUICK
from toy_study import write_cohort, write_study

VIT = {"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}
CNN = {"name": "cnn", "as": "timm:test_resnet", "weights": "random", "dtype": "float32"}


def row(**options: Any) -> dict[str, Any]:
    return {"protocol": "mmdino", "options": QUICK | options, "fractions": [0.5], "shots": [], "repeats": 1}


def settings(folder: Path) -> Settings:
    return Settings(cache=folder / "cache", offline=True)


def plan(study: Path) -> Plan:
    return plan_study(read_study(study), settings(study.parent))


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "discs", patients=24)


def test_rows_have_titles_and_subsets_in_one_report(cohort: Path, tmp_path: Path) -> None:
    rows = [
        {"fewshot": row(), "title": "ours"},
        {"fewshot": row(preset="supervised"), "title": "labels alone"},
        "knn",
    ]
    study = write_study(tmp_path, [cohort], backbones=[VIT, CNN], protocols=rows)
    outcome = run_study(read_study(study), tmp_path / "run", settings(tmp_path))
    assert (outcome.finished, outcome.failures) == (4, ())
    results = pd.read_parquet(tmp_path / "run" / "results.parquet")
    named = results.drop_duplicates("cell").set_index("protocol")
    assert set(named.index) == {"ours", "labels alone", "knn"}
    for title in ("ours", "labels alone"):
        assert named.loc[title, "backbone"] == "vit"
        assert named.loc[title, "fraction"] == 0.5
        folder = tmp_path / "run" / "cells" / named.loc[title, "cell"]
        assert (folder / "model" / "backbone.json").is_file()
        assert len(pd.read_parquet(folder / "shapley.parquet"))
    page = write_report(tmp_path / "run").read_text()
    assert "labels alone" in page
    assert verify_run(tmp_path / "run").faults == ()
    again = run_study(read_study(tmp_path / "run" / "study.yaml"), tmp_path / "run", settings(tmp_path))
    assert (again.already, again.finished) == (4, 0)


def test_entries_without_titles_differ_by_their_options(cohort: Path, tmp_path: Path) -> None:
    rows = [{"mmdino": {"preset": "cpu"}}, {"mmdino": {"preset": "supervised"}}]
    cells = plan(write_study(tmp_path, [cohort], backbones=[VIT], protocols=rows)).cells
    assert {cell.facts["label"] for cell in cells} == {"mmdino (preset=cpu)", "mmdino (preset=supervised)"}


def test_a_title_changes_no_number(cohort: Path, tmp_path: Path) -> None:
    plain, titled = (
        plan(write_study(tmp_path, [cohort], backbones=[VIT], protocols=[rows])).cells[0]
        for rows in ({"mmdino": {"preset": "cpu"}}, {"mmdino": {"preset": "cpu"}, "title": "ours"})
    )
    assert plain.id == titled.id
    assert (plain.facts["label"], titled.facts["label"]) == ("mmdino", "ours")


def test_backbones_that_cannot_be_adapted_are_left_out_and_named(cohort: Path, tmp_path: Path) -> None:
    planned = plan(write_study(tmp_path, [cohort], backbones=[VIT, CNN], protocols=["mmdino", "knn"]))
    pairs = {(cell.facts["backbone"], cell.facts["label"]) for cell in planned.cells}
    assert pairs == {("vit", "mmdino"), ("vit", "knn"), ("cnn", "knn")}
    assert planned.notes == ("mmdino does not support cnn",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbones": [CNN], "protocols": ["mmdino", "knn"]}, "supports none of the backbones"),
        ({"backbones": [VIT], "protocols": [{"mmdino": {}, "title": "x"}, {"knn": {}, "title": "x"}]}, "twice"),
        ({"backbones": [VIT], "protocols": [{"mmdino": {"preset": "cpu"}, "titel": "x"}]}, "titel"),
        ({"backbones": [VIT], "protocols": [{"mmdino": {}, "title": "a"}, {"mmdino": {}, "title": "b"}]}, "same cell"),
    ],
)
def test_what_makes_no_sense_is_refused(cohort: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(write_study(tmp_path, [cohort], **changes))


def test_masks_decide_an_adaptation_and_no_probe(cohort: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path, [cohort], backbones=[VIT], protocols=["mmdino", "knn"])
    before = {cell.facts["label"]: cell.id for cell in plan(study).cells}
    table = pd.read_csv(cohort.parent / "cases.csv")
    table.assign(mask=table["image:a"]).to_csv(cohort.parent / "cases.csv", index=False)
    after = {cell.facts["label"]: cell.id for cell in plan(study).cells}
    assert after["knn"] == before["knn"]
    assert after["mmdino"] != before["mmdino"]


def test_probes_and_a_fusion_share_one_pass_of_the_encoder(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PooledTokenStore, "_encoded", lambda *_: pytest.fail("a slice was encoded twice"))
    small = {"epochs": 1, "members": 1, "width": 32, "depth": 1, "grid": 2}
    fusion = {"mmdino": {"trained": "fusion", "slices": 2, "fusion": small}}
    image = {"size": 32, "slices": {"count": 2}}
    study = write_study(tmp_path, [cohort], backbones=[VIT], protocols=["knn", fusion], image=image)
    outcome = run_study(read_study(study), tmp_path / "run", settings(tmp_path))
    assert (outcome.finished, outcome.failures) == (2, ())
