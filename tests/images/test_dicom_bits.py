"""Values of which the file uses fewer bits than it stores, from every decoder that is installed."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import SimpleITK
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless, RLELossless

from radapt.images import read
from radapt.images.dicom import pixels as dicom_pixels
from radapt.locations import Location

SYNTAXES = (JPEGLSLossless, JPEGLSNearLossless, JPEG2000Lossless, JPEG2000)
DECODERS = [(syntax, name) for syntax in SYNTAXES for name in get_decoder(syntax).available_plugins]
BITS = 12
SHAPE = (12, 10)
WORD = 2**BITS - 1


def truth(signed: bool) -> np.ndarray:
    low = -(2 ** (BITS - 1)) if signed else 0
    values = np.random.default_rng(4).integers(low, low + 2**BITS, SHAPE)
    values[0, :2] = low, low + WORD
    return values


def above(values: np.ndarray, kind: str) -> np.ndarray:
    """The words of `values` with zeros, with the sign, or with an overlay in the bits above."""
    words = values & WORD
    if kind == "sign":
        return (values & 0xFFFF).astype(np.uint16)
    if kind == "overlay":
        words[3:7, 3:7] |= 0x3000
    return words.astype(np.uint16)


def encoded(words: np.ndarray, syntax: str, bits: int) -> bytes:
    if syntax in (JPEGLSLossless, JPEGLSNearLossless):
        return imagecodecs.jpegls_encode(words)
    return imagecodecs.jpeg2k_encode(words, level=0, codecformat="j2k", reversible=True, bitspersample=bits)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("kind", ["zeros", "sign", "overlay"])
@pytest.mark.parametrize(("syntax", "decoder"), DECODERS, ids=[f"{syntax.name}-{name}" for syntax, name in DECODERS])
def test_unused_bits_are_no_part_of_a_value(dicom, save_dicom, tmp_path, monkeypatch, syntax, decoder, kind, signed):
    expected = truth(signed)
    path = compressed(dicom, save_dicom, tmp_path / "a.dcm", encoded(above(expected, kind), syntax, 16), syntax, signed)
    monkeypatch.setattr(dicom_pixels, "_decoder", lambda syntax, plugins: decoder)
    np.testing.assert_array_equal(read(Location(path)).planes()[0], expected)


@pytest.mark.parametrize("decoder", get_decoder(JPEG2000Lossless).available_plugins)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_a_stream_of_the_used_bits_alone(dicom, save_dicom, tmp_path, monkeypatch, decoder, signed):
    expected = truth(signed)
    stream = encoded(above(expected, "zeros"), JPEG2000Lossless, BITS)
    path = compressed(dicom, save_dicom, tmp_path / "a.dcm", stream, JPEG2000Lossless, signed)
    monkeypatch.setattr(dicom_pixels, "_decoder", lambda syntax, plugins: decoder)
    np.testing.assert_array_equal(read(Location(path)).planes()[0], expected)


def compressed(dicom, save_dicom, path: Path, stream: bytes, syntax: str, signed: bool) -> Path:
    data = dicom(truth(signed).astype(np.int16), BitsStored=BITS, HighBit=BITS - 1, PixelRepresentation=int(signed))
    data.PixelData = encapsulate([stream])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.file_meta.TransferSyntaxUID = syntax
    return save_dicom(data, path)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("kind", ["zeros", "sign", "overlay"])
@pytest.mark.parametrize("rle", [False, True], ids=["plain", "rle"])
def test_uncompressed_words_agree_with_simpleitk(dicom, save_dicom, tmp_path, rle, kind, signed):
    expected = truth(signed)
    words = above(expected, kind)
    data = dicom(words, BitsStored=BITS, HighBit=BITS - 1, PixelRepresentation=int(signed))
    if rle:
        data.compress(RLELossless)
    path = save_dicom(data, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read(Location(path)).planes()[0], expected)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0], expected)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_jpeg_ls_agrees_with_simpleitk(dicom, save_dicom, tmp_path, signed):
    stream = encoded(above(truth(signed), "overlay"), JPEGLSLossless, 16)
    path = compressed(dicom, save_dicom, tmp_path / "a.dcm", stream, JPEGLSLossless, signed)
    oracle = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0]
    np.testing.assert_array_equal(read(Location(path)).planes()[0], oracle)
    np.testing.assert_array_equal(oracle, truth(signed))
