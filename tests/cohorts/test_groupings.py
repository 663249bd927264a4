"""Groups of patients by the columns of a cohort's table."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from radapt.cohorts import Cohort, load_cohort
from radapt.cohorts.groupings import Grouping, group_table, groupings


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """60 patients with two cases each."""
    rows = range(120)
    for row in rows:
        (tmp_path / f"{row}.png").touch()
    table = pd.DataFrame(
        {
            "case": [f"c{row:03d}" for row in rows],
            "patient": [f"p{row // 2:02d}" for row in rows],
            "split": ["train" if row // 2 % 2 else "test" for row in rows],
            "image": [f"{row}.png" for row in rows],
            "label": ["ill" if row // 2 % 3 else "well" for row in rows],
            "view": ["AP" if row % 2 else "PA" for row in rows],
            "age": [18 + row // 2 for row in rows],  # 18 to 77
            "scanner": ["rare1" if row < 8 else "rare2" if row < 16 else "A" if row < 60 else "B" for row in rows],
            "dose": [row // 2 / 7 for row in rows],
            "record": [1000 + row // 2 for row in rows],
            "report": [f"text {row}" for row in rows],
            "grade": [row // 2 % 3 for row in rows],
            "device": ["", *["one"] * 119],
        }
    )
    return Cohort.from_pandas(table, name="films", root=tmp_path, kind="xray")


def by_column(found: tuple[Grouping, ...]) -> dict[str, Grouping]:
    return {one.column: one for one in found}


def test_columns_that_divide_the_patients_are_found(cohort: Cohort) -> None:
    found = by_column(groupings(cohort))
    assert set(found) == {"view", "age", "scanner", "dose", "grade"}  # no identifier, free text or single value
    assert found["view"].names == ("AP", "PA")
    assert found["grade"].names == ("0", "1", "2")


def test_rare_values_are_joined(cohort: Cohort) -> None:
    scanner = by_column(groupings(cohort))["scanner"]
    assert scanner.names == ("A", "B", "other")
    assert Counter(scanner.groups) == {"A": 44, "B": 60, "other": 16}


def test_bands_of_age_begin_at_twenties_and_small_ones_join_a_neighbour(cohort: Cohort) -> None:
    age = by_column(groupings(cohort))["age"]
    assert age.names == ("under 40", "40–59", "60 and over")  # two patients are under 20
    oldest = [cohort[row].metadata["age"] for row in range(120) if age.groups[row] == "60 and over"]
    assert min(oldest) == "60"


def test_other_numbers_are_cut_at_their_thirds(cohort: Cohort) -> None:
    dose = by_column(groupings(cohort))["dose"]
    assert [list(dose.groups).count(name) for name in dose.names] == [40, 40, 40]


def test_few_numbers_are_groups_as_they_stand_and_more_are_cut_at_their_thirds(tmp_path: Path) -> None:
    (tmp_path / "i.png").touch()
    rows = range(140)
    table = pd.DataFrame(
        {
            "case": [f"c{row}" for row in rows],
            "patient": [f"p{row}" for row in rows],
            "image": "i.png",
            "stage": [row % 6 for row in rows],
            "level": [row % 7 for row in rows],
            "ward": [f"ward {row % 13:02d}" for row in rows],
        }
    )
    cohort = Cohort.from_pandas(table, name="films", root=tmp_path, kind="xray")
    found = by_column(groupings(cohort))
    assert found["stage"].names == tuple("012345")
    assert found["level"].names == ("up to 2", "over 2 to 4", "over 4")
    assert "ward" not in found  # 13 groups of 10 patients, unless it is asked for
    assert len(by_column(groupings(cohort, ["ward"]))["ward"].names) == 13


def test_the_column_of_the_folds_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "i.png").touch()
    rows = "".join(f"c{row},p{row},i.png,{'ab'[row // 2 % 2]},{row % 2},{'xy'[row // 4 % 2]}\n" for row in range(40))
    (tmp_path / "cases.csv").write_text(f"case,patient,image,label,part,ward\n{rows}")
    (tmp_path / "cohort.yaml").write_text("name: c\nkind: xray\ncases: cases.csv\nsplit: {folds_column: part}\n")
    cohort = load_cohort(tmp_path / "cohort.yaml")
    assert set(by_column(groupings(cohort))) == {"ward"}
    assert set(by_column(groupings(cohort, ["part", "ward"]))) == {"part", "ward"}


@pytest.mark.parametrize(("rare", "found"), [(20, True), (21, False)])
def test_a_column_of_mostly_rare_values_gives_no_groups(rare: int, found: bool, tmp_path: Path) -> None:
    (tmp_path / "i.png").touch()
    wards = ["a"] * 10 + ["b"] * 10 + [f"room {at}" for at in range(rare)]
    table = pd.DataFrame({"case": [f"c{at}" for at in range(len(wards))], "image": "i.png", "ward": wards})
    table["patient"] = table["case"]
    cohort = Cohort.from_pandas(table, name="films", root=tmp_path, kind="xray")
    assert ("ward" in by_column(groupings(cohort))) == found


def test_named_columns_follow_their_own_choice(cohort: Cohort) -> None:
    assert [one.column for one in groupings(cohort, ["view", "nothing", "device"])] == ["view"]


def test_the_table_keeps_the_order_of_the_groups(cohort: Cohort, tmp_path: Path) -> None:
    file = tmp_path / "groups.parquet"
    group_table(cohort, groupings(cohort, ["age", "view"])).to_parquet(file)
    table = pd.read_parquet(file)
    assert list(table["age"].cat.categories) == ["under 40", "40–59", "60 and over"]
    assert list(table.columns) == ["case", "age", "view"]
