"""Values of which the file uses fewer bits than it stores, from every decoder that is installed."""

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from radapt.errors import DataError
from radapt.images import read
from radapt.images.dicom import pixels as dicom_pixels
from radapt.images.dicom.streams import stream_header
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


STREAMS = {
    "jpeg 2000": (JPEG2000Lossless, lambda pixels: encoded(pixels, JPEG2000Lossless, 16)),
    "jpeg-ls": (JPEGLSLossless, lambda pixels: encoded(pixels, JPEGLSLossless, 16)),
    "lossless jpeg": (JPEGLosslessSV1, lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=16)),
    "jpeg": (JPEGBaseline8Bit, lambda pixels: imagecodecs.jpeg8_encode(pixels.astype(np.uint8))),
}


@pytest.mark.parametrize(("syntax", "encode"), STREAMS.values(), ids=STREAMS)
def test_a_stream_of_another_size_than_the_header_gives_is_refused(dicom, save_dicom, tmp_path, syntax, encode):
    """Decoders allocate what the stream claims."""
    pixels = above(truth(False), "zeros")
    assert stream_header(encode(pixels))[:2] == SHAPE
    path = compressed(dicom, save_dicom, tmp_path / "a.dcm", encode(np.pad(pixels, ((0, 4), (0, 0)))), syntax, False)
    with pytest.raises(DataError, match=r"a\.dcm is damaged: its frame 1 is compressed as 16 × 10 pixels.* 12 × 10"):
        read(Location(path))


@pytest.mark.parametrize("bits", [17, 32])
def test_more_bits_than_the_header_allocates_are_refused(dicom, save_dicom, tmp_path, bits):
    """GDCM ends the process at such a stream."""
    stream = bytearray(imagecodecs.ljpeg_encode(above(truth(False), "zeros"), bitspersample=16))
    stream[stream.index(b"\xff\xc3") + 4] = bits
    path = compressed(dicom, save_dicom, tmp_path / "a.dcm", bytes(stream), JPEGLosslessSV1, False)
    with pytest.raises(DataError, match=rf"of 1 × {bits} bits, the header gives 12 × 10 pixels of 1 × 16 bits"):
        read(Location(path))


@pytest.mark.parametrize("stream", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\x00\x02", b"\xff\x4f\xff\x51\x00", b"GIF89a"])
def test_a_stream_without_a_size(stream):
    assert stream_header(stream) is None


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_that_names_no_transfer_syntax_is_read_in_its_own(dicom, tmp_path, implicit):
    words = np.arange(30, dtype=np.uint16).reshape(5, 6) + 1000
    data = dicom(words)
    del data.file_meta.TransferSyntaxUID
    data.save_as(tmp_path / "a.dcm", implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert "TransferSyntaxUID" not in pydicom.dcmread(tmp_path / "a.dcm", force=True).file_meta
    np.testing.assert_array_equal(read(Location(tmp_path / "a.dcm")).planes("axial")[0], words)


def test_the_decoder_is_the_preferred_one_if_it_is_installed():
    decoder = dicom_pixels._decoder
    assert decoder(JPEGBaseline8Bit, ("gdcm", "pillow")) == "pillow"
    assert decoder(JPEGBaseline8Bit, ("gdcm",)) == "", "pydicom chooses"
    assert decoder(RLELossless, ("gdcm", "pydicom")) == ""
