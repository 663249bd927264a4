"""`radapt audit` of tables of scores, and of predictions."""

import json
from pathlib import Path

import numpy as np
import pytest

from radapt.cli import main

SCORES = ["epoch,val_auroc,test_auroc"] + [
    f"{epoch},{val},{test}"
    for epoch, (val, test) in enumerate(
        [(0.80, 0.79), (0.82, 0.80), (0.79, 0.84), (0.81, 0.78), (0.805, 0.81), (0.80, 0.77), (0.795, 0.80)]
    )
]


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def audited(file: Path, *words: object) -> dict:
    record = file.with_suffix(".json")
    assert call("audit", file, *words, "--json", record) == 0
    found = json.loads(record.read_text())
    assert not any(isinstance(value, (dict, list)) for value in found.values())
    return found


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    file = tmp_path / "epochs.csv"
    file.write_text("\n".join(SCORES) + "\n")
    return file


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Ten candidates of equal quality, 60 patients of val and 60 of test, two cases each."""
    rng = np.random.default_rng(7)
    truth = np.tile([0, 1], 120)
    numbers = truth[:, None] + rng.normal(size=(240, 1)) + 0.6 * rng.normal(size=(240, 10))
    rows = ["case,patient,split,age,truth," + ",".join(f"m{k}" for k in range(10))]
    for i in range(240):
        cells = ",".join(f"{value:.4f}" for value in numbers[i])
        rows.append(f"c{i},p{i // 2},{'val' if i < 120 else 'test'},{40 + i % 30},{truth[i]},{cells}")
    file = tmp_path / "wide.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


def as_long(wide: Path) -> Path:
    header, *rows = [line.split(",") for line in wide.read_text().splitlines()]
    lines = ["case,patient,split,truth,candidate,probability"]
    lines += [
        ",".join([*row[:3], row[4], name, cell]) for row in rows for name, cell in zip(header[5:], row[5:], strict=True)
    ]
    file = wide.with_name("long.csv")
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_best_on_test_is_not_the_choice_of_val(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = audited(scores, "--patients", 100, "--positives", 40)
    assert (found["claimed"], found["claimed_score"], found["val_choice"], found["honest"]) == ("2", 0.84, "1", 0.80)
    assert found["alarm"]
    assert not found["same_winner"]
    assert found["optimism_low"] <= found["optimism"] <= found["optimism_high"]
    assert found["optimism"] > 0.02
    printed = capsys.readouterr().out
    assert "Columns: candidate 'epoch'; val 'val_auroc'; test 'test_auroc'." in printed
    assert "Val chooses 1 instead, with 0.800 on test" in printed


def test_no_alarm_where_val_chose(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = audited(scores, "--claimed", "1", "--patients", 100)
    assert not found["alarm"]
    assert (found["same_winner"], found["honest"]) == (True, 0.80)
    assert "its score stands" in capsys.readouterr().out
    scores.write_text(scores.read_text().replace("2,0.79,", "2,0.825,"))
    found = audited(scores)
    assert (found["claimed"], found["val_choice"], found["honest"], found["alarm"]) == ("2", "2", 0.84, False)
    assert found["optimism"] > 0.005  # of those who choose on test


def test_no_alarm_with_a_single_candidate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.csv"
    file.write_text("model,test_auc\nours,0.83\n")
    found = audited(file, "--patients", 50)
    assert (found["alarm"], found["optimism"], found["honest"]) == (False, 0, 0.83)
    assert "Nothing was chosen" in capsys.readouterr().out


def test_without_val_and_patients_nothing_is_made_up(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores.write_text("\n".join(",".join(row.split(",")[::2]) for row in SCORES))
    found = audited(scores)
    assert (found["optimism"], found["alarm"], found["source"]) == (None, False, "unknown")
    assert "give --patients, val scores, or predictions" in capsys.readouterr().out
    assert audited(scores, "--patients", 80)["source"] == "patients"


def test_predictions_wide_and_long_give_the_same(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = audited(wide)
    assert found == audited(as_long(wide))
    assert (found["n_candidates"], found["n_patients"], found["n_cases"]) == (10, 60, 120)
    assert found["optimism"] > 0.01
    assert found["ci_low"] < found["corrected"] < found["ci_high"]
    printed = capsys.readouterr().out
    assert "10 candidates: m0, m1" in printed
    assert "Each case counts" not in printed


def test_named_columns_win(wide: Path) -> None:
    found = audited(wide, "--column", "m3", "--column", "m4")
    assert found["n_candidates"] == 2


def test_a_grid_has_no_single_column_of_candidates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "grid.csv"
    file.write_text("lr,epoch,val,test\n0.1,1,0.7,0.7\n0.1,2,0.72,0.71\n0.2,1,0.7,0.69\n")
    assert audited(file)["claimed"] == "line 3"
    assert "3 candidates: line 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("9,0.8,1.2", "line 9 has a score outside 0 to 1 in column 'test_auroc'"),
        ("9,0.8,", "line 9 has no score in column 'test_auroc'"),
        ("9,good,0.8", "line 9 has no number in column 'val_auroc'"),
        (",0.8,0.8", "line 9 names no candidate"),
        ("1,0.8,0.8", "line 9 names a candidate that an earlier row names"),
    ],
)
def test_wrong_scores_are_named_by_their_line(scores: Path, row: str, said: str, capsys) -> None:
    scores.write_text("\n".join([*SCORES, row]) + "\n")
    assert call("audit", scores, "--candidate", "epoch") == 1
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("c0,p0,val,0,m0,0.5", "has a case and candidate that an earlier row has"),
        ("c0,p0,val,1,m77,0.5", "Case 'c0' has more than one truth"),
        ("z,p0,test,2,m0,0.5", "has a truth in column 'truth' that is not 0 or 1"),
        ("z,p0,,1,m0,0.5", "names no set in column 'split'"),
        ("z,,test,1,m0,0.5", "names no patient"),
        ("z,p99,test,1,,0.5", "names no candidate"),
        ("z,p99,test,1,m0,high", "has no number in column 'probability'"),
    ],
)
def test_wrong_predictions_are_answered(wide: Path, row: str, said: str, capsys) -> None:
    file = as_long(wide)
    file.write_text(file.read_text() + row + "\n")
    assert call("audit", file) == 1
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_patient_of_val_and_test_is_an_error(wide: Path, capsys) -> None:
    wide.write_text(wide.read_text().replace("c239,p119,", "c239,p0,"))
    assert call("audit", wide) == 1
    assert "patient 'p0' is in val and in test" in " ".join(capsys.readouterr().err.split())


def test_cases_without_every_candidate_are_counted(wide: Path, capsys) -> None:
    lines = wide.read_text().splitlines()
    lines[-1] = ",".join([*lines[-1].split(",")[:-1], ""])
    wide.write_text("\n".join(lines))
    assert audited(wide)["n_cases"] == 119
    assert "1 case without a probability of every candidate left out." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--test", "test_auc"), "has no column 'test_auc'. Did you mean 'test_auroc'?"),
        (("--claimed", "12"), "has no candidate '12'"),
        (("--positives", "3"), "--positives needs --patients"),
        (("--patients", "30", "--positives", "30"), "expected fewer positives"),
    ],
)
def test_wrong_words_are_answered(scores: Path, words: tuple[str, ...], said: str, capsys) -> None:
    assert call("audit", scores, *words) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_unclear_columns_are_asked_for(tmp_path: Path, capsys) -> None:
    file = tmp_path / "table.csv"
    file.write_text("epoch,test_auc_a,test_auc_b\n1,0.5,0.6\n")
    assert call("audit", file) == 2
    assert "several columns of test: test_auc_a, test_auc_b" in " ".join(capsys.readouterr().err.split())
    file.write_text("epoch,dice\n1,0.5\n")
    assert call("audit", file) == 2
    assert "neither a column of test scores" in " ".join(capsys.readouterr().err.split())
    assert call("audit", file.with_name("no.csv")) == 2


def test_losses_are_never_taken_for_scores(tmp_path: Path, capsys) -> None:
    """The largest loss would win."""
    file = tmp_path / "losses.csv"
    rows = [f"m{at},{0.5 + at / 50},{0.6 - at / 50},{0.7 + at / 100}" for at in range(6)]
    file.write_text("\n".join(["model,val_loss,test_loss,test_auc", *rows]))
    assert call("audit", file, "--patients", 100, "--positives", 40) == 0
    out = capsys.readouterr().out
    assert "test 'test_auc'" in out
    assert "val" not in out.splitlines()[0]
    assert call("audit", file, "--test", "test_loss") == 2
    assert "'test_loss' is a loss, of which the smaller is better" in " ".join(capsys.readouterr().err.split())
