"""The ready study files are complete and make sense: each can be planned as it stands, once its cohort is there."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from radapt.studies import Settings, plan_study, read_study
from toy_study import write_cohort

READY = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_study_can_be_planned(path: Path, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "discs").parent
    table = pd.read_csv(cohort / "cases.csv")
    table["mask"] = table["image:a"]  # planning looks at files, not into them
    table.to_csv(cohort / "cases.csv", index=False)
    shutil.copytree(cohort, tmp_path / "study")
    study = shutil.copy(path, tmp_path / "study" / path.name)
    planned = plan_study(read_study(Path(study)), Settings(cache=tmp_path / "cache", offline=True))
    entries = yaml.safe_load(path.read_text())["protocols"]
    named = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    assert {cell.job.entry.name for cell in planned.cells} == set(named)
    assert planned.failures == ()
    assert planned.notes == ()
