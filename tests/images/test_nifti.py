"""NIfTI files against nibabel and SimpleITK, and everything that can be wrong with them."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from radapt.errors import DataError
from radapt.images import Volume, read
from radapt.locations import Location

AFFINE = np.array([[-0.9, 0.1, 0, 80], [0.1, 1.1, 0.4, -90], [0, -0.3, 3.0, 20], [0, 0, 0, 1.0]])


def voxels(shape=(5, 6, 7), dtype=np.int16):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def written(path, array, affine=AFFINE, kind=nib.Nifti1Image):
    nib.save(kind(array, affine), path)
    return Location(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_and_geometry_equal_nibabels(tmp_path, dtype, kind, ending):
    location = written(tmp_path / f"a{ending}", voxels(dtype=dtype), kind=kind)
    volume = read(location, "t1")
    np.testing.assert_array_equal(volume.array, voxels(dtype=dtype))
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert volume.array.dtype.isnative
    assert volume.modality == "t1"


def test_geometry_equals_simpleitks(tmp_path):
    image = sitk.GetImageFromArray(voxels((7, 6, 5)))
    image.SetSpacing((0.8, 1.2, 3.5))
    image.SetOrigin((-12.0, 34.0, 5.0))
    angle = 0.3
    image.SetDirection((np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, -1))
    sitk.WriteImage(image, tmp_path / "a.nii.gz")
    volume = read(Location(tmp_path / "a.nii.gz"))
    assert volume.spacing_mm == pytest.approx((0.8, 1.2, 3.5), abs=1e-5)
    for index in [(0, 0, 0), (4, 5, 6), (1, 2, 3)]:
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-4)
        assert volume.array[index] == image[index]


def test_sform_wins_then_qform_then_voxel_sizes(tmp_path):
    image = nib.Nifti1Image(voxels(), None)
    image.header.set_zooms((2, 3, 4))
    image.set_qform(np.diag([2, 3, 4, 1]), code=1)
    nib.save(image, tmp_path / "q.nii")
    np.testing.assert_allclose(read(Location(tmp_path / "q.nii")).affine, np.diag([2, 3, 4, 1]), atol=1e-6)
    image.set_sform(AFFINE, code=2)
    nib.save(image, tmp_path / "s.nii")
    np.testing.assert_allclose(read(Location(tmp_path / "s.nii")).affine, AFFINE, atol=1e-5)
    image.set_qform(None, code=0)
    image.set_sform(None, code=0)
    image.header.set_zooms((2, 3, 4))
    nib.save(image, tmp_path / "n.nii")
    assert read(Location(tmp_path / "n.nii")).spacing_mm == pytest.approx((2, 3, 4))


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(voxels(), AFFINE)
    image.header.set_slope_inter(0.5, -100)
    nib.save(image, tmp_path / "a.nii.gz")
    expected = nib.load(tmp_path / "a.nii.gz").get_fdata()
    volume = read(Location(tmp_path / "a.nii.gz"))
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(5, 6, 7, 1), (5, 6, 7, 1, 1), (5, 6), (5, 6, 1)])
def test_dimensions_of_size_one_do_not_matter(tmp_path, shape):
    volume = read(written(tmp_path / "a.nii", voxels(shape)))
    assert volume.array.shape == (*shape, 1)[:3]


def test_one_volume_of_four_dimensions_is_chosen_by_number(tmp_path):
    array = voxels((4, 5, 6, 3))
    path = written(tmp_path / "a.nii.gz", array).path
    np.testing.assert_array_equal(read(Location(path, "channels", 2)).array, array[..., 2])
    with pytest.raises(DataError, match=r"3 volumes in one file.*channels\[0\]"):
        read(Location(path))
    with pytest.raises(DataError, match="holds 3 volumes"):
        read(Location(path, "channels", 3))
    with pytest.raises(DataError, match=r"write .*::channels\[0\]"):
        read(Location(path, "volumes", 0))
    np.testing.assert_array_equal(read(Location(written(tmp_path / "b.nii", array[..., 0]).path)).array, array[..., 0])


def test_colour_is_kept_and_alpha_left_out(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 4), dtype=np.uint8)
    for fields in ("RGB", "RGBA"):
        dtype = np.dtype([(name, "u1") for name in fields])
        packed = np.ascontiguousarray(colours[..., : len(fields)]).view(dtype)[..., 0]
        volume = read(written(tmp_path / f"{fields}.nii.gz", packed))
        assert volume.is_colour
        np.testing.assert_array_equal(volume.array, colours[..., :3])


def header_bytes(**fields):
    header = nib.Nifti1Header()
    header["magic"], header["vox_offset"], header["datatype"], header["bitpix"] = b"n+1", 352, 4, 16
    header["dim"] = [3, 4, 4, 4, 1, 1, 1, 1]
    header["pixdim"][1:4] = 1
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + b"\0" * 4


def test_headers_that_other_readers_repair_are_repaired(tmp_path):
    """No sign of the qform, a negative voxel size and no thickness of the only slice; a slope without an intercept."""
    voxels_of = np.arange(16, dtype="<i2")
    sizes = {"dim": [3, 4, 4, 1, 1, 1, 1, 1], "pixdim": [0, -2, 3, 0, 1, 1, 1, 1]}
    for number, code in enumerate((0, 1)):
        header = header_bytes(**sizes, qform_code=code, scl_slope=2, scl_inter=np.nan)
        (tmp_path / f"{number}.nii").write_bytes(header + voxels_of.tobytes())
        volume = read(Location(tmp_path / f"{number}.nii"))
        assert volume.spacing_mm == (2, 3, 1)
        np.testing.assert_array_equal(volume.array[:, :, 0], 2 * voxels_of.reshape(4, 4, order="F"))
    np.testing.assert_array_equal(volume.affine, np.diag([2.0, 3.0, 1.0, 1.0]))
    flat = header_bytes(dim=[2, 4, 4, 1, 1, 1, 1, 1], pixdim=[1, 2, 3, 0, 1, 1, 1, 1])
    (tmp_path / "flat.nii").write_bytes(flat + voxels_of.tobytes())
    assert read(Location(tmp_path / "flat.nii")).spacing_mm == (2, 3, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"hello", "not a NIfTI"),
        (b"\0" * 1000, "not a NIfTI"),
        (gzip.compress(b"\0" * 1000, mtime=0), "not a NIfTI"),
        (header_bytes(dim=[3, 4, 0, 4, 1, 1, 1, 1]), "empty"),
        (header_bytes(dim=[3, 4, -4, 4, 1, 1, 1, 1]), "empty"),
        (header_bytes(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]), "truncated"),
        (gzip.compress(header_bytes(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]), mtime=0), "truncated"),
        (header_bytes(), "truncated"),
        (header_bytes(datatype=1792, bitpix=128) + b"\0" * 2000, "complex"),
        (header_bytes(datatype=9999) + b"\0" * 200, "NIfTI"),
        (header_bytes(magic=b"ni1") + b"\0" * 200, "two-file"),
        (header_bytes(sform_code=1) + b"\0" * 200, "geometry"),
        (header_bytes(qform_code=1, quatern_b=9.0) + b"\0" * 200, "NIfTI"),
        (header_bytes(dim=[9, 4, 4, 4, 1, 1, 1, 1]) + b"\0" * 200, "truncated"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path, content, message):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(Location(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_voxels_are_counted(tmp_path, bad):
    array = voxels(dtype=np.float32)
    array[1, 2, 3] = array[4, 5, 6] = bad
    with pytest.raises(DataError, match=r"2 of 210 voxels.*\(1, 2, 3\)"):
        read(written(tmp_path / "a.nii.gz", array))


def test_numbers_beyond_float32_are_refused_not_made_infinite(tmp_path):
    with pytest.raises(DataError, match="too large"):
        read(written(tmp_path / "a.nii", np.full((3, 3, 3), 1e300)))


def test_wide_labels_stay_exact(tmp_path):
    array = np.zeros((3, 3, 3), np.int64)
    array[0, 0, 0] = 2**30 + 1
    image = nib.Nifti1Image(array, AFFINE, dtype=np.int64)
    nib.save(image, tmp_path / "a.nii")
    assert read(Location(tmp_path / "a.nii")).array[0, 0, 0] == 2**30 + 1


def test_a_gzip_with_a_wrong_checksum_is_noticed(tmp_path):
    location = written(tmp_path / "a.nii.gz", voxels())
    content = bytearray(location.path.read_bytes())
    content[-8] ^= 1
    location.path.write_bytes(content)
    with pytest.raises(DataError, match="CRC"):
        read(location)


def test_several_gzip_members_are_one_file(tmp_path):
    plain = tmp_path / "a.nii"
    written(plain, voxels())
    content = plain.read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(content[:500], mtime=0) + gzip.compress(content[500:], mtime=0))
    np.testing.assert_array_equal(read(Location(tmp_path / "b.nii.gz")).array, voxels())


def test_a_volume_stored_in_any_orientation_shows_the_same(tmp_path):
    image = nib.Nifti1Image(voxels(), AFFINE)
    planes = Volume(voxels(), AFFINE).planes("coronal")
    for letters in ("LPS", "SAR", "AIL", "PRI"):
        wanted = nib.orientations.axcodes2ornt(letters)
        turn = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), wanted)
        nib.save(image.as_reoriented(turn), tmp_path / f"{letters}.nii.gz")
        np.testing.assert_array_equal(read(Location(tmp_path / f"{letters}.nii.gz")).planes("coronal"), planes)
