"""Series cut at an end are known by other series, by counts in the header and by image numbers; true ones pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from radapt.cli import app
from radapt.cohorts import scan, write_cohort
from radapt.cohorts.layouts.dicom.cut_series import cut_images
from radapt.deploy.inputs.resolve import resolve_inputs
from radapt.deploy.sequences import ModelSequence
from radapt.doctor import check_cohort
from radapt.locations import Location
from toy_dicom import ToySeries

TILTED = np.array([1.0, 0, 0, 0, 0.98229, -0.18737])
NORMAL = np.cross(TILTED[:3], TILTED[3:])
ORIGINAL = ["ORIGINAL", "PRIMARY", "M"]


def write(folder: Path, name: str, slices: range, *, step: float = 5.0, **tags: Any) -> Path:
    """A series of a tilted prescription that holds its `slices`."""
    size = tags.pop("size", 16)
    pixels = np.random.default_rng(0).integers(0, 200, (len(slices), size, size))
    start = np.array([-10.0, -20.0, 30.0]) + slices.start * step * NORMAL
    series = ToySeries(
        pixels, cosines=TILTED, origin=start, step=step * NORMAL, tags={"SeriesDescription": name, **tags}
    )
    return series.write(folder / name)


def messages(folder: Path) -> dict[str, str]:
    return {each.name: each.message for each in cut_images({path.name: Location(path) for path in folder.iterdir()})}


def test_a_series_cut_at_an_end_is_known_by_another_one(tmp_path: Path) -> None:
    write(tmp_path, "t1", range(22))
    write(tmp_path, "flair", range(18))
    write(tmp_path, "t2", range(4, 22))
    found = messages(tmp_path)
    assert found["flair"] == "it has 18 slices and t1 has 22 at the same places: 20 mm less at the head end."
    assert found["t2"] == "it has 18 slices and t1 has 22 at the same places: 20 mm less at the feet end."
    assert "t1" not in found


def test_slices_stored_the_other_way_round_are_compared_alike(tmp_path: Path) -> None:
    write(tmp_path, "t1", range(22))
    pixels = np.zeros((18, 16, 16))
    flipped = np.concatenate([TILTED[:3], -TILTED[3:]])
    corner = np.array([-10.0, -20.0, 30.0]) + 15 * 0.5 * TILTED[3:]
    ToySeries(pixels, cosines=flipped, origin=corner, step=5 * NORMAL).write(tmp_path / "flair")
    assert "at the head end" in messages(tmp_path)["flair"]


@pytest.mark.parametrize(
    ("slices", "tags"),
    [
        (range(22), {}),  # the same slices
        (range(2, 20), {}),  # a slab in the middle shares no end
        (range(18), {"step": 4.0}),  # planned otherwise
        (range(18), {"size": 8}),  # a crop
        (range(18), {"FrameOfReferenceUID": "1.2.3"}),  # places that cannot be compared
        (range(18), {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        (range(2), {}),
        (range(22), {"ImageType": ORIGINAL, "ImagesInAcquisition": 22}),
        (range(22), {"ImageType": ["DERIVED", "SECONDARY"], "ImagesInAcquisition": 40}),  # copied from its source
    ],
)
def test_what_is_not_cut(tmp_path: Path, slices: range, tags: dict[str, Any]) -> None:
    write(tmp_path, "t1", range(22))
    write(tmp_path, "other", slices, **tags)
    assert messages(tmp_path) == {}


def test_counts_of_the_header_show_a_cut(tmp_path: Path) -> None:
    write(tmp_path / "a", "t1", range(18), ImageType=ORIGINAL, ImagesInAcquisition=22)
    assert messages(tmp_path / "a") == {"t1": "its header counts 22 images in the acquisition, 18 are here."}
    write(tmp_path / "b", "pet", range(18), NumberOfSlices=10, NumberOfTimeSlices=2)
    assert messages(tmp_path / "b") == {"pet": "its header counts 20 slices, 18 are here."}
    write(tmp_path / "c", "ct", range(3), InConcatenationTotalNumber=4)
    assert messages(tmp_path / "c") == {"ct": "its header counts 4 files of a concatenation, 3 are here."}
    write(tmp_path / "d", "ct", range(3), NumberOfSeriesRelatedInstances=4)
    assert messages(tmp_path / "d") == {"ct": "its header counts 4 files of the series, 3 are here."}


def edit(folder: Path, change: Callable[[Dataset, int], None]) -> None:
    """Let `change` edit every file of a series; it is given the place along the normal, from 0."""
    files = [(dcmread(path), path) for path in folder.iterdir()]
    ordered = sorted(files, key=lambda file: float(np.asarray(file[0].ImagePositionPatient, dtype=float) @ NORMAL))
    for place, (data, path) in enumerate(ordered):
        change(data, place)
        data.save_as(path)


def number(folder: Path, first: int, step: int = 1) -> None:
    edit(folder, lambda data, place: setattr(data, "InstanceNumber", first + step * place))


def test_numbers_that_do_not_begin_at_one_show_a_cut(tmp_path: Path) -> None:
    number(write(tmp_path / "a", "t1", range(18), ImageType=ORIGINAL), 5)
    said = "its images are numbered from 5 to 22: the first 4 are missing, 20 mm at the feet end."
    assert messages(tmp_path / "a") == {"t1": said}
    number(write(tmp_path / "b", "t1", range(18), ImageType=ORIGINAL), 22, step=-1)
    assert messages(tmp_path / "b") == {"t1": said.replace("feet", "head")}


@pytest.mark.parametrize(
    ("first", "step", "tags"),
    [
        (1, 1, {}),
        (0, 1, {}),
        (4, 1, {}),  # three scouts
        (19, 1, {}),  # the second echo or time point: as many before as there are
        (6, 2, {}),  # echoes in turn
        (6, 1, {"EchoNumbers": 2}),
        (6, 1, {"AcquisitionNumber": 3}),
        (6, 1, {"NumberOfTemporalPositions": 4}),
        (6, 1, {"ImageType": ["DERIVED", "SECONDARY"]}),  # what was chosen of another series
    ],
)
def test_numbers_that_mean_something_else(tmp_path: Path, first: int, step: int, tags: dict[str, Any]) -> None:
    number(write(tmp_path, "t1", range(18), **({"ImageType": ORIGINAL} | tags)), first, step)
    assert messages(tmp_path) == {}


def test_numbers_that_go_on_from_another_series(tmp_path: Path) -> None:
    number(write(tmp_path, "t1", range(6), ImageType=ORIGINAL, FrameOfReferenceUID="1.2.3"), 1)
    number(write(tmp_path, "t2", range(18), ImageType=ORIGINAL), 7)
    assert messages(tmp_path) == {}


PHILIPS, GE = (0x2001, 0x18, "SL", "Philips Imaging DD 001"), (0x0021, 0x4F, "SS", "GEMS_RELA_01")


@pytest.mark.parametrize(
    ("maker", "element", "claimed", "tags", "cut"),
    [
        ("Philips Medical Systems", PHILIPS, 22, {}, True),
        ("GE MEDICAL SYSTEMS", GE, 22, {}, True),
        ("GE MEDICAL SYSTEMS", GE, 18, {}, False),
        ("GE MEDICAL SYSTEMS", GE, 9, {}, False),  # interpolated to twice as many
        ("Resampler Inc.", PHILIPS, 22, {}, False),  # copied from the images that it resampled
        ("Philips", PHILIPS, 22, {"Modality": "CT"}, False),
        ("Philips", PHILIPS, 22, {"ImageType": ["DERIVED", "SECONDARY"]}, False),
        ("Philips", PHILIPS, 22, {"ImageType": [*ORIGINAL, "LOCALIZER"]}, False),
    ],
)
def test_slices_that_the_scanner_planned(
    tmp_path: Path, maker: str, element: tuple[int, int, str, str], claimed: int, tags: dict[str, Any], cut: bool
) -> None:
    tags = {"ImageType": ORIGINAL, "Modality": "MR", "Manufacturer": maker} | tags
    group, offset, representation, creator = element
    edit(
        write(tmp_path, "t1", range(18), **tags),
        lambda data, _: data.private_block(group, creator, create=True).add_new(offset, representation, claimed),
    )
    assert messages(tmp_path) == ({"t1": f"its header counts {claimed} slices, 18 are here."} if cut else {})


def test_real_series_pass() -> None:
    folders = {path.parent for path in Path(str(get_testdata_file("DICOMDIR"))).parent.glob("*/*/*") if path.is_file()}
    assert len(folders) > 3
    for folder in folders:
        assert cut_images({"series": Location(folder)}) == []


def test_an_acquisition_stored_as_two_series_is_whole(tmp_path: Path) -> None:
    for name, slices in (("echo-1", range(10)), ("echo-2", range(12, 24))):
        write(tmp_path, name, slices, ImageType=ORIGINAL, ImagesInAcquisition=22, AcquisitionNumber=4)
    assert messages(tmp_path) == {}


def test_scan_check_and_predict_say_the_same(tmp_path: Path) -> None:
    write(tmp_path / "study", "t1", range(22), SeriesNumber=1)
    write(tmp_path / "study", "flair", range(18), SeriesNumber=2)
    said = (
        "flair may be cut: it has 18 slices and t1 has 22 at the same places: 20 mm less at the head end. Was the copy "
        "interrupted? Copy the series again, unless it was acquired so."
    )
    draft = scan(tmp_path / "study")
    assert any(note.endswith(said) for note in draft.notes)
    path = write_cohort(draft, tmp_path / "cohort.yaml")[0]
    findings = [issue for issue in check_cohort(path, tmp_path / "cache").warnings if issue.code == "cut_series"]
    assert [f"{issue.message} {issue.fix}" for issue in findings] == [said]
    wanted = tuple(map(ModelSequence.of, ("t1", "flair")))
    for given in (tmp_path / "study", path):
        assert list(resolve_inputs([given], wanted, "mri").reasons.values()) == [said.removesuffix(".")]
    unused = resolve_inputs([path], (ModelSequence.of("t1"),), "mri")
    assert unused.reasons == {}  # the cut series is not read


def test_many_cut_series_do_not_flood_the_terminal(tmp_path: Path) -> None:
    for number in range(12):
        study = {"StudyInstanceUID": f"1.2.3.{number}", "PatientID": f"P{number}"}
        write(tmp_path / "data" / str(number), "t1", range(6), size=8, **study)
        write(tmp_path / "data" / str(number), "flair", range(4), size=8, **study)
    result = CliRunner().invoke(app, ["scan", str(tmp_path / "data"), "--out", str(tmp_path / "cohort.yaml")])
    assert result.exit_code == 0
    assert result.output.count("may be cut: ") == 10
    assert "2 more series may be cut" in result.output
