"""Medical Segmentation Decathlon and nnU-Net raw."""

import json
from pathlib import Path

import pytest

from layout_builders import (
    build_msd,
    build_nnunet,
    scanned,
    touch,
)
from radapt.cohorts import scan
from radapt.cohorts.layouts.registry import matching
from radapt.errors import DataError


def test_msd_with_several_modalities_names_channels(tmp_path: Path) -> None:
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    cohort = scanned(build_msd(tmp_path / "data", names), tmp_path)
    assert cohort.modalities == ("flair", "t1w", "t1gd", "t2w")
    assert cohort.kind == "mri"
    location = cohort.cases[0].images["t1gd"]
    assert (location.array, location.index) == ("channels", 2)


def test_msd_keeps_masks_and_their_names(tmp_path: Path) -> None:
    cohort = scanned(build_msd(tmp_path / "data"), tmp_path)
    assert cohort.mask_labels == {1: "left atrium"}
    assert [case.case for case in cohort] == [f"la_{at:03d}" for at in range(5)]
    assert all(case.mask for case in cohort)


def test_a_validation_list_is_val(tmp_path: Path) -> None:
    path = build_msd(tmp_path / "data") / "dataset.json"
    content = json.loads(path.read_text())
    content["validation"] = [content["training"].pop()]
    path.write_text(json.dumps(content))
    assert [case.case for case in scanned(tmp_path / "data", tmp_path) if case.split == "val"] == ["la_004"]


def test_nnunet_channels_test_set_and_labels(tmp_path: Path) -> None:
    cohort = scanned(build_nnunet(tmp_path / "data"), tmp_path)
    assert cohort.modalities == ("t1", "flair")
    assert list(cohort.cases[0].images) == ["t1"]
    assert cohort.mask_labels == {1: "tumour"}
    assert [case.case for case in cohort if case.split == "test"] == ["case_8"]


def test_nnunet_version_1(tmp_path: Path) -> None:
    build_nnunet(tmp_path / "data")
    content = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
        "training": [{"image": "./imagesTr/case_0.nii.gz", "label": "./labelsTr/case_0.nii.gz"}],
    }
    for path in (tmp_path / "data" / "imagesTr").glob("*_0001*"):
        path.unlink()
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(content))
    assert list(matching(tmp_path / "data")) == ["nnunet"]
    cohort = scanned(tmp_path / "data", tmp_path)
    assert (cohort.kind, cohort.modalities, cohort.mask_labels) == ("ct", ("image",), {1: "spleen"})


@pytest.mark.parametrize("text", ["{", "[]", '{"modality": {"0": "CT"}, "training": [1]}', '{"modality": 3}'])
@pytest.mark.parametrize("layout", ["msd", "nnunet"])
def test_bad_dataset_json(text: str, layout: str, tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr" / "x.nii.gz")
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json|imagesTr"):
        scan(tmp_path, layout)
