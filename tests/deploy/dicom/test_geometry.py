"""A mask comes back from a DICOM segmentation where it was, whatever the orientation, spacing, order, tilt and form of
the series. The pixels of the series are the labels, so source, mask and segments can be held against each other."""

from datetime import datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from radapt.deploy.dicom.algorithm import Algorithm
from radapt.deploy.dicom.segmentation import write_segmentation
from radapt.deploy.dicom.source import read_source
from radapt.images import Volume, read, read_mask, write_labels
from radapt.locations import Location
from toy_dicom import ToySeries, frames_of_segmentation, source_planes

ALGORITHM = Algorithm("toy", "0" * 32, datetime(2026, 1, 2, 3, 4, 5))
LABELS = {1: "liver", 2: "tumour", 3: "left kidney"}
LPS = np.diag([-1.0, -1.0, 1.0])
FORMS = ("files", "enhanced", "parts", "stacked")


def drawn_series(rng: np.random.Generator, form: str) -> ToySeries:
    """Any rotation, or one of the straight ones; spacings from 0.3 to 5 mm; up to 25° of tilt in separate files."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if rng.random() < 0.25:
        rotation = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    row, column = rotation[0], rotation[1]
    normal = np.cross(row, column)
    step = normal * rng.choice([-1, 1]) * rng.uniform(0.3, 5)
    if form in ("files", "enhanced", "parts") and rng.random() < 0.4:
        step = step + column * np.linalg.norm(step) * np.tan(np.radians(rng.uniform(-25, 25)))
    shape = (rng.integers(2, 7), rng.integers(3, 10), rng.integers(3, 10))
    spacing = (float(rng.uniform(0.3, 3)), float(rng.uniform(0.3, 3)))
    pixels = rng.choice([0, 0, 1, 2, 3], shape).astype(np.uint8)
    pixels[rng.integers(shape[0])] = 0
    origin = rng.uniform(-300, 300, 3)
    return ToySeries(
        pixels, np.concatenate([row, column]), origin, step, spacing, form, seed=int(rng.integers(1 << 30))
    )


def other_storage(labels: Volume, rng: np.random.Generator, path: Path) -> Path:
    """The label map as NIfTI, its axes permuted and flipped by nibabel."""
    image = nibabel.Nifti1Image(labels.array.astype(np.uint8), labels.affine)
    turn = np.stack([rng.permutation(3), rng.choice([-1, 1], 3)], axis=1)
    nibabel.save(image.as_reoriented(turn), path)
    return path


def check_one(folder: Path, seed: int, form: str) -> float:
    """Write, read, compare; the largest distance in voxels."""
    rng = np.random.default_rng(seed)
    series = drawn_series(rng, form)
    where = Location(series.write(folder / "series"))
    image = read(where)
    nifti = other_storage(Volume(image.array, image.affine), rng, folder / "mask.nii.gz")
    mask = read(Location(nifti)) if rng.random() < 0.5 else read_mask(Location(nifti), image)
    write_segmentation(folder / "seg.dcm", read_source(where), mask, LABELS, ALGORITHM)

    frames, planes = frames_of_segmentation(folder / "seg.dcm"), source_planes(folder / "series")
    for frame in frames:
        np.testing.assert_array_equal(frame.inside, planes[frame.source] == frame.segment)
    filled = {(segment, source) for source, plane in planes.items() for segment in LABELS if (plane == segment).any()}
    assert {(frame.segment, frame.source) for frame in frames} == filled

    stored = nibabel.load(nifti)  # what nibabel says of the mask that was given
    voxels, inverse, worst = np.asarray(stored.dataobj), np.linalg.inv(stored.affine), 0.0
    for frame in frames:
        index = nibabel.affines.apply_affine(inverse, frame.points() @ LPS)
        nearest = np.rint(index).astype(int)
        worst = max(worst, float(np.abs(index - nearest).max()))
        assert (voxels[tuple(nearest.T)] == frame.segment).all()
    assert sum(frame.inside.sum() for frame in frames) == (voxels > 0).sum() == (series.pixels > 0).sum()
    return worst


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_a_mask_comes_back_where_it_was(tmp_path, seed, form):
    assert check_one(tmp_path, seed, form) < 0.02


@pytest.mark.slow
def test_a_thousand_masks_come_back_where_they_were(tmp_path):
    worst = [check_one(tmp_path / str(seed), seed, FORMS[seed % len(FORMS)]) for seed in range(1000)]
    print(f"largest distance {max(worst):.2g} voxels")
    assert max(worst) < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_segments_lie_where_simpleitk_sees_the_series(tmp_path, seed):
    rng = np.random.default_rng(seed)
    series = drawn_series(rng, "files")
    normal = np.cross(series.cosines[:3], series.cosines[3:])
    series.step = normal * (series.step @ normal)  # ITK does not read tilted series
    folder = series.write(tmp_path / "series")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    seen = reader.Execute()
    write_segmentation(tmp_path / "seg.dcm", read_source(Location(folder)), read(Location(folder)), LABELS, ALGORITHM)
    frames = frames_of_segmentation(tmp_path / "seg.dcm")
    points = [(frame.segment, point) for frame in frames for point in frame.points()]
    assert len(points) == (series.pixels > 0).sum()
    for segment, point in points:
        index = np.asarray(seen.TransformPhysicalPointToContinuousIndex(point))
        assert np.abs(index - np.rint(index)).max() < 0.01
        assert seen[tuple(int(i) for i in np.rint(index))] == segment


def test_a_label_map_written_by_radapt_comes_back(tmp_path):
    """As `predict` does: the NIfTI of a tilted series has a sheared affine, which the segmentation keeps."""
    rng = np.random.default_rng(5)
    series = drawn_series(rng, "files")
    series.step = series.step + series.cosines[3:] * 0.4
    where = Location(series.write(tmp_path / "series"))
    image = read(where)
    write_labels(tmp_path / "mask.nii.gz", Volume(image.array, image.affine))
    source = read_source(where)
    write_segmentation(tmp_path / "seg.dcm", source, read(Location(tmp_path / "mask.nii.gz")), LABELS, ALGORITHM)
    planes = source_planes(tmp_path / "series")
    for frame in frames_of_segmentation(tmp_path / "seg.dcm"):
        np.testing.assert_array_equal(frame.inside, planes[frame.source] == frame.segment)
