"""NIH ChestX-ray14."""

from pathlib import Path

import numpy as np
import pytest

from layout_builders import build_nih, scanned
from radapt.cohorts import scan
from radapt.cohorts.layouts.nih import FINDINGS
from radapt.errors import DataError


def test_nih(tmp_path: Path) -> None:
    draft = scan(build_nih(tmp_path / "data"))
    assert any(note.startswith("1 image listed") for note in draft.notes)
    cohort = scanned(tmp_path / "data", tmp_path)
    assert (cohort.kind, cohort.findings, len(cohort)) == ("xray", FINDINGS, 15)
    assert cohort.labels[0].sum() == 0
    assert {FINDINGS[at] for at in np.flatnonzero(cohort.labels[1])} == {"Effusion", "Mass"}
    assert [case.case for case in cohort if case.split == "test"] == [f"{at:08d}_000" for at in range(12, 15)]
    assert "val" in cohort.splits
    assert cohort.cases[0].metadata == {"age": "50", "gender": "F", "view": "PA"}


def test_nih_with_a_finding_of_another_name(tmp_path: Path) -> None:
    index = build_nih(tmp_path) / "Data_Entry_2017_v2020.csv"
    index.write_text(index.read_text().replace("Hernia", "Herniaa"))
    with pytest.raises(
        DataError, match=r"Data_Entry_2017_v2020.csv, row 4, case '00000002_000'.*'Herniaa'.*Did you mean 'Hernia'"
    ):
        scan(tmp_path)
