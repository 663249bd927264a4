"""Lossless JPEG of every kind, and JPEG of 12 bits."""

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from radapt.errors import DataError
from radapt.images import read
from radapt.locations import Location

GREY = {8: np.uint8, 12: np.uint16, 16: np.uint16}


def compressed(dicom, pixels, streams, syntax, **facts):
    data = dicom(pixels, **facts)
    data.PixelData = encapsulate(streams)
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = syntax
    return data


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", GREY)
def test_every_predictor_and_depth_decodes_to_the_same(dicom, save_dicom, tmp_path, predictor, bits):
    pixels = np.random.default_rng(0).integers(0, 2**bits, (21, 34)).astype(GREY[bits])
    stream = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=bits)
    data = compressed(dicom, pixels, [stream], JPEGLosslessSV1 if predictor == 1 else JPEGLossless)
    planes = read(Location(save_dicom(data, tmp_path / "a.dcm"))).planes()
    np.testing.assert_array_equal(planes[0], pixels)


@pytest.mark.parametrize(("space", "coded"), [("RGB", "RGB"), ("YBR_FULL", "YCBCR")])
def test_colour_is_converted_by_the_header_alone(dicom, save_dicom, tmp_path, space, coded):
    pixels = np.random.default_rng(1).integers(0, 256, (16, 18, 3)).astype(np.uint8)
    stream = imagecodecs.jpeg8_encode(pixels, lossless=True, colorspace=coded, outcolorspace=coded)
    data = compressed(dicom, pixels, [stream], JPEGLosslessSV1, PhotometricInterpretation=space)
    planes = read(Location(save_dicom(data, tmp_path / "a.dcm"))).planes()
    np.testing.assert_array_equal(planes[0], convert_color_space(pixels, space, "RGB"))


def test_lossy_grey_of_12_bits_is_read(dicom, save_dicom, tmp_path):
    pixels = np.add.outer(np.arange(32) * 40, np.arange(24) * 100).astype(np.uint16)
    stream = imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=12)
    data = compressed(dicom, pixels, [stream], JPEGExtended12Bit, BitsStored=12, HighBit=11)
    planes = read(Location(save_dicom(data, tmp_path / "a.dcm"))).planes()
    np.testing.assert_allclose(planes[0].astype(int), pixels, atol=16)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("kept", [30, 700])
def test_a_cut_stream_is_refused_by_name(dicom, save_dicom, tmp_path, lossless, kept):
    pixels = np.random.default_rng(2).integers(0, 4096, (32, 40)).astype(np.uint16)
    stream = imagecodecs.jpeg8_encode(pixels, level=98, lossless=lossless, bitspersample=12)
    syntax = JPEGLosslessSV1 if lossless else JPEGExtended12Bit
    data = compressed(dicom, pixels, [stream[:kept]], syntax)
    with pytest.raises(DataError, match=r"a\.dcm"):
        read(Location(save_dicom(data, tmp_path / "a.dcm"))).planes()
