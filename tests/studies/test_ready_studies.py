"""The ready study files are complete and make sense: each can be planned as it stands, once its cohorts are there."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from radapt.studies import Settings, plan_study, read_study
from toy_study import write_cohort

READY = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


def write_toy(path: Path) -> None:
    """A cohort file at `path`, with labels and masks: planning looks at files, not into them."""
    cohort = write_cohort(path.parent, name=path.parent.name)
    table = pd.read_csv(cohort.parent / "cases.csv")
    table["mask"] = table["image:a"]
    table.to_csv(cohort.parent / "cases.csv", index=False)


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_study_can_be_planned(path: Path, tmp_path: Path) -> None:
    asked = yaml.safe_load(path.read_text())
    for name in asked["cohorts"]:
        write_toy(tmp_path / "study" / name)
    study = shutil.copy(path, tmp_path / "study" / path.name)
    planned = plan_study(read_study(Path(study)), Settings(cache=tmp_path / "cache", offline=True))
    named = [entry if isinstance(entry, str) else next(iter(entry)) for entry in asked["protocols"]]
    assert {cell.job.entry.name for cell in planned.cells if not cell.facts["control"]} == set(named)
    assert len({cell.prepared.cohort.name for cell in planned.cells}) == len(asked["cohorts"])
    assert planned.failures == ()
    assert planned.notes == ()
