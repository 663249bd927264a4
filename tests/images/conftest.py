"""Synthetic DICOM files and NIfTI images, small enough to draw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def dicom_dataset(pixels: np.ndarray, **tags: Any) -> FileDataset:
    """One DICOM object around (rows, columns), (frames, rows, columns) or (rows, columns, 3) pixels.

    A tag given as None is left out. Its patient has a name, an id and a birth date, which must never come out.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    rows, columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    facts: dict[str, Any] = {
        "PatientName": "Doe^Jane",
        "PatientID": "SECRET-17",
        "PatientBirthDate": "19700101",
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": "1.2.3",
        "Modality": "CT",
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8,
        "HighBit": pixels.dtype.itemsize * 8 - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if colour:
        facts["PlanarConfiguration"] = 0
    if pixels.ndim == 3 and not colour:
        facts["NumberOfFrames"] = len(pixels)
    for name, value in {**facts, **tags}.items():
        if value is not None:
            setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    return data


def save(data: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def dicom() -> Callable[..., FileDataset]:
    return dicom_dataset


@pytest.fixture
def save_dicom() -> Callable[[Dataset, Path], Path]:
    return save


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., Path]:
    """Write (n, rows, columns) pixels as a folder of slices in shuffled names; `change(k, dataset)` edits slice k.

    A dataset for which `change` returns False is not written.
    """

    def write(
        pixels: np.ndarray,
        *,
        orientation: tuple[float, ...] = AXIAL,
        origin: tuple[float, float, float] = (-10.0, -20.0, 30.0),
        step: tuple[float, float, float] = (0.0, 0.0, 2.5),
        spacing: tuple[float, float] = (0.5, 0.75),
        change: Callable[[int, FileDataset], Any] = lambda k, data: None,
        folder: str = "series",
        **tags: Any,
    ) -> Path:
        names = np.random.default_rng(3).permutation(len(pixels))
        for k, plane in enumerate(pixels):
            data = dicom_dataset(
                plane,
                ImagePositionPatient=[float(start + k * s) for start, s in zip(origin, step, strict=True)],
                ImageOrientationPatient=list(orientation),
                PixelSpacing=list(spacing),
                SliceThickness=2.5,
                InstanceNumber=int(names[-1 - k]),
                **tags,
            )
            if change(k, data) is not False:
                save(data, tmp_path / folder / f"IM{names[k]:04d}.dcm")
        return tmp_path / folder

    return write
