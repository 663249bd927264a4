"""Synthetic DICOM series in any orientation, written by pydicom alone, and segmentations read by pydicom alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT, ENHANCED_MR, NUCLEAR, XRAY = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4.1", "20", "1.1"))


@dataclass
class ToySeries:
    """`pixels` (n, rows, columns) uint8 in the order of `origin` + k × `step`, in DICOM's LPS.

    `spacing` is (between rows, between columns). `form` is `files`, `enhanced` (one file), `parts` (two enhanced files)
    or `stacked` (one file that gives the position of its first frame).
    """

    pixels: np.ndarray
    cosines: np.ndarray = field(default_factory=lambda: np.array([1.0, 0, 0, 0, 1.0, 0]))
    origin: np.ndarray = field(default_factory=lambda: np.array([-10.0, -20.0, 30.0]))
    step: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, 2.5]))
    spacing: tuple[float, float] = (0.5, 0.75)
    form: str = "files"
    tags: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def write(self, folder: Path) -> Path:
        """Write the files, in shuffled order and names; returns `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        order = np.random.default_rng(self.seed).permutation(len(self.pixels))
        series = generate_uid()
        if self.form == "files":
            for number, k in enumerate(order):
                data = self._dataset(self.pixels[k], CT, series)
                data.ImagePositionPatient = self._position(k)
                data.ImageOrientationPatient = [decimal(value) for value in self.cosines]
                data.PixelSpacing, data.SliceThickness = [decimal(v) for v in self.spacing], 2.5
                data.InstanceNumber = number + 1
                self._save(data, folder / f"IM{number:03d}")
        elif self.form == "stacked":
            data = self._dataset(self.pixels, NUCLEAR, series)
            data.ImagePositionPatient = self._position(0)
            data.ImageOrientationPatient = [decimal(value) for value in self.cosines]
            data.PixelSpacing = [decimal(value) for value in self.spacing]
            normal = np.cross(self.cosines[:3], self.cosines[3:])
            data.SpacingBetweenSlices = decimal(self.step @ normal)
            self._save(data, folder / "stack.dcm")
        else:
            parts = [order] if self.form == "enhanced" or len(order) < 2 else np.array_split(order, 2)
            for number, frames in enumerate(parts):
                self._save(self._enhanced(frames, series), folder / f"part{number}.dcm")
        return folder

    def _position(self, k: int) -> list[str]:
        return [decimal(value) for value in self.origin + k * self.step]

    def _enhanced(self, order: np.ndarray, series: str) -> FileDataset:
        data = self._dataset(self.pixels[order], ENHANCED_MR, series)
        shared, measures, orientation = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = [decimal(value) for value in self.spacing], 2.5
        orientation.ImageOrientationPatient = [decimal(value) for value in self.cosines]
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
        data.SharedFunctionalGroupsSequence = [shared]
        data.PerFrameFunctionalGroupsSequence = []
        for k in order:
            frame, position = Dataset(), Dataset()
            position.ImagePositionPatient = self._position(k)
            frame.PlanePositionSequence = [position]
            data.PerFrameFunctionalGroupsSequence.append(frame)
        return data

    def _dataset(self, pixels: np.ndarray, sop_class: str, series: str) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        rows, columns = pixels.shape[-2:]
        facts = {
            "SpecificCharacterSet": "ISO_IR 100",
            "PatientName": "Müller^Jane",
            "PatientID": "SECRET-17",
            "PatientBirthDate": "19700101",
            "PatientSex": "F",
            "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.7",
            "StudyDate": "20200102",
            "StudyTime": "101112",
            "StudyID": "S1",
            "AccessionNumber": "A1",
            "ReferringPhysicianName": "",
            "SeriesInstanceUID": series,
            "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.9",
            "SOPClassUID": sop_class,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "Modality": "CT" if sop_class == CT else "MR",
            "SeriesNumber": 3,
            "Rows": rows,
            "Columns": columns,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 8,
            "BitsStored": 8,
            "HighBit": 7,
            "PixelRepresentation": 0,
        }
        if pixels.ndim == 3:
            facts["NumberOfFrames"] = len(pixels)
        for name, value in {**facts, **self.tags}.items():
            if value is not None:
                setattr(data, name, value)
        data.PixelData = pixels.astype(np.uint8).tobytes() + b"\0" * (pixels.size % 2)
        data["PixelData"].VR = "OB"
        return data

    def _save(self, data: FileDataset, path: Path) -> None:
        data.save_as(path, enforce_file_format=True)


def decimal(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return next(text for digits in range(15, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)


@dataclass(frozen=True)
class SegmentFrame:
    """One frame of a segmentation: `inside` (rows, columns), its corner and axes in LPS mm, and its source frame."""

    segment: int
    inside: np.ndarray
    position: np.ndarray
    row_step: np.ndarray
    column_step: np.ndarray
    source: tuple[str, int | None]

    def points(self) -> np.ndarray:
        """(n, 3) LPS of the centres of the pixels inside."""
        rows, columns = self.inside.nonzero()
        return self.position + rows[:, None] * self.row_step + columns[:, None] * self.column_step


def frames_of_segmentation(path: Path) -> list[SegmentFrame]:
    """The frames of a SEG file from its tags, with values above 0 as inside."""
    data = dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    pixels = data.pixel_array.reshape(data.NumberOfFrames, data.Rows, data.Columns)
    frames = []
    for own, plane in zip(data.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        item = own if "SegmentIdentificationSequence" in own else shared
        image = own.DerivationImageSequence[0].SourceImageSequence[0]
        frames.append(
            SegmentFrame(
                item.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
                plane > 0,
                np.array(own.PlanePositionSequence[0].ImagePositionPatient, float),
                cosines[3:] * spacing[0],
                cosines[:3] * spacing[1],
                (image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")),
            )
        )
    return frames


def source_planes(folder: Path) -> dict[tuple[str, int | None], np.ndarray]:
    """The stored pixels of every frame of the images in `folder`, by UID and frame number."""
    planes: dict[tuple[str, int | None], np.ndarray] = {}
    for path in folder.iterdir():
        data = dcmread(path)
        if int(data.get("NumberOfFrames", 1)) == 1:  # a reference to all frames gives no number
            planes[data.SOPInstanceUID, None] = data.pixel_array.reshape(data.Rows, data.Columns)
            continue
        pixels = data.pixel_array.reshape(data.NumberOfFrames, data.Rows, data.Columns)
        planes |= {(data.SOPInstanceUID, k + 1): plane for k, plane in enumerate(pixels)}
    return planes


def content_items(data: Dataset, meaning: str) -> list[Dataset]:
    """All items of a structured report whose concept has this meaning, anywhere in the tree, in order."""
    found = []
    for item in data.get("ContentSequence", []):
        name = item.get("ConceptNameCodeSequence")
        if name and name[0].CodeMeaning == meaning:
            found.append(item)
        found += content_items(item, meaning)
    return found
