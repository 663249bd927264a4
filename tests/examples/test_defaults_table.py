"""The table of what candidates reached in inner folds, from run folders that one can draw."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def defaults() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks/defaults.py"
    spec = importlib.util.spec_from_file_location("defaults_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def candidate(score: float, **options: Any) -> dict[str, Any]:
    return {"options": options, "val": {"mcc": score}}


def write_cell(run: Path, name: str, folds: dict[str, list[dict[str, Any]]], **facts: Any) -> None:
    criterion = facts.pop("criterion", "MCC out of fold (5 inner folds by patient): the best")
    own = {
        "cohort": "heads",
        "backbone": "vit",
        "protocol": "logistic",
        "aim": "classification",
        "image": {"name": None},
    }
    own |= {"folds": {fold: {"criterion": criterion, "candidates": tried} for fold, tried in folds.items()}, **facts}
    folder = run / "cells" / name
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(json.dumps(own))


def rows_of(page: str) -> dict[str, list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ") and "metric" not in line]
    return {line.split(" | ")[0][2:]: line.strip(" |").split(" | ")[2:] for line in lines}


def test_a_value_counts_by_its_best_candidate_in_the_mean_of_the_folds(
    defaults: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = {
        "x": [candidate(0.1, blocks=1, C=1), candidate(0.3, blocks=1, C=2), candidate(0.2, blocks=4, C=1)],
        "y": [candidate(0.5, blocks=1, C=1), candidate(0.1, blocks=1, C=2), candidate(0.8, blocks=4, C=1)],
    }
    write_cell(tmp_path, "a", folds)
    write_cell(tmp_path, "b", folds, backbone="random vit")
    write_cell(tmp_path, "c", folds, backbone="cnn", control="age-sex")
    write_cell(tmp_path, "d", folds, backbone="chosen on val", criterion="MCC on val")
    assert defaults.main([str(tmp_path)]) == 0
    page = capsys.readouterr().out
    blocks, strength = page.split("`logistic`, `C`:")
    assert rows_of(blocks) == {"heads, vit": ["0.400", "**0.500**"]}
    assert rows_of(strength) == {"heads, vit": ["**0.500**", "0.200"]}


def test_image_settings_are_compared_and_options_without_alternatives_left_out(
    defaults: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, score in (("whole", 0.1), ("lesion", 0.4)):
        write_cell(tmp_path, name, {"": [candidate(score, k=5), candidate(0.0, k=5)]}, image={"name": name})
    assert defaults.main([str(tmp_path)]) == 0
    page = capsys.readouterr().out
    assert "`logistic`, images:" in page
    assert "`k`" not in page
    assert rows_of(page) == {"heads, vit": ["**0.400**", "0.100"]}
