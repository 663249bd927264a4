"""NIfTI, pictures, TIFF and NumPy files, as images and as masks."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image

from fuzz.mutations import Field
from fuzz.target import Target, after, value_fields
from radapt.images import read
from radapt.images.masks import read_labels
from radapt.locations import Location

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (18, 20), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (18, 20, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 4096, (18, 20)).astype(np.uint16)
STACK = RNG.integers(0, 256, (3, 18, 20), dtype=np.uint8)


def volume(name: str, **part: Any) -> Callable[[bytes, Path], Any]:
    def opened(content: bytes, folder: Path) -> Any:
        path = folder / name
        path.write_bytes(content)
        found = read(Location(path, **part), array_cache=folder / "arrays")
        return found.array, found.affine

    return opened


def mask(content: bytes, folder: Path) -> Any:
    path = folder / "m.png"
    path.write_bytes(content)
    return read_labels(Location(path)).array


def niftis() -> list[bytes]:
    whole = RNG.integers(0, 200, (9, 8, 5)).astype(np.int16)
    affine = np.diag([0.9, 0.8, 3, 1])
    scaled = nib.Nifti1Image(whole, affine)
    scaled.header.set_slope_inter(2.5, -7)
    images = [nib.Nifti1Image(whole, affine), scaled, nib.Nifti2Image(whole.astype(np.float32), affine)]
    return [image.to_bytes() for image in images]


def nifti_fields(content: bytes) -> list[Field]:
    if content[:4] == struct.pack("<i", 540):
        return [*value_fields(12, 2, 2), *value_fields(16, 60, 8)]
    return [
        *value_fields(40, 18, 2),
        *value_fields(76, 12, 4),
        Field(123, 1),
        *value_fields(252, 2, 2),
        *value_fields(256, 18, 4),
    ]


def picture(array: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def palette() -> bytes:
    file, image = io.BytesIO(), Image.fromarray(GREY % 4, "P")
    image.putpalette([0, 0, 0, 200, 0, 40, 10, 250, 10, 90, 90, 90])
    image.save(file, "PNG")
    return file.getvalue()


def pngs() -> list[bytes]:
    few = io.BytesIO()
    Image.fromarray(GREY > 100).save(few, "PNG")
    return [picture(GREY, "PNG"), picture(COLOUR, "PNG"), picture(DEEP, "PNG"), palette(), few.getvalue()]


def png_fields(content: bytes) -> list[Field]:
    return [*value_fields(16, 2, 4), *value_fields(24, 5, 1), *after(content, [b"PLTE", b"tRNS"], 8, 1)]


def with_png_checksums(content: bytes) -> bytes:
    out, at = bytearray(content), 8
    while at + 12 <= len(out):
        (length,) = struct.unpack(">I", out[at : at + 4])
        end = at + 8 + length
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def tiffs(**options: Any) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        found = []
        for array in (GREY, STACK, DEEP) if options.get("compression") != "jpeg" else (GREY, COLOUR):
            file = io.BytesIO()
            colour = (
                {"photometric": "rgb"} if array.ndim == 3 and array.shape[-1] == 3 else {"photometric": "minisblack"}
            )
            tifffile.imwrite(file, array, **colour, **options)
            found.append(file.getvalue())
        return found

    return made


def tiff_fields(content: bytes) -> list[Field]:
    fields = [Field(2, 2), Field(4, 4)]
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            for page in file.pages:
                for tag in page.tags:
                    fields += [
                        Field(tag.offset, 2),
                        Field(tag.offset + 2, 2),
                        Field(tag.offset + 4, 4),
                        Field(tag.offset + 8, 4),
                    ]
    except Exception:
        pass
    return fields


def npys() -> list[bytes]:
    found = []
    for array in (GREY, STACK, COLOUR, RNG.random((18, 20)), np.asfortranarray(DEEP)):
        file = io.BytesIO()
        np.save(file, array)
        found.append(file.getvalue())
    return found


def npzs(**arrays: Any) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        found = []
        for save in (np.savez, np.savez_compressed):
            file = io.BytesIO()
            save(file, images=STACK, **arrays)
            found.append(file.getvalue())
        return found

    return made


def matlab() -> list[bytes]:
    """Two variables of MATLAB 7.3, one of them compressed."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=512) as opened:
        opened["cjdata/image"] = DEEP
        opened.create_dataset("cjdata/tumorMask", data=GREY // 128, chunks=(9, 10), compression="gzip")
    content = file.getvalue()
    return [b"MATLAB 7.3 MAT-file".ljust(512) + content[512:]]


def zip_fields(content: bytes) -> list[Field]:
    return [
        *after(content, [b"PK\x03\x04"], 26),
        *after(content, [b"PK\x01\x02"], 42),
        *after(content, [b"PK\x05\x06"], 18),
    ]


def zipped_again(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", content)
    return file.getvalue()


def npy_text(seed: bytes) -> Sequence[Field]:
    return value_fields(6, 4, 1)


def large(kind: str) -> bytes:
    """A larger valid file of each kind, for the costs of damage."""
    side = RNG.integers(0, 40, (2000, 2000), dtype=np.uint8)
    whole = RNG.integers(0, 40, (200, 200, 64)).astype(np.int16)
    nifti = nib.Nifti1Image(whole, np.eye(4)).to_bytes()
    file = io.BytesIO()
    match kind:
        case "nii":
            return nifti
        case "nii.gz":
            return gzip.compress(nifti, 1)
        case "npy":
            np.save(file, whole)
        case "npz":
            np.savez_compressed(file, images=whole.transpose(2, 0, 1))
        case "tif":
            tifffile.imwrite(file, side)
        case "zlib.tif":
            tifffile.imwrite(file, side, compression="zlib")
        case _:
            Image.fromarray(side).save(file, {"jpg": "JPEG"}.get(kind, kind.upper()))
    return file.getvalue()


def metaimages() -> list[bytes]:
    header = (
        b"ObjectType = Image\nNDims = 3\nCompressedData = %s\nTransformMatrix = 0 1 0 -1 0 0 0 0 1\nOffset = 1 2 3\n"
    )
    header += b"ElementSpacing = 0.5 0.6 3\nDimSize = 18 20 3\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    return [header % b"False" + STACK.tobytes(), header % b"True" + zlib.compress(STACK.tobytes())]


def nrrds() -> list[bytes]:
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 18 20 3\nencoding: %s\n"
    header += b"space directions: (0.5,0,0) (0,0.6,0) (0,0,3)\nkinds: domain domain domain\nspace origin: (1,2,3)\n\n"
    return [header % b"raw" + STACK.tobytes(), header % b"gzip" + gzip.compress(STACK.tobytes())]


TARGETS = [
    Target("mha", metaimages, volume("x.mha"), text=True),
    Target("nrrd", nrrds, volume("x.nrrd"), text=True),
    Target("nii", niftis, volume("x.nii"), fields=nifti_fields),
    Target(
        "nii.gz",
        lambda: [gzip.compress(each) for each in niftis()],
        volume("x.nii.gz"),
        checked=True,
        fields=nifti_fields,
        unseal=gzip.decompress,
        reseal=lambda content: gzip.compress(content, 1),
    ),
    Target("png", pngs, volume("x.png"), checked=True, fields=png_fields, unseal=bytes, reseal=with_png_checksums),
    Target("png mask", pngs, mask, checked=True, fields=png_fields, unseal=bytes, reseal=with_png_checksums),
    Target(
        "jpeg",
        lambda: [picture(GREY, "JPEG"), picture(COLOUR, "JPEG"), picture(COLOUR, "JPEG", progressive=True)],
        volume("x.jpg"),
        fields=lambda seed: after(seed, [b"\xff\xc0", b"\xff\xc2", b"\xff\xda", b"\xff\xc4", b"\xff\xdb"], 12, 1),
    ),
    Target(
        "bmp",
        lambda: [picture(GREY, "BMP"), picture(COLOUR, "BMP")],
        volume("x.bmp"),
        fields=lambda seed: [*value_fields(10, 11, 4), *value_fields(26, 2, 2)],
    ),
    *(
        Target(f"tiff {name or 'plain'}", tiffs(compression=name), volume("x.tif"), fields=tiff_fields)
        for name in (None, "zlib", "lzw", "packbits", "jpeg")
    ),
    Target("tiff tiles", tiffs(tile=(16, 16)), volume("x.tif"), fields=tiff_fields),
    Target("npy", npys, volume("x.npy"), text=True, fields=npy_text),
    Target(
        "mat",
        matlab,
        volume("x.mat", array="cjdata/image"),
        fields=lambda seed: after(seed, [b"TREE", b"SNOD", b"HEAP", b"\x89HDF\r\n\x1a\n"], 48, 1),
    ),
    Target(
        "npz",
        npzs(),
        volume("x.npz"),
        checked=True,
        fields=zip_fields,
        unseal=lambda seed: npys()[1],
        reseal=zipped_again,
    ),
    Target(
        "npz entry",
        npzs(more=GREY),
        volume("x.npz", array="images", index=1),
        checked=True,
        fields=zip_fields,
        unseal=lambda seed: npys()[1],
        reseal=zipped_again,
    ),
]
