"""`radapt compare` of two columns of a table."""

import json
from pathlib import Path

import numpy as np
import pytest

from radapt.cli import main

ROWS = ["case,patient,ours,theirs"] + [
    f"c{i},p{i // 2},{0.8 + 0.01 * (i % 7):.3f},{0.78 + 0.012 * (i % 5):.3f}" for i in range(24)
]


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "dice.csv"
    file.write_text("\n".join(ROWS) + "\n")
    return file


COLUMNS = ("--on", "case", "--a", "ours", "--b", "theirs")


def test_the_flat_object(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    assert call("compare", table, *COLUMNS, "--margin", "0.05", "--json", file) == 0
    record = json.loads(file.read_text())
    numbers = np.array([[float(cell) for cell in row.split(",")[2:]] for row in ROWS[1:]])
    assert record["difference"] == pytest.approx(numbers[:, 0].mean() - numbers[:, 1].mean())
    assert record["ci_low"] < record["difference"] < record["ci_high"]
    assert (record["n_patients"], record["n_cases"], record["unit"]) == (24, 24, "case")
    assert record["p"] >= 1 / 10_000
    assert not any(isinstance(value, (dict, list)) for value in record.values())
    assert "Each case counts as a patient" in capsys.readouterr().out


def test_patients_are_counted_where_their_column_is_named(table: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "found.json"
    assert call("compare", table, *COLUMNS, "--patient", "patient", "--json", file) == 0
    record = json.loads(file.read_text())
    assert (record["n_patients"], record["n_cases"], record["exact"]) == (12, 24, True)
    assert "Each case counts as a patient" not in capsys.readouterr().out


def test_the_order_of_rows_does_not_matter(table: Path, tmp_path: Path) -> None:
    def found(name: str) -> dict:
        file = tmp_path / name
        call("compare", table, *COLUMNS, "--json", file)
        return json.loads(file.read_text())

    first = found("a.json")
    table.write_text("\n".join([ROWS[0], *reversed(ROWS[1:])]) + "\n")
    second = found("b.json")
    assert second == {
        name: pytest.approx(value) if isinstance(value, float) else value for name, value in first.items()
    }


def test_cases_without_one_of_the_numbers_are_left_out_and_counted(table: Path, tmp_path: Path, capsys) -> None:
    table.write_text("\n".join([*ROWS, "x,p9,0.5,", "y,p9,n/a,0.5"]) + "\n")
    assert call("compare", table, *COLUMNS, "--json", tmp_path / "found.json") == 0
    assert "2 cases without a number in one of the two columns left out." in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text())["n_left_out"] == 2


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        ("c0,p0,0.5,0.5", 1, "line 26 names a case that an earlier row names"),
        (",p0,0.5,0.5", 1, "line 26 names no case"),
        ("z,p0,good,0.5", 1, "line 26 has no number in column 'ours'"),
        ("z,p0,inf,0.5", 1, "line 26 has no number in column 'ours'"),
        ("z,,0.5,0.5", 1, "line 26 names no patient"),
        ("z,NaN,0.5,0.5", 1, "line 26 names no patient"),
    ],
)
def test_wrong_rows_are_named_by_their_line(table: Path, extra: str, code: int, said: str, capsys) -> None:
    table.write_text("\n".join([*ROWS, extra]) + "\n")
    assert call("compare", table, *COLUMNS, "--patient", "patient") == code
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--on", "case", "--a", "our", "--b", "theirs"), "has no column 'our'. Did you mean 'ours'?"),
        (("--on", "case", "--a", "ours"), "A table needs --on, --a and --b"),
        (
            (*COLUMNS, "--metric", "dice", "--split", "test"),
            "whose columns are the numbers that are compared; drop --split",
        ),
    ],
)
def test_wrong_words_are_answered(table: Path, words: tuple[str, ...], said: str, capsys) -> None:
    assert call("compare", table, *words) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert call("compare", table.with_name("no.csv"), *COLUMNS) == 2


def test_nothing_is_said_of_the_power_where_no_case_differs(table: Path, capsys) -> None:
    table.write_text("\n".join([ROWS[0], *(f"c{at},p{at},0.8,0.8" for at in range(9))]) + "\n")
    assert call("compare", table, *COLUMNS) == 0
    out = capsys.readouterr().out
    assert "difference +0.0000" in out
    assert "of 10 such studies" not in out


@pytest.mark.parametrize(
    ("interval", "said"), [("expanded", ""), ("percentile", "the plain percentile"), ("bca", "(BCa).")]
)
def test_the_interval_is_chosen_and_recorded(table: Path, tmp_path: Path, capsys, interval: str, said: str) -> None:
    file = tmp_path / "found.json"
    assert call("compare", table, *COLUMNS, "--interval", interval, "--resamples", "1000", "--json", file) == 0
    assert json.loads(file.read_text())["interval"] == interval
    out = capsys.readouterr().out
    assert said in out
    assert ("The interval is" in out) == bool(said)


def test_an_interval_that_patients_do_not_have_is_said(table: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "found.json"
    table.write_text("\n".join([ROWS[0], "a,p1,0.5,0.4", "b,p2,0.7,0.3"]) + "\n")
    assert call("compare", table, *COLUMNS, "--interval", "bca", "--json", file) == 0
    assert "These patients have no BCa interval" in capsys.readouterr().out
    record = json.loads(file.read_text())
    assert (record["ci_low"], record["verdict"]) == (None, "undecided")


def test_three_patients_decide_nothing(table: Path, capsys) -> None:
    table.write_text("\n".join([ROWS[0], "a,p1,0.5,0.4", "b,p2,0.7,0.3", "c,p3,0.6,0.5"]) + "\n")
    assert call("compare", table, *COLUMNS) == 0
    out = capsys.readouterr().out
    assert "undecided" in out
    assert "Five patients or fewer cannot show a difference: of 3 the smallest p-value is 0.25." in out


def test_small_numbers_are_shown(table: Path, capsys) -> None:
    rows = [f"c{at},p{at},{(at + 3) / 1e7},{at % 3 / 1e7}" for at in range(20)]
    table.write_text("\n".join([ROWS[0], *rows]) + "\n")
    assert call("compare", table, *COLUMNS) == 0
    assert "ours 1.25e-06, theirs 9.5e-08: difference +1.155e-06 [+" in capsys.readouterr().out
