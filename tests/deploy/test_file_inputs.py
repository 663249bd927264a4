"""Image files without a layout, grouped by their names."""

from pathlib import Path

import numpy as np
import pytest

from radapt.deploy.inputs.resolve import ResolvedInput, resolve_inputs
from radapt.deploy.sequences import ModelSequence

GLIOMA = tuple(map(ModelSequence.of, ("FLAIR", "T1w", "ce-gad_T1w")))
ONE = (ModelSequence.of("image"),)


def resolved(folder: Path, *files: str, wanted: tuple[ModelSequence, ...] = GLIOMA) -> ResolvedInput:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros((2, 8, 8), np.float32))
    return resolve_inputs([folder], wanted, "mri")


def images(found: ResolvedInput) -> dict[str, list[str]]:
    return {case.case: sorted(case.images) for case in found.cohort}


@pytest.mark.parametrize(
    ("files", "cases"),
    [
        (["p1_t1.npy", "p1_flair.npy", "p2_T1_post.npy"], {"p1": ["FLAIR", "T1w"], "p2": ["ce-gad_T1w"]}),
        (["a-ce-gad_T1w.npy", "a-T1w.npy"], {"a": ["T1w", "ce-gad_T1w"]}),
        (["flair.npy", "t1.npy"], {"study": ["FLAIR", "T1w"]}),
        (["AX_T1.npy", "FLAIR.npy"], {"study": ["FLAIR", "T1w"]}),
        (["flair_001.npy", "flair_002.npy"], {"flair_001": ["FLAIR"], "flair_002": ["FLAIR"]}),
        (["anat/s1_T1w.npy", "anat/s1_FLAIR.npy"], {"s1": ["FLAIR", "T1w"]}),
        (["one/t1.npy", "one/x.npy", "two/ax_flair.npy"], {"one": ["T1w"], "two": ["FLAIR"]}),
        (["v1/T1/brain.npy", "v1/FLAIR/x_flair.npy", "v2/t1/1.npy"], {"v1": ["FLAIR", "T1w"], "v2": ["T1w"]}),
    ],
)
def test_names_say_which_files_are_one_case(tmp_path: Path, files: list[str], cases: dict[str, list[str]]) -> None:
    assert images(resolved(tmp_path / "study", *files)) == cases


def test_every_file_is_a_case_of_a_model_of_one_image(tmp_path: Path) -> None:
    found = resolved(tmp_path / "films", "a_t1.npy", "b_t1.npy", wanted=ONE)
    assert images(found) == {"a_t1": ["image"], "b_t1": ["image"]}


def test_a_file_that_names_no_sequence_is_a_failed_case(tmp_path: Path) -> None:
    found = resolved(tmp_path / "study", "p1_t1.npy", "scan.npy")
    assert images(found) == {"p1": ["T1w"]}
    assert "No usable sequence" in found.failures["scan"]


def test_columns_of_a_table_come_with_its_cases(tmp_path: Path) -> None:
    """Those that are neither images nor truth, because a model may read age and sex."""
    resolved(tmp_path, "a.npy", "b.npy")
    table = "case,image:T1w,Age (years),Sex,label,site\np1,a.npy,41,F,x,north\np2,b.npy,,M,y,\n"
    (tmp_path / "patients.csv").write_text(table)
    found = resolve_inputs([tmp_path / "patients.csv"], GLIOMA, "mri")
    assert [dict(case.metadata) for case in found.cohort] == [
        {"Age (years)": "41", "Sex": "F"},
        {"Age (years)": "", "Sex": "M"},
    ]
    assert [case.site for case in found.cohort] == ["north", None]


def test_equal_names_of_two_inputs_are_kept_apart(tmp_path: Path) -> None:
    for place in ("here", "there"):
        resolved(tmp_path / place, "p1_t1.npy")
    both = resolve_inputs([tmp_path / "here", tmp_path / "there"], GLIOMA, "mri")
    assert both.order == ("p1", "p1-2")


def test_an_empty_folder_says_so_and_lists_no_layouts(tmp_path: Path) -> None:
    (tmp_path / "p1" / "inside").mkdir(parents=True)
    found = resolved(tmp_path / "p1")
    assert found.failures == {"p1": f"The folder {tmp_path / 'p1'} is empty. Was the copy interrupted?"}
