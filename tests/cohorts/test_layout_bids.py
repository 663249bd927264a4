"""BIDS folders."""

from pathlib import Path

import pytest

from layout_builders import build_bids, scanned, touch
from radapt.cohorts import ScanOptions, scan
from radapt.cohorts.scan import finish
from radapt.errors import UsageError


def test_bids(tmp_path: Path) -> None:
    cohort = scanned(build_bids(tmp_path / "data"), tmp_path, site="hospital", external=("B=other",))
    assert cohort.modalities == ("T1w", "ce-gad_T1w")
    assert (cohort.kind, cohort.classes) == ("mri", ("none-seen", "tumour"))
    assert cohort.presence[3].tolist() == [True, False]
    assert cohort.labels[8] == -1
    assert cohort.cases[0].mask is not None
    assert cohort.cases[0].mask.path.name == "sub-00_label-lesion_mask.nii.gz"
    assert cohort.mask_labels == {1: "lesion"}
    assert [case.split for case in cohort if case.site == "B"] == ["other", "other"]
    assert cohort.cases[2].metadata == {"age": "42"}


def test_a_column_that_probably_names_the_hospital_is_proposed(tmp_path: Path) -> None:
    root = build_bids(tmp_path / "data")
    proposals = [note for note in scan(root).notes if "--site" in note]
    assert len(proposals) == 1
    assert "column 'hospital' with 2 values could hold them: --site hospital" in proposals[0]
    assert not any("--site" in note for note in scan(root, options=ScanOptions(site="hospital")).notes)


def test_bids_sessions_and_runs(tmp_path: Path) -> None:
    for session in ("1", "2"):
        for run in ("1", "2"):
            touch(tmp_path / "sub-a" / f"ses-{session}" / "anat" / f"sub-a_ses-{session}_run-{run}_T1w.nii.gz")
    touch(tmp_path / "sub-b" / "ses-1" / "anat" / "sub-b_ses-1_T1w.nii.gz")
    touch(tmp_path / "derivatives" / "sub-a" / "ses-2" / "sub-a_ses-2_mask.nii.gz")
    cohort = scanned(tmp_path, tmp_path / "out")
    assert [case.case for case in cohort] == ["sub-a_ses-1", "sub-a_ses-2", "sub-b_ses-1"]
    assert cohort.modalities == ("T1w", "run-2_T1w")
    assert set(cohort.patients) == {"sub-a", "sub-b"}
    assert [bool(case.mask) for case in cohort] == [False, True, False]


def test_bids_links_without_content_are_absent(tmp_path: Path) -> None:
    build_bids(tmp_path / "data")
    link = tmp_path / "data" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    link.unlink()
    link.symlink_to("../.git/annex/objects/none")
    draft = scan(tmp_path / "data")
    assert any("datalad" in note for note in draft.notes)
    assert draft.table.loc[1, "image:T1w"] == ""


@pytest.mark.parametrize(
    "options",
    [
        {"external": ("Z",), "site": "hospital"},
        {"external": ("A",)},
        {"external": ("A=train",), "site": "hospital"},
        {"site": "hospitl"},
    ],
)
def test_external_sites_must_be_there(options: dict[str, object], tmp_path: Path) -> None:
    build_bids(tmp_path)
    with pytest.raises(UsageError, match=r"--external|--site"):
        scan(tmp_path, options=ScanOptions(**options))  # type: ignore[arg-type]


def test_a_patient_of_an_external_site_is_wholly_external(tmp_path: Path) -> None:
    draft = scan(build_bids(tmp_path))
    draft.table["patient"] = ["p", "q"] * 5
    draft.table["site"] = ["B"] + ["A"] * 9
    draft.table["split"] = ""
    done = finish(draft, ScanOptions(external=("B",))).table
    assert set(done.loc[done["patient"] == "p", "split"]) == {"B"}
