"""Folders of DICOM slices: order and geometry from positions, and every reason why they are not one volume."""

import hashlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, MediaStorageDirectoryStorage, SegmentationStorage, generate_uid

from radapt.errors import DataError
from radapt.images import read
from radapt.locations import Location

OBLIQUE = (0.8, 0.6, 0.0, -0.6 * 0.96, 0.8 * 0.96, -0.28)


def planes(n=5, rows=4, columns=6, dtype=np.int16):
    return np.random.default_rng(1).integers(0, 1000, (n, rows, columns)).astype(dtype)


def normal(orientation):
    return np.cross(orientation[:3], orientation[3:])


def test_slices_are_ordered_by_position_not_by_name(series):
    pixels = planes()
    volume = read(Location(series(pixels)), "ct")
    np.testing.assert_array_equal(volume.array, pixels.transpose(2, 1, 0))
    np.testing.assert_array_equal(volume.planes("axial"), pixels)
    assert volume.spacing_mm == (0.75, 0.5, 2.5)
    np.testing.assert_allclose(volume.affine[:3, 3], [10, 20, 30])


@pytest.mark.parametrize(
    "orientation",
    [OBLIQUE, (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, -1, 0)],
    ids=["oblique", "coronal", "sagittal", "upside down"],
)
@pytest.mark.parametrize("way", [1, -1])
def test_geometry_equals_simpleitks(series, orientation, way):
    step = tuple(way * 2.5 * normal(orientation))
    folder = series(planes(), orientation=orientation, step=step)
    volume = read(Location(folder))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    for index in [(0, 0, 0), (5, 3, 4), (2, 1, 3)]:
        place = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        ours = np.linalg.solve(volume.affine, [*place, 1])[:3]
        np.testing.assert_allclose(ours, np.rint(ours), atol=1e-3)
        assert volume.array[tuple(np.rint(ours).astype(int))] == image[index]


def test_a_nifti_of_the_series_shows_the_same_planes(series, tmp_path):
    folder = series(planes(), orientation=OBLIQUE, step=tuple(2.5 * normal(OBLIQUE)))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    sitk.WriteImage(reader.Execute(), tmp_path / "a.nii.gz")
    for axis in ("axial", "coronal", "sagittal"):
        np.testing.assert_array_equal(
            read(Location(folder)).planes(axis), read(Location(tmp_path / "a.nii.gz")).planes(axis)
        )


def test_a_tilted_gantry_gives_a_sheared_affine_and_exact_positions(series):
    volume = read(Location(series(planes(), step=(0.0, 0.7, 2.4))))
    np.testing.assert_allclose(volume.affine[:3, 2], [0, -0.7, 2.4], atol=1e-9)
    assert volume.spacing_mm == pytest.approx((0.75, 0.5, 2.5))
    np.testing.assert_array_equal(volume.planes("axial"), planes())


def test_rescale_is_applied_and_integers_stay(series):
    volume = read(Location(series(planes(), RescaleSlope=1, RescaleIntercept=-1024)))
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.planes(), planes() - 1024)

    def per_slice(k, data):
        data.RescaleSlope, data.RescaleIntercept = 0.5 + k, 1 - 2 * k

    volume = read(Location(series(planes(), change=per_slice, folder="pet")))
    expected = planes() * (0.5 + np.arange(5))[:, None, None] + (1 - 2 * np.arange(5))[:, None, None]
    np.testing.assert_allclose(volume.planes(), expected, rtol=1e-6)


def test_wide_intercepts_do_not_wrap_around(series):
    volume = read(Location(series(planes(dtype=np.uint16) + 60000, RescaleSlope=1, RescaleIntercept=20000)))
    np.testing.assert_array_equal(volume.planes(), planes().astype(np.int64) + 80000)


def test_other_objects_and_other_files_are_skipped(series, dicom, save_dicom):
    folder = series(planes())
    for uid in (BasicTextSRStorage, MediaStorageDirectoryStorage, SegmentationStorage):
        other = dicom(np.zeros((2, 2), np.uint8), SeriesInstanceUID="9.9")
        other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = uid
        if uid == BasicTextSRStorage:
            del other.PixelData, other.Rows, other.Columns
        save_dicom(other, folder / f"other{str(uid)[-3:]}.dcm")
    (folder / "notes.txt").write_text("scanned by J. Doe")
    (folder / "LICENSE").write_text("x" * 400)
    (folder / ".DS_Store").write_bytes(b"\0" * 10)
    np.testing.assert_array_equal(read(Location(folder)).planes(), planes())


def test_one_of_several_series_is_chosen_by_its_key(series):
    folder = series(planes(), SeriesInstanceUID="1.2.840.1")
    series(planes(3) + 5, SeriesInstanceUID="1.2.840.2", folder="more")
    for item in (folder.parent / "more").iterdir():
        item.rename(folder / f"b{item.name}")
    with pytest.raises(DataError, match=r"holds 2 series: series-[0-9a-f]{12} \(.*Choose one") as caught:
        read(Location(folder))
    assert "1.2.840" not in str(caught.value)
    key = hashlib.blake2b(b"1.2.840.2", digest_size=16).hexdigest()[:12]
    np.testing.assert_array_equal(read(Location.parse(f"{folder}::series-{key}")).planes(), planes(3) + 5)
    with pytest.raises(DataError, match="Known: series-"):
        read(Location.parse(f"{folder}::series-000000000000"))


def change_slice(k, **tags):
    def change(at, data):
        if at == k:
            for name, value in tags.items():
                setattr(data, name, value)

    return change


def drop(*gone):
    return lambda k, data: k not in gone


INCONSISTENT = {
    "missing slice": (drop(2), r"1 slice is missing between IM\d+.dcm and IM\d+.dcm \(5.00 mm apart"),
    "missing slices": (drop(2, 3), "2 slices are missing"),
    "uneven": (change_slice(4, ImagePositionPatient=[-10, -20, 40.9]), "not evenly spaced, 2.50 to 3.40 mm"),
    "same position": (change_slice(3, ImagePositionPatient=[-10, -20, 30.0]), r"same position \(1 such pair\)"),
    "two echoes": (change_slice(3, ImagePositionPatient=[-10, -20, 30], EchoTime=80), "differ in EchoTime"),
    "size": (change_slice(3, Rows=2, Columns=12), "has size 2 × 12, 4 of 5 images have 4 × 6"),
    "pixel spacing": (change_slice(3, PixelSpacing=[0.5, 0.5]), "pixel spacing"),
    "orientation": (change_slice(3, ImageOrientationPatient=[1, 0, 0, 0, 0, 1]), "orientation"),
    "colour": (change_slice(3, PhotometricInterpretation="MONOCHROME1"), "colour MONOCHROME1"),
    "no position": (change_slice(3, ImagePositionPatient=None), "position not given"),
    "shifted": (change_slice(3, ImagePositionPatient=[-10, -12, 37.5]), "8.0 mm off the line"),
    "nonsense": (lambda k, data: setattr(data, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "perpendicular"),
    "too long": (lambda k, data: setattr(data, "ImageOrientationPatient", [1, 0, 0, 0, 2, 0]), "perpendicular"),
    "oblique": (lambda k, data: setattr(data, "ImageOrientationPatient", [1, 0, 0, 0.6, 0.8, 0]), "perpendicular"),
    "obtuse": (lambda k, data: setattr(data, "ImageOrientationPatient", [1, 0, 0, -0.6, 0.8, 0]), "perpendicular"),
}


@pytest.mark.parametrize("name", INCONSISTENT)
def test_what_is_not_one_volume_is_refused_saying_what_differs(series, name):
    change, message = INCONSISTENT[name]
    folder = series(planes(), change=change)
    with pytest.raises(DataError, match=message) as caught:
        read(Location(folder))
    assert str(folder) in str(caught.value)


def test_the_same_image_twice_is_said(series):
    folder = series(planes())
    first = sorted(folder.iterdir())[0]
    (folder / "copy.dcm").write_bytes(first.read_bytes())
    with pytest.raises(DataError, match="same image twice"):
        read(Location(folder))


def test_positions_rounded_by_the_scanner_are_accepted(series):
    rounded = (0.0, 0.0, 2.5)
    jitter = np.array([0, 0.03, -0.03, 0.02, 0])
    change = lambda k, data: setattr(  # noqa: E731
        data, "ImagePositionPatient", [-10, -20, 30 + 2.5 * k + float(jitter[k])]
    )
    assert read(Location(series(planes(), step=rounded, change=change))).spacing_mm[2] == pytest.approx(2.5)


def test_images_without_position_are_one_only_in_one_file(series, dicom, save_dicom, tmp_path):
    with pytest.raises(DataError, match="5 images without a position"):
        read(Location(series(planes(), change=lambda k, data: delattr(data, "ImagePositionPatient"))))


def test_a_damaged_slice_is_named(series):
    folder = series(planes())
    victim = sorted(folder.iterdir())[2]
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(DataError, match=victim.name):
        read(Location(folder))
    victim.write_bytes(b"")
    with pytest.raises(DataError, match=victim.name):
        read(Location(folder))


@pytest.mark.parametrize("content", [{}, {"readme.txt": b"hello"}])
def test_a_folder_without_images_is_refused(tmp_path, content):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match="no DICOM image"):
        read(Location(tmp_path))


def test_nothing_that_names_a_patient_is_parsed(series, monkeypatch):
    import pydicom

    seen: set[str] = set()
    original = pydicom.dcmread

    def watched(*args, **options):
        data = original(*args, **options)
        seen.update(element.keyword for element in data)
        return data

    monkeypatch.setattr(pydicom, "dcmread", watched)
    read(Location(series(planes())))
    assert "Rows" in seen
    assert not {word for word in seen if any(part in word for part in ("Patient", "Date", "Accession", "Name"))} - {
        "ImagePositionPatient",
        "ImageOrientationPatient",
    }


def enhanced(dicom, pixels, order, *, slopes=None, intercepts=None, echoes=1):
    """A multi-frame object whose frames lie at `order[k]` × 2 mm."""
    data = dicom(pixels, SOPInstanceUID=generate_uid())
    shared = Dataset()
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 2.0
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    data.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for k, place in enumerate(order):
        frame, position, transform, window = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 2.0 * place]
        transform.RescaleSlope = 1 if slopes is None else slopes[k]
        transform.RescaleIntercept = -5 if intercepts is None else intercepts[k]
        window.WindowCenter, window.WindowWidth = 100 + place, 51
        frame.PlanePositionSequence = [position]
        frame.PixelValueTransformationSequence = [transform]
        frame.FrameVOILUTSequence = [window]
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = frames
    return data


def test_frames_of_an_enhanced_file_are_ordered_and_rescaled_each(dicom, save_dicom, tmp_path):
    order, slopes = [2, 0, 1], [1, 2, 3]
    path = save_dicom(enhanced(dicom, planes(3), order, slopes=slopes), tmp_path / "enhanced.dcm")
    volume = read(Location(path))
    scaled = planes(3) * np.array(slopes)[:, None, None] - 5.0
    np.testing.assert_allclose(volume.planes(), scaled[[1, 2, 0]])
    assert volume.spacing_mm == (0.75, 0.5, 2.0)
    assert (volume.window.low, volume.window.high) == (101 - 0.5 - 25, 101 - 0.5 + 25)
    np.testing.assert_array_equal(read(Location(tmp_path)).planes(), volume.planes())


@pytest.mark.parametrize("slopes", [(1, 1, 1), (1, 2, 3)])
def test_every_frame_has_its_own_intercept(dicom, save_dicom, tmp_path, slopes):
    intercepts = [-5, 20, 0]
    data = enhanced(dicom, planes(3), [0, 1, 2], slopes=slopes, intercepts=intercepts)
    volume = read(Location(save_dicom(data, tmp_path / "enhanced.dcm")))
    expected = planes(3) * np.array(slopes)[:, None, None] + np.array(intercepts)[:, None, None]
    np.testing.assert_allclose(volume.planes(), expected)


def test_frames_of_several_files_make_one_volume(dicom, save_dicom, tmp_path):
    for at, (part, order) in enumerate(zip((planes(4)[:2], planes(4)[2:]), ([0, 1], [2, 3]), strict=True)):
        save_dicom(enhanced(dicom, part, order), tmp_path / f"{at}.dcm")
    np.testing.assert_array_equal(read(Location(tmp_path)).planes(), planes(4) - 5)


def test_a_time_series_in_one_file_names_its_frames(dicom, save_dicom, tmp_path):
    save_dicom(enhanced(dicom, planes(4), [0, 1, 0, 1]), tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"a\.dcm frame 1 and a\.dcm frame 3 lie at the same position"):
        read(Location(tmp_path / "a.dcm"))


def test_plain_multi_frame_is_a_stack_in_stored_order(dicom, save_dicom, tmp_path):
    path = save_dicom(dicom(planes(4, dtype=np.uint8), PixelSpacing=[0.2, 0.3]), tmp_path / "cine.dcm")
    volume = read(Location(path))
    np.testing.assert_array_equal(volume.planes(), planes(4, dtype=np.uint8))
    assert volume.plane_spacing_mm() == (0.2, 0.3)


AXIAL, CORONAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def once_placed(dicom, n=4, **tags):
    """A multi-frame file that says where its first frame lies and nothing about the others."""
    facts = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": list(AXIAL), "PixelSpacing": [0.5, 0.75]}
    return dicom(planes(n), **facts | tags)


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL])
@pytest.mark.parametrize(
    ("tags", "step"),
    [
        ({"SpacingBetweenSlices": 3, "SliceThickness": 5}, 3),
        ({"SliceThickness": 5}, 5),
        ({}, 1),
        ({"SpacingBetweenSlices": -2}, -2),
        ({"SpacingBetweenSlices": 2, "FrameIncrementPointer": 0x00540080}, 2),
    ],
)
def test_frames_with_one_position_for_all_are_stacked_on_it(
    dicom, save_dicom, series, tmp_path, orientation, tags, step
):
    path = save_dicom(once_placed(dicom, ImageOrientationPatient=list(orientation), **tags), tmp_path / "a.dcm")
    volume = read(Location(path))
    steps = tuple(float(value) for value in normal(orientation) * step)
    apart = read(Location(series(planes(4), orientation=orientation, origin=(1.0, 2.0, 3.0), step=steps)))
    np.testing.assert_allclose(volume.affine, apart.affine, atol=1e-9)
    np.testing.assert_array_equal(volume.array, apart.array)


def in_frames(tag, group, values):
    def change(data):
        data.PerFrameFunctionalGroupsSequence = frames = [Dataset() for _ in values]
        for frame, value in zip(frames, values, strict=True):
            inside = Dataset()
            setattr(inside, tag, value)
            setattr(frame, group, [inside])

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (in_frames("TemporalPositionIndex", "FrameContentSequence", [1, 2, 3, 4]), "TemporalPositionIndex"),
        (in_frames("EffectiveEchoTime", "MREchoSequence", [10.0, 20.0, 10.0, 20.0]), "EffectiveEchoTime"),
        (in_frames("InStackPositionNumber", "FrameContentSequence", [1, 2, 1, 2]), "InStackPositionNumber"),
        (lambda data: setattr(data, "FrameIncrementPointer", 0x00181063), "FrameTime"),
        (lambda data: setattr(data, "FrameIncrementPointer", [0x00540080, 0x00540070]), "TimeSlotVector"),
        (lambda data: setattr(data, "NumberOfTemporalPositions", 2), "NumberOfTemporalPositions"),
    ],
)
def test_times_and_echoes_in_one_file_are_refused_with_a_way_out(dicom, save_dicom, tmp_path, change, said):
    data = once_placed(dicom, SpacingBetweenSlices=3)
    change(data)
    with pytest.raises(DataError) as caught:
        read(Location(save_dicom(data, tmp_path / "a.dcm")))
    assert f"counts its frames by {said}. Save each time point" in str(caught.value)
    assert "::channels[0]" in str(caught.value)


def test_numbered_slices_of_one_stack_are_stacked(dicom, save_dicom, tmp_path):
    data = once_placed(dicom, SliceThickness=2)
    in_frames("InStackPositionNumber", "FrameContentSequence", [1, 2, 3, 4])(data)
    volume = read(Location(save_dicom(data, tmp_path / "a.dcm")))
    np.testing.assert_array_equal(volume.planes(), planes(4))
    assert volume.spacing_mm == (0.75, 0.5, 2)


def test_a_position_that_all_frames_share_is_taken_at_its_word(dicom, save_dicom, tmp_path):
    data = once_placed(dicom, SliceThickness=2)
    shared, place = Dataset(), Dataset()
    place.ImagePositionPatient = [1, 2, 3]
    shared.PlanePositionSequence = [place]
    data.SharedFunctionalGroupsSequence = [shared]
    with pytest.raises(DataError, match="same position"):
        read(Location(save_dicom(data, tmp_path / "a.dcm")))
