"""What a cell's fit took stands in its rows: numbers trained, their share of all that answers, memory, minutes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.backbones import find_backbone
from radapt.errors import UsageError
from radapt.studies import Settings, plan_study, read_study, run_study
from radapt.studies.ledger import cost_columns
from toy_study import write_cohort, write_study

VIT = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]


def test_heads_are_a_small_share_of_what_answers(tmp_path: Path) -> None:
    path = write_study(
        tmp_path, [write_cohort(tmp_path / "discs")], backbones=VIT,
        protocols=["knn", {"logistic": {"blocks": [1], "patch_mean": [False]}}],
    )  # fmt: skip
    outcome = run_study(read_study(path), tmp_path / "run", Settings(cache=tmp_path / "cache", offline=True))
    assert outcome.failures == ()
    rows = pd.read_parquet(tmp_path / "run" / "results.parquet").drop_duplicates("protocol").set_index("protocol")
    card = find_backbone("timm:test_vit", "random").card
    # Two sequences side by side, one of them with an indicator for where it is missing, and a bias.
    head = 2 * card.width + 2
    assert rows["trained_parameters"].to_dict() == {"knn": 0, "logistic": head}
    assert rows.loc["logistic", "trained_share"] == head / (head + card.parameters)
    assert rows["peak_memory_mb"].dtype == np.float64
    assert (rows["minutes"] > 0).all()


def test_what_was_not_measured_is_nan() -> None:
    found = cost_columns({"trained": 3, "parameters": 12, "peak_memory_mb": None, "seconds": 30.0})  # type: ignore[dict-item]
    assert np.isnan(found.pop("peak_memory_mb"))
    assert found == {"trained_parameters": 3, "trained_share": 0.25, "minutes": 0.5}
    assert all(np.isnan(value) for value in cost_columns({}).values())


def test_how_many_devices_share_a_training_does_not_name_other_cells(tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=VIT, protocols=["lora"]))
    settings = [Settings(cache=tmp_path / "cache", offline=True, devices=devices) for devices in (1, 2)]
    one, two = (plan_study(study, each) for each in settings)
    assert [cell.id for cell in one.cells] == [cell.id for cell in two.cells]
    with pytest.raises(UsageError, match="0 devices of type cpu"):
        plan_study(study, Settings(cache=tmp_path / "cache", offline=True, devices=0))
