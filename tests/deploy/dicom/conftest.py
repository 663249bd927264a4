"""A small series with its mask, and the algorithm that made it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from radapt.deploy.dicom.algorithm import Algorithm
from radapt.deploy.dicom.source import DicomSource, read_source
from radapt.images import Volume, read
from radapt.locations import Location
from toy_dicom import XRAY, ToySeries


@dataclass(frozen=True)
class ToyPatient:
    folder: Path
    source: DicomSource
    mask: Volume


@pytest.fixture
def algorithm() -> Algorithm:
    return Algorithm("toy-model", "0123456789abcdef" * 2, datetime(2026, 1, 2, 3, 4, 5))


@pytest.fixture
def patient(tmp_path: Path) -> ToyPatient:
    """Four slices of 6 × 8; label 1 in slices 1 and 2, label 2 in slice 2."""
    pixels = np.zeros((4, 6, 8), np.uint8)
    pixels[1:3, 1:3, 2:6] = 1
    pixels[2, 4, 1:4] = 2
    return toy_patient(ToySeries(pixels), tmp_path / "patient")


def toy_film(folder: Path, **tags: object) -> ToyPatient:
    """A radiograph of 6 × 8 pixels, without position, with label 1 on 2 × 4 of them."""
    film = np.zeros((1, 6, 8), np.uint8)
    film[0, 2:4, 3:7] = 1
    facts = {"SOPClassUID": XRAY, "FrameOfReferenceUID": None, "Modality": "DX"}
    path = next(ToySeries(film, tags=facts).write(folder).iterdir())
    data = dcmread(path)
    del data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing, data.SliceThickness
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    image = read(Location(path))
    return ToyPatient(folder, read_source(Location(path)), Volume((image.array > 0).astype(np.uint8), image.affine))


def toy_patient(series: ToySeries, folder: Path) -> ToyPatient:
    where = Location(series.write(folder))
    image = read(where)
    return ToyPatient(folder, read_source(where), Volume(image.array, image.affine))
