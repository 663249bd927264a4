"""A small study that was run: with val, and with a fold for each hospital."""

from pathlib import Path

import pandas as pd
import pytest

from radapt.studies import Settings, read_study, run_study
from toy_study import write_cohort, write_study

VIT = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]


def run(folder: Path, **changes: object) -> Path:
    """The run folder of a study on the cohort in `folder`."""
    study = write_study(folder, [folder / "discs" / "cohort.yaml"], backbones=VIT, **changes)
    outcome = run_study(read_study(study), folder / "run", Settings(cache=folder / "cache"))
    assert not outcome.failures
    return folder / "run"


@pytest.fixture(scope="session")
def with_val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """knn and linear; two seeds would not differ for these."""
    folder = tmp_path_factory.mktemp("val")
    write_cohort(folder / "discs", patients=36)
    return run(folder, choose="val")


@pytest.fixture(scope="session")
def with_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    path = write_cohort(folder / "discs", patients=24)
    path.write_text(path.read_text() + "split: {by: site}\nsource: {title: Discs, licence: CC BY-NC-SA 4.0}\n")
    table = pd.read_csv(folder / "discs" / "cases.csv")
    table["site"] = [("north", "north", "south", "south")[row % 4] for row in range(len(table))]
    table.to_csv(folder / "discs" / "cases.csv", index=False)
    return run(folder, protocols=["logistic"])
