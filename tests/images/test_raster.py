"""Pictures: what a viewer shows is what comes out."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from radapt.errors import DataError
from radapt.images import read
from radapt.locations import Location


def grey(dtype=np.uint8, rows=6, columns=8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (rows, columns)).astype(dtype)


def colour(rows=6, columns=8, channels=3):
    return np.random.default_rng(1).integers(0, 255, (rows, columns, channels), dtype=np.uint8)


def shown(path):
    volume = read(Location(path))
    assert volume.flat_axis == "axial" or len(volume.planes()) > 1
    assert volume.plane_spacing_mm() == (1, 1)
    return volume.planes()


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "TIFF"])
@pytest.mark.parametrize("pixels", [grey(), colour()], ids=["grey", "colour"])
def test_8_bit_pictures_come_out_as_stored(tmp_path, ending, pixels):
    Image.fromarray(pixels).save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(shown(tmp_path / f"a.{ending}")[0], pixels)


def test_16_bits_are_kept(tmp_path):
    Image.fromarray(grey(np.uint16)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", grey(np.uint16))
    tifffile.imwrite(tmp_path / "big.tif", grey(np.uint16), byteorder=">", bigtiff=True)
    tifffile.imwrite(tmp_path / "rgb.tif", colour().astype(np.uint16) * 257, photometric="rgb")
    for name in ("a.png", "a.tif", "big.tif"):
        np.testing.assert_array_equal(shown(tmp_path / name)[0], grey(np.uint16))
    np.testing.assert_array_equal(shown(tmp_path / "rgb.tif")[0], colour().astype(np.uint16) * 257)


def test_16_bit_colour_png_keeps_its_upper_8_bits(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 65536, (6, 8, 3)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    np.testing.assert_array_equal(shown(tmp_path / "a.png")[0], pixels >> 8)


def test_jpeg_is_near_enough(tmp_path):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(shown(tmp_path / "a.jpg")[0].astype(int), smooth, atol=6)


def test_one_bit_palette_and_cmyk(tmp_path):
    bits = grey() > 100
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(shown(tmp_path / "bits.png")[0], bits * 255)
    tifffile.imwrite(tmp_path / "bits.tif", np.packbits(np.tile(bits, (1, 1)), axis=1), photometric="minisblack")
    Image.fromarray(bits).save(tmp_path / "bits2.tif")
    np.testing.assert_array_equal(shown(tmp_path / "bits2.tif")[0], bits * 255)
    palette = Image.fromarray(colour()).quantize(16)
    for ending in ("png", "tif"):
        palette.save(tmp_path / f"p.{ending}")
        np.testing.assert_array_equal(shown(tmp_path / f"p.{ending}")[0], np.asarray(palette.convert("RGB")))
    Image.fromarray(colour()).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    assert shown(tmp_path / "cmyk.jpg").shape == (1, 6, 8, 3)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_transparent_pixels_are_black(tmp_path, ending):
    pixels = colour(channels=4)
    pixels[:3, :, 3], pixels[3:, :, 3] = 0, 255
    Image.fromarray(pixels).save(tmp_path / f"a.{ending}")
    planes = shown(tmp_path / f"a.{ending}")[0]
    assert not planes[:3].any()
    np.testing.assert_array_equal(planes[3:], pixels[3:, :, :3])


def test_grey_with_alpha_and_grey_saved_as_colour_are_grey(tmp_path):
    Image.fromarray(np.dstack([grey(), np.full_like(grey(), 255)])).save(tmp_path / "la.png")
    Image.fromarray(np.dstack([grey()] * 3)).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([grey()] * 3 + [np.full_like(grey(), 255)])).save(tmp_path / "rgba.png")
    for name in ("la", "rgb", "rgba"):
        np.testing.assert_array_equal(shown(tmp_path / f"{name}.png")[0], grey())


def test_half_transparent_grey_in_a_tiff_is_half_as_bright(tmp_path):
    alpha = np.array([[0, 255, 128, 128]], np.uint8).repeat(6, axis=0)
    pixels = np.dstack([np.full((6, 4), 201, np.uint8), alpha])
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extrasamples=["unassalpha"])
    assert shown(tmp_path / "a.tif").shape == (1, 6, 4)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif")[0, 0], [0, 201, 101, 101])  # 201 × 128 / 255 = 100.9


@pytest.mark.parametrize("channel", range(3))
def test_colour_with_two_equal_channels_stays_colour(tmp_path, channel):
    pixels = np.dstack([grey()] * 3)
    pixels[..., channel] //= 2
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(shown(tmp_path / "a.png")[0], pixels)


@pytest.mark.parametrize("tag", range(1, 9))
def test_orientation_tags_are_applied(tmp_path, tag):
    from PIL import ImageOps

    image = Image.fromarray(grey(rows=16, columns=24))
    exif = Image.Exif()
    exif[0x0112] = tag
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as saved:
        expected = np.asarray(ImageOps.exif_transpose(saved))
    np.testing.assert_array_equal(shown(tmp_path / "a.png")[0], expected)
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(image), extratags=[(274, "H", 1, tag, False)])
    np.testing.assert_array_equal(shown(tmp_path / "a.tif")[0], expected)


def test_pages_are_a_stack(tmp_path):
    stack = np.random.default_rng(0).integers(0, 60000, (5, 6, 8)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), stack)
    tifffile.imwrite(tmp_path / "f.tif", stack.astype(np.float32) / 7)
    np.testing.assert_array_equal(shown(tmp_path / "f.tif"), stack.astype(np.float32) / 7)


def test_pages_of_several_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(grey())
        file.write(grey(rows=4))
    with pytest.raises(DataError, match="2 pages of different sizes"):
        read(Location(tmp_path / "a.tif"))


def test_inverted_and_planar_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "w.tif", grey(), photometric="miniswhite")
    np.testing.assert_array_equal(shown(tmp_path / "w.tif")[0], 255 - grey())
    tifffile.imwrite(tmp_path / "p.tif", colour().transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(shown(tmp_path / "p.tif")[0], colour())


def test_lzw_is_read_with_and_without_imagecodecs(tmp_path, monkeypatch):
    from radapt.images import tiff

    stack = [Image.fromarray(grey()), Image.fromarray(255 - grey())]
    stack[0].save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=stack[1:])
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), [grey(), 255 - grey()])
    monkeypatch.setattr(tiff, "_tifffile_planes", lambda path: None)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), [grey(), 255 - grey()])
    tifffile.imwrite(tmp_path / "rgb.tif", colour().astype(np.uint16) * 257, photometric="rgb")
    with pytest.raises(DataError, match=r"rgb\.tif.*radapt\[tiff\]"):
        read(Location(tmp_path / "rgb.tif"))


def test_formats_that_run_other_programs_are_not_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    with pytest.raises(DataError, match=r"a\.png"):
        read(Location(tmp_path / "a.png"))


def test_a_picture_without_its_last_bytes_is_noticed(tmp_path):
    for name in ("a.png", "a.jpg"):
        Image.fromarray(grey()).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-2])
        with pytest.raises(DataError, match="truncated"):
            read(Location(tmp_path / name))
        (tmp_path / name).write_bytes(content + b"\0" * 64)  # trailing bytes do no harm
        read(Location(tmp_path / name))


def test_a_picture_of_a_format_that_is_not_read_is_named(tmp_path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "x.png", format="GIF")
    with pytest.raises(DataError, match="holds a GIF, which radapt does not read"):
        read(Location(tmp_path / "x.png"))
