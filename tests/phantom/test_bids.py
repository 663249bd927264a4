"""The folder on disk: names, tables, geometry read by two libraries, and what happens when it is in the way."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK

from radapt.errors import UsageError
from radapt.phantom import MASK_LABELS, SUBTYPES, write_bids
from radapt.phantom.tissues import FIELDS_T

SMALL = {"patients": 14, "external": 4, "seed": 8, "coarser": 3.0}
NAME = re.compile(r"^(sub-[AB]\d{4})(_ses-\d)?(_ce-gad_T1w|_T1w|_T2w|_FLAIR)\.(nii\.gz|json)$")


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ticks: list[int] = []
    root = write_bids(tmp_path_factory.mktemp("phantom") / "bids", **SMALL, advance=ticks.append)
    assert sum(ticks) == 18
    return root


def images(root: Path) -> list[Path]:
    return sorted(root.glob("sub-*/**/*.nii.gz"))


def test_names_follow_bids(bids: Path) -> None:
    for path in bids.glob("sub-*/**/*"):
        if path.is_file():
            match = NAME.match(path.name)
            assert match, path
            session = f"{match[2][1:]}/" if match[2] else ""
            assert path.relative_to(bids).parent.as_posix() == f"{match[1]}/{session}anat"
    assert {path.name.split("_", 1)[0] for path in images(bids)} == {path.name for path in bids.glob("sub-*")}
    assert any("ses-2" in path.name for path in images(bids))
    assert all(path.with_name(path.name.replace(".nii.gz", ".json")).exists() for path in images(bids))


def test_it_says_that_it_is_synthetic(bids: Path) -> None:
    for path in (bids, bids / "derivatives" / "masks"):
        told = json.loads((path / "dataset_description.json").read_text())
        assert told["BIDSVersion"]
        assert "SYNTHETIC" in told["Name"]
    assert "SYNTHETIC" in (bids / "README").read_text()


def test_participants(bids: Path) -> None:
    table = pd.read_csv(bids / "participants.tsv", sep="\t", na_values="n/a")
    assert table["participant_id"].tolist() == sorted(path.name for path in bids.glob("sub-*"))
    assert set(table["subtype"].dropna()) == set(SUBTYPES)
    assert table.groupby("hospital").size().to_dict() == {"A": 14, "B": 4}
    assert table["subtype"].isna().sum() >= 1
    assert table["subtype"][table["hospital"] == "B"].notna().all()
    assert table["age"].between(18, 88).all()


def test_sidecars_hold_the_protocol_in_seconds(bids: Path) -> None:
    for path in bids.glob("sub-*/**/*.json"):
        told = json.loads(path.read_text())
        assert told["Manufacturer"] == "phantom"
        assert told["MagneticFieldStrength"] in FIELDS_T
        assert 0 < told["EchoTime"] < 0.2 < told["RepetitionTime"] < 12
        assert ("InversionTime" in told) == path.name.endswith("FLAIR.json")
        assert ("ContrastBolusIngredient" in told) == ("ce-gad" in path.name)


def test_nibabel_and_simpleitk_agree_on_where_voxels_lie(bids: Path) -> None:
    orientations = set()
    for path in (images(bids)[0], images(bids)[-1]):
        image, other = nib.load(path), SimpleITK.ReadImage(str(path))
        orientations.add("".join(nib.aff2axcodes(image.affine)))
        assert other.GetSize() == image.shape
        assert image.header["qform_code"] == image.header["sform_code"] == 1
        assert np.allclose(image.get_qform(), image.affine, atol=1e-3)
        corner = [size - 1 for size in image.shape]
        for voxel in ([0, 0, 0], corner, [1, 2, 3]):
            lps = other.TransformIndexToPhysicalPoint(voxel)
            assert np.allclose((-lps[0], -lps[1], lps[2]), (image.affine @ (*voxel, 1))[:3], atol=1e-2)
            assert other[voxel] == np.asarray(image.dataobj)[tuple(voxel)]
    assert orientations == {"LAS", "PSL"}


def test_masks_lie_in_the_grid_of_their_images(bids: Path) -> None:
    for path in images(bids):
        stem = re.sub(r"(_ce-gad_T1w|_T1w|_T2w|_FLAIR)\.nii\.gz$", "", path.name)
        folder = bids / "derivatives" / "masks" / path.parent.relative_to(bids)
        mask, image = nib.load(folder / f"{stem}_desc-tumour_dseg.nii.gz"), nib.load(path)
        assert mask.shape == image.shape
        assert np.allclose(mask.affine, image.affine)
        values = set(np.unique(np.asarray(mask.dataobj)).tolist())
        assert {0} < values <= {0, *MASK_LABELS}


def test_the_same_bytes_whatever_the_number_of_patients_and_workers(bids: Path, tmp_path: Path) -> None:
    fewer = write_bids(tmp_path / "fewer", patients=5, external=1, seed=8, coarser=3.0, workers=3)
    for path in images(fewer) + sorted(fewer.glob("derivatives/**/*.nii.gz")):
        assert path.read_bytes() == (bids / path.relative_to(fewer)).read_bytes()


def test_asking_again_does_nothing(bids: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in images(bids)}
    assert write_bids(bids, **SMALL) == bids
    assert {path: path.stat().st_mtime_ns for path in images(bids)} == before


def test_it_never_writes_over_something_else(bids: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"seed=8.*seed=9.*Name another folder"):
        write_bids(bids, **{**SMALL, "seed": 9})
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match="no phantom"):
        write_bids(tmp_path, **SMALL)
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(UsageError, match="no phantom"):
        write_bids(tmp_path / "file", **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine.txt"]


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"external": -1}, {"coarser": 0.5}, {"coarser": 9}, {"seed": -1}])
def test_impossible_wishes_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="expected"):
        write_bids(tmp_path / "out", **{**SMALL, **wrong})
    assert not any(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bids(tmp_path / "out", **SMALL, advance=stop)
    assert not any(tmp_path.iterdir())
