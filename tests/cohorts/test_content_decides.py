"""What a file holds decides what is read: values of masks, units and headers, names in another Unicode form."""

import json
import struct
import unicodedata
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile

from layout_builders import touch
from radapt.cohorts import load_cohort, scan
from radapt.errors import DataError
from radapt.images import read
from radapt.images.masks import read_labels
from radapt.locations import Location


def grey_png(labels: np.ndarray, bits: int) -> bytes:
    """A PNG of `bits` per pixel, which Pillow does not write for grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b""
    for row in labels:
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        rows += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    header = struct.pack(">IIBBBBB", labels.shape[1], labels.shape[0], bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_label_map_of_few_bits_keeps_its_numbers(bits: int, tmp_path: Path) -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[2:4] = 1
    labels[5:6] = 2**bits - 1
    path = tmp_path / "m.png"
    path.write_bytes(grey_png(labels, bits))
    assert sorted(np.unique(read_labels(Location(path)).array)) == sorted({0, 1, 2**bits - 1})


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1.0), ("meter", 1e-3), ("micron", 1e3)])
def test_spacing_is_in_mm_whatever_the_unit(unit: str, scale: float, tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.diag([scale, scale, 3 * scale, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii.gz")
    assert read(Location(tmp_path / "a.nii.gz")).spacing_mm == pytest.approx((1, 1, 3), rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "pixdim", "fields"),
    [
        ((4, 5, 6), (0, 1, 1, 2), {}),
        ((4, 5, 6), (1, -1, 1, 2), {}),
        ((4, 5, 1), (1, 0.5, 0.5, 0), {}),
        ((4, 5, 6), (1, 1, 1, 2), {"scl_slope": 1, "scl_inter": np.nan}),
    ],
)
def test_headers_that_others_repair_are_read(shape: tuple, pixdim: tuple, fields: dict, tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"], header["qform_code"] = b"n+1", 352, 1
    header["pixdim"][:4] = pixdim
    for key, value in fields.items():
        header[key] = value
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.int16)
    (tmp_path / "a.nii").write_bytes(header.binaryblock + b"\0" * 4 + array.tobytes(order="F"))
    assert np.array_equal(read(Location(tmp_path / "a.nii")).array, array)


def test_names_in_another_unicode_form_are_found(tmp_path: Path) -> None:
    folder = unicodedata.normalize("NFD", "Köln")
    touch(*(tmp_path / folder / unicodedata.normalize("NFD", f"Größe_{at}.png") for at in range(4)))
    rows = "".join(f"c{at},Köln/Größe_{at}.png,{'ab'[at % 2]}\n" for at in range(4))
    (tmp_path / "cases.csv").write_text("case,image,label\n" + rows, encoding="utf-8")
    (tmp_path / "cohort.yaml").write_text("name: c\nkind: xray\ncases: cases.csv\n")
    assert all(case.images["image"].path.exists() for case in load_cohort(tmp_path / "cohort.yaml"))


def test_files_of_other_endings_are_counted(tmp_path: Path) -> None:
    for label in ("a", "b"):
        touch(*(tmp_path / label / f"{label}{at}.{end}" for at, end in enumerate(("png", "webp", "gif", "jfif"))))
    draft = scan(tmp_path)
    assert len(draft.table) == 4
    assert any("4 files left out" in note and "2 .webp" in note and "2 .gif" in note for note in draft.notes)
    assert "2 .webp" in draft.source["left out"]


def test_pictures_of_an_unknown_ending_are_counted(tmp_path: Path) -> None:
    for label in ("a", "b"):
        touch(*(tmp_path / label / f"{at}.png" for at in range(4)))
        (tmp_path / label / "9.img").write_bytes(b"\xff\xd8\xff\xe0 jpeg")
        (tmp_path / label / "IM0001").write_bytes(b"\x89PNG\r\n\x1a\n")
        (tmp_path / label / "notes").write_bytes(b"plain text")
    draft = scan(tmp_path)
    assert len(draft.table) == 8
    note = "4 pictures of an ending that scan does not know left out: 2 .img, 2 without ending"
    assert any(note in found for found in draft.notes)
    assert note in draft.source["left out"]


def test_a_tiff_named_jpg_is_read_as_tiff(tmp_path: Path) -> None:
    array = np.arange(16 * 20, dtype=np.uint16).reshape(16, 20) * 100
    tifffile.imwrite(tmp_path / "a.jpg", array)
    assert np.array_equal(read(Location(tmp_path / "a.jpg")).planes("axial")[0], array)


def test_masks_of_one_structure_in_every_case(tmp_path: Path) -> None:
    for at in range(1, 7):
        sub = f"sub-{at:02d}"
        touch(tmp_path / sub / "anat" / f"{sub}_T1w.nii.gz")
        for label in ("edema", "tumor") if at % 2 else ("tumor",):
            touch(tmp_path / "derivatives" / "seg" / sub / "anat" / f"{sub}_label-{label}_mask.nii.gz")
    draft = scan(tmp_path)
    assert all("label-tumor" in text for text in draft.table["mask"])
    assert draft.mask_labels == {1: "tumor"}
    assert any("label-edema" in note and "3 cases" in note for note in draft.notes)


def test_masks_under_another_ending_are_taken_and_absent_ones_counted(tmp_path: Path) -> None:
    touch(*(tmp_path / "imagesTr" / f"c{at}_0000.nii.gz" for at in range(4)))
    touch(*(tmp_path / "labelsTr" / f"c{at}.nii" for at in (0, 1, 2, 9)))
    labels = {"background": 0, "liver": 1, "ignore": 2}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    draft = scan(tmp_path)
    assert (draft.table["mask"] != "").sum() == 3
    assert draft.mask_labels == {1: "liver"}
    notes = " ".join(draft.notes)
    assert "1 case without a mask" in notes
    assert "1 mask in labelsTr/ left out" in notes
    assert "The label 2 is 'ignore'" in notes


@pytest.mark.parametrize("name", ["ä" * 200 + ".png", "ä" * 200 + "/x.png", "㤹" * 3000, "㤹" * 3000 + "/x.png"])
def test_a_name_longer_than_any_file_has_is_a_missing_image(tmp_path: Path, name: str) -> None:
    (tmp_path / "cases.csv").write_text(f"case,image\na,{name}\n", encoding="utf-8")
    (tmp_path / "cohort.yaml").write_text("name: toy\nkind: other\ncases: cases.csv\n")
    with pytest.raises(DataError, match=r"does not exist\.|No file has such a name"):
        load_cohort(tmp_path / "cohort.yaml")
