"""The groups of patients that a study asks for, in its run folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.errors import UsageError
from radapt.studies import Settings, plan_study, read_study, run_study
from toy_study import write_cohort, write_study


def study_of(folder: Path, **changes: object) -> Path:
    cohort = write_cohort(folder / "discs", patients=48)
    table = pd.read_csv(folder / "discs" / "cases.csv")
    table["sex"] = np.where(np.arange(48) // 2 % 2, "F", "M")
    table.to_csv(folder / "discs" / "cases.csv", index=False)
    vit = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]
    return write_study(folder, [cohort], backbones=vit, protocols=["knn"], **changes)


def test_groups_are_written_and_follow_the_study(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache", offline=True)
    file = tmp_path / "run" / "cohorts" / "discs" / "groups.parquet"
    run_study(read_study(study_of(tmp_path)), tmp_path / "run", settings)
    assert list(pd.read_parquet(file).columns) == ["case", "sex"]  # seven patients are elsewhere
    results = pd.read_parquet(tmp_path / "run" / "results.parquet")
    assert results["contamination"].isna().all()  # random weights saw nothing
    assert set(results["use"]) == {"unknown"}  # the cohort states no licence
    (tmp_path / "discs").rename(tmp_path / "before")
    outcome = run_study(read_study(study_of(tmp_path, groups=["site"])), tmp_path / "run", settings)
    assert (outcome.finished, outcome.already) == (0, 1)  # groups decide no number of a cell
    table = pd.read_parquet(file)
    assert list(table.columns) == ["case", "site"]
    assert set(table["site"]) == {"home", "elsewhere", "other"} - {"elsewhere"}


def test_no_groups_and_unknown_ones(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache", offline=True)
    run_study(read_study(study_of(tmp_path, groups="none")), tmp_path / "run", settings)
    assert not (tmp_path / "run" / "cohorts" / "discs" / "groups.parquet").exists()
    wrong = write_study(tmp_path, [tmp_path / "discs" / "cohort.yaml"], groups=["sexx"])
    with pytest.raises(UsageError, match=r"'groups' names the column 'sexx', which no cohort has.*'sex'"):
        plan_study(read_study(wrong), settings)
    wrong = write_study(tmp_path, [tmp_path / "discs" / "cohort.yaml"], inner_folds="sexx")
    with pytest.raises(UsageError, match=r"inner_folds = 'sexx' is no column of cohort 'discs'.*'sex'"):
        plan_study(read_study(wrong), settings)
    with pytest.raises(UsageError, match="a list of columns was expected, such as"):
        read_study(write_study(tmp_path, [tmp_path / "discs" / "cohort.yaml"], groups="sex"))


def test_shortcuts_of_the_features_are_searched_without_labels_of_tests(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache", offline=True)
    cohort = write_cohort(tmp_path / "discs", patients=90)
    table = pd.read_csv(tmp_path / "discs" / "cases.csv")
    table["tube"] = ["old" if label == "ill" and row % 4 else "new" for row, label in enumerate(table["label"])]
    tests = ~table["split"].isin(["train", "val"])
    table.to_csv(tmp_path / "discs" / "cases.csv", index=False)
    vit = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]
    study = write_study(tmp_path, [cohort], backbones=vit, protocols=["knn"], groups=["tube"])
    file = tmp_path / "run" / "cohorts" / "discs" / "shortcuts" / "vit.parquet"
    run_study(read_study(study), tmp_path / "run", settings)
    found = pd.read_parquet(file)
    assert found["column"].tolist() == ["tube"]
    assert found.loc[0, "n_cases"] == (~tests).sum()
    assert found.loc[0, "label"] > 0.7
    written = file.stat().st_mtime_ns
    table.loc[tests, "label"] = np.where(table.loc[tests, "label"] == "ill", "healthy", "ill")
    table.to_csv(tmp_path / "discs" / "cases.csv", index=False)
    run_study(read_study(study), tmp_path / "run", settings)
    assert file.stat().st_mtime_ns > written
    kept = [name for name in found if name != "made_from"]
    pd.testing.assert_frame_equal(pd.read_parquet(file)[kept], found[kept])
    again = run_study(
        read_study(write_study(tmp_path, [cohort], backbones=vit, protocols=["linear"], groups=["tube"])),
        tmp_path / "run",
        settings,
    )
    assert again.finished == 1
