"""Ways to cut volumes, compared in one study: along one axis, along all three, and with neighbours as channels."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from PIL import Image

from radapt.errors import UsageError
from radapt.studies import Settings, plan_study, read_study, run_study
from toy_study import write_cohort, write_study

VIT = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]


def image(name: str, **slices: Any) -> dict[str, Any]:
    return {"name": name, "size": 32, "slices": slices}


def test_every_way_to_cut_volumes_gives_numbers_and_pictures(tmp_path: Path) -> None:
    ways = [image("axial"), image("all-axes", axis="triplanar", count=3), image("deep", neighbours=1)]
    path = write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=VIT, protocols=["knn"])
    path.write_text(path.read_text().replace("image:\n  size: 32\n", f"images: {ways}\n"))
    outcome = run_study(read_study(path), tmp_path / "run", Settings(cache=tmp_path / "cache", offline=True))
    assert (outcome.finished, outcome.failures) == (3, ())
    results = pd.read_parquet(tmp_path / "run" / "results.parquet")
    found = results.query("split == 'test' and metric == 'auroc'").set_index("protocol")["value"]
    assert set(found.index) == {"knn @ axial", "knn @ all-axes", "knn @ deep"}
    assert len(set(found)) > 1
    shown = list((tmp_path / "run" / "pictures").rglob("0.png"))
    assert shown
    assert all(Image.open(each).size == (32, 32) for each in shown)
    resolved = yaml.safe_load((tmp_path / "run" / "study.yaml").read_text())
    assert [way["slices"].get("neighbours") for way in resolved["images"]] == [0, 0, 1]


def test_slices_are_counted_along_every_axis(tmp_path: Path) -> None:
    path = write_study(
        tmp_path, [write_cohort(tmp_path / "discs")], backbones=VIT, protocols=["knn"],
        image={"size": 32, "slices": {"axis": "triplanar", "neighbours": 2}},
    )  # fmt: skip
    run_study(read_study(path), tmp_path / "run", Settings(cache=tmp_path / "cache", offline=True))
    facts = json.loads((tmp_path / "run" / "cohorts" / "discs" / "cohort.json").read_text())
    assert facts["slices_per_image"] == {"min": 37, "median": 37.0, "max": 37}  # 5 + 16 + 16
    assert "triplanar planes, with the planes 2 before and after as channels" in facts["recipe"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slices": {"axis": "tri"}}, "triplanar"),
        ({"slices": {"neighbours": -1}}, "neighbours"),
        ({"slices": {"neighbors": 1}}, "neighbours"),
        ({"recipe": {"neighbours": 1}}, "belongs under 'image: slices'"),
        ({"recipe": {"size": 64}}, "belongs under 'image'"),
    ],
)
def test_wrong_slices_are_refused_before_anything_runs(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=VIT, image={"size": 32, **changes})
    with pytest.raises(UsageError, match=said):
        plan_study(read_study(path), Settings(cache=tmp_path / "cache", offline=True))
