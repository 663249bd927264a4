"""Single DICOM files: radiographs, photometric interpretations, compression, display windows."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    BasicTextSRStorage,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from radapt.errors import DataError
from radapt.images import read
from radapt.locations import Location


def film(dtype=np.uint16, top=4096):
    return np.random.default_rng(2).integers(0, top, (6, 8)).astype(dtype)


def test_a_radiograph_is_one_plane_as_stored(dicom, save_dicom, tmp_path):
    volume = read(Location(save_dicom(dicom(film(), Modality="DX"), tmp_path / "a.dcm")))
    np.testing.assert_array_equal(volume.planes()[0], film())
    assert volume.flat_axis == "axial"
    assert volume.plane_spacing_mm() == (1, 1)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [0.5, 0.5]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.5, 0.4]}, (0.5, 0.4)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.5, 0.4]}, (0.5, 0.4)),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({}, (1, 1)),
    ],
)
def test_pixel_size_comes_from_the_first_tag_that_has_one(dicom, save_dicom, tmp_path, tags, spacing):
    volume = read(Location(save_dicom(dicom(film(), **tags), tmp_path / "a.dcm")))
    assert volume.plane_spacing_mm() == spacing


def test_monochrome1_is_turned_around_with_its_window(dicom, save_dicom, tmp_path):
    tags = {"WindowCenter": 1000, "WindowWidth": 401, "BitsStored": 12, "HighBit": 11}
    one = read(Location(save_dicom(dicom(film(), PhotometricInterpretation="MONOCHROME1", **tags), tmp_path / "1.dcm")))
    two = read(Location(save_dicom(dicom(film(), **tags), tmp_path / "2.dcm")))
    np.testing.assert_array_equal(one.array, 4095 - two.array.astype(int))
    np.testing.assert_allclose(one.window.apply(one.array), 1 - two.window.apply(two.array), atol=1e-6)


def test_monochrome1_with_rescale_and_sign(dicom, save_dicom, tmp_path):
    pixels = film(np.int16) - 2000
    tags = {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": 2, "RescaleIntercept": 7}
    volume = read(Location(save_dicom(dicom(pixels, **tags), tmp_path / "a.dcm")))
    np.testing.assert_allclose(volume.planes()[0], (-1 * 2 + 2 * 7) - (pixels * 2.0 + 7))


def test_padding_is_as_dark_as_the_darkest_pixel(dicom, save_dicom, tmp_path):
    pixels = film(np.int16) + 10
    pixels[0] = -2000
    for kind, sign in (("MONOCHROME1", -1), ("MONOCHROME2", 1)):
        data = dicom(pixels, PhotometricInterpretation=kind, PixelPaddingValue=-2000)
        planes = read(Location(save_dicom(data, tmp_path / "a.dcm"))).planes()[0]
        assert (planes[0] == planes[1:].min()).all()
        assert np.corrcoef(planes[1:].ravel(), sign * pixels[1:].ravel())[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
def test_colour_comes_out_as_rgb(dicom, save_dicom, tmp_path, kind):
    colours = np.random.default_rng(0).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    stored = colours if kind == "RGB" else np.asarray(Image.fromarray(colours).convert("YCbCr"))
    volume = read(Location(save_dicom(dicom(stored, PhotometricInterpretation=kind), tmp_path / "a.dcm")))
    assert volume.is_colour
    np.testing.assert_allclose(volume.planes()[0].astype(int), colours, atol=3)


def test_planar_colour_and_grey_colour(dicom, save_dicom, tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    data = dicom(colours)
    data.PlanarConfiguration, data.PixelData = 1, colours.transpose(2, 0, 1).tobytes()
    np.testing.assert_array_equal(read(Location(save_dicom(data, tmp_path / "a.dcm"))).planes()[0], colours)
    grey = np.repeat(colours[..., :1], 3, axis=-1)
    assert not read(Location(save_dicom(dicom(grey), tmp_path / "b.dcm"))).is_colour


def test_palette_colours_are_looked_up(dicom, save_dicom, tmp_path):
    palette = np.random.default_rng(0).integers(0, 255, (256, 3), dtype=np.uint8)
    data = dicom(film(np.uint8, 256), PhotometricInterpretation="PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        setattr(data, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(data, f"{name}PaletteColorLookupTableData", (palette[:, channel].astype("<u2") << 8).tobytes())
    planes = read(Location(save_dicom(data, tmp_path / "a.dcm"))).planes()[0]
    np.testing.assert_array_equal(planes, palette[film(np.uint8, 256)])


@pytest.mark.parametrize(
    ("tags", "low", "high", "shape"),
    [
        ({"WindowCenter": 40, "WindowWidth": 400}, -160, 239, "linear"),
        ({"WindowCenter": [40, 90], "WindowWidth": [400, 10]}, -160, 239, "linear"),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "LINEAR_EXACT"}, -160, 240, "linear"),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}, -160, 240, "sigmoid"),
    ],
)
def test_display_windows_follow_the_standard(dicom, save_dicom, tmp_path, tags, low, high, shape):
    data = dicom(film(np.int16), **tags)
    window = read(Location(save_dicom(data, tmp_path / "a.dcm"))).window
    assert (window.low, window.high, window.shape) == (low, high, shape)
    values = np.arange(-500, 600, 7, dtype=np.int16)
    # pydicom's own implementation is the oracle; it wants stored values and gives their output range.
    shown = pydicom.pixels.apply_voi_lut(values, data).astype(float)
    shown = (shown - -32768) / 65535
    np.testing.assert_allclose(window.apply(values), shown, atol=2e-3)


def test_a_display_table_is_followed(dicom, save_dicom, tmp_path):
    table = pydicom.Dataset()
    table.LUTDescriptor = [16, 100, 8]
    table.add_new("LUTData", "OW", (np.arange(16) ** 2).astype("<u2").tobytes())
    window = read(Location(save_dicom(dicom(film(), VOILUTSequence=[table]), tmp_path / "a.dcm"))).window
    np.testing.assert_allclose(window.apply(np.array([0, 100, 110, 115, 900])), np.array([0, 0, 100, 225, 225]) / 255)
    turned = window.inverted(4095)
    np.testing.assert_allclose(turned.apply(np.array([4095 - 110])), [1 - 100 / 255], atol=1e-6)


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 5},
        {"WindowCenter": 5, "WindowWidth": 0},
        {"WindowWidth": 9},
        {"WindowCenter": "1e999", "WindowWidth": 9},
    ],
)
def test_an_unusable_window_is_none(dicom, save_dicom, tmp_path, tags):
    assert read(Location(save_dicom(dicom(film(), **tags), tmp_path / "a.dcm"))).window is None


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_rle_decodes_without_extras(dicom, save_dicom, tmp_path):
    data = dicom(film())
    data.compress(RLELossless)
    np.testing.assert_array_equal(read(Location(save_dicom(data, tmp_path / "rle.dcm"))).planes()[0], film())


@pytest.mark.parametrize(
    ("name", "uid"),
    [
        ("JPEG2000Lossless", JPEG2000Lossless),
        ("JPEGLSLossless", JPEGLSLossless),
        ("JPEGLosslessProcess14_1", JPEGLosslessSV1),
    ],
)
def test_lossless_compressions_decode_to_the_same(dicom, save_dicom, tmp_path, name, uid):
    gdcm = pytest.importorskip("gdcm")
    pixels = np.random.default_rng(2).integers(0, 4096, (32, 40)).astype(np.uint16)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(save_dicom(dicom(pixels), tmp_path / "plain.dcm")))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "a.dcm"))
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "a.dcm").file_meta.TransferSyntaxUID == uid
    np.testing.assert_array_equal(read(Location(tmp_path / "a.dcm")).planes()[0], pixels)


def baseline(dicom, pixels):
    data = dicom(pixels, PhotometricInterpretation="YBR_FULL_422" if pixels.ndim == 3 else "MONOCHROME2")
    data.PixelData = encapsulate([jpeg(pixels)])
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return data


def test_baseline_jpeg_colour(dicom, save_dicom, tmp_path):
    ramp = np.stack([*np.meshgrid(np.arange(32) * 4, np.arange(32) * 7), np.full((32, 32), 90)], axis=-1)
    ramp = ramp.astype(np.uint8)
    planes = read(Location(save_dicom(baseline(dicom, ramp), tmp_path / "a.dcm"))).planes()
    np.testing.assert_allclose(planes[0].astype(int), ramp, atol=12)


def test_a_missing_decoder_is_named_with_its_extra(dicom, save_dicom, tmp_path, monkeypatch):
    from pydicom.pixels.decoders import JPEGBaseline8BitDecoder

    path = save_dicom(baseline(dicom, film(np.uint8, 256)), tmp_path / "a.dcm")
    monkeypatch.setattr(JPEGBaseline8BitDecoder, "_available", {})
    with pytest.raises(DataError, match=r"JPEG Baseline.*pip install 'radapt\[dicom\]'"):
        read(Location(path))


def test_what_is_not_an_image_is_named(dicom, save_dicom, tmp_path):
    data = dicom(film())
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    del data.PixelData, data.Rows, data.Columns
    with pytest.raises(DataError, match="not an image but Basic Text SR Storage"):
        read(Location(save_dicom(data, tmp_path / "a.dcm")))


@pytest.mark.parametrize("missing", ["PixelData", "Rows", "BitsAllocated", "PixelRepresentation"])
def test_what_is_missing_is_said(dicom, save_dicom, tmp_path, missing):
    data = dicom(film())
    delattr(data, missing)
    with pytest.raises(DataError, match=r"a\.dcm"):
        read(Location(save_dicom(data, tmp_path / "a.dcm")))


def test_files_without_ending_and_without_preamble(dicom, save_dicom, tmp_path):
    path = save_dicom(dicom(film()), tmp_path / "IM0001")
    np.testing.assert_array_equal(read(Location(path)).planes()[0], film())
    bare = tmp_path / "old.dcm"
    data = dicom(film())
    data.preamble, meta = None, data.file_meta
    del data.file_meta
    data.save_as(bare, implicit_vr=True, little_endian=True)
    assert meta is not None
    np.testing.assert_array_equal(read(Location(bare)).planes()[0], film())


def test_a_named_part_of_a_single_file_is_refused(dicom, save_dicom, tmp_path):
    path = save_dicom(dicom(film()), tmp_path / "a.dcm")
    with pytest.raises(DataError, match="no named parts"):
        read(Location(path, "frames", 0))


def test_a_damaged_jpeg_2000_is_an_error_not_the_end_of_the_process(dicom, save_dicom, tmp_path):
    image = Image.fromarray(np.add.outer(np.arange(32), np.arange(40)).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG2000", no_jp2=True)

    def stored(code: bytes) -> Location:
        data = dicom(np.asarray(image))
        data.PixelData = encapsulate([code])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = JPEG2000Lossless
        return Location(save_dicom(data, tmp_path / "a.dcm"))

    np.testing.assert_array_equal(read(stored(buffer.getvalue())).planes()[0], np.asarray(image))
    rng, refused = np.random.default_rng(0), 0
    for _ in range(30):
        code = bytearray(buffer.getvalue())
        for place in rng.integers(0, len(code), 3):
            code[place] = rng.integers(256)
        try:
            assert read(stored(bytes(code))).planes()[0].shape == (32, 40)
        except DataError as error:
            refused += "a.dcm" in str(error)
    assert refused >= 10  # 22 with one decoder; some damage only changes pixels
