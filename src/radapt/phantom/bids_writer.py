"""Writing the phantom's patients as a BIDS folder of NIfTI files.

Names follow the Brain Imaging Data Structure 1.10: `sub-A0001[/ses-1]/anat/sub-A0001[_ses-1][_ce-gad]_T1w.nii.gz`
with a sidecar for every image, `participants.tsv`, and tumour label maps under `derivatives/masks`.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from radapt.durable import atomic_path
from radapt.errors import UsageError
from radapt.phantom.acquire import AcquiredImages, acquire
from radapt.phantom.patients import POPULATION_A, POPULATION_B, Examination, Patient, Population, draw_patient
from radapt.phantom.scanners import Scanner
from radapt.phantom.tumours import MASK_LABELS

VERSION = 3
"""Raised when the same parameters give other patients."""

_COLUMNS = {
    "age": "age in years (invented)",
    "sex": "F or M (invented)",
    "hospital": "A (1.5 T, internal) or B (3 T, external)",
    "scanner": "name of the simulated scanner",
    "subtype": "subtype of the tumour; n/a where the phantom withholds the label",
}
_README = """SYNTHETIC brain MRI: no person was ever examined.

Every image was computed by radapt's phantom from typical relaxation times and the signal equations of the pulse
sequences. Tumours are drawings with the signs of three glioma subtypes. Use it to try software, never to draw
conclusions about patients. Label maps of the tumours are under derivatives/masks: {labels}.
"""


@dataclass(frozen=True)
class _Visit:
    patient: Patient
    study: Examination
    scanner: Scanner

    def stem(self, separator: str) -> str:
        """`sub-A0001`, with the session if there are several, joined by `separator`."""
        session = "" if self.study.session is None else f"{separator}ses-{self.study.session}"
        return f"sub-{self.patient.key}{session}"


def write_bids(
    out: Path,
    *,
    patients: int = 90,
    external: int | None = None,
    seed: int = 0,
    coarser: float = 1.0,
    workers: int = 1,
    advance: Callable[[int], object] | None = None,
) -> Path:
    """Write a synthetic cohort of brain tumours to the folder `out` and return it.

    `patients` come from hospital A (1.5 T), `external` from hospital B (3 T; default a third as many). Patient k of a
    hospital with a `seed` is the same whatever the numbers of patients and workers. `coarser` enlarges voxels by this
    factor in each direction, for quick tests. `advance(1)` is called after every patient.

    The folder appears complete or not at all. If it already holds the phantom of the same parameters, nothing is done;
    other content raises UsageError.
    """
    external = patients // 3 if external is None else external
    if patients < 1 or external < 0 or not 1.0 <= coarser <= 8.0 or seed < 0:
        raise UsageError(
            f"Got patients={patients}, external={external}, coarser={coarser}, seed={seed} for the phantom; expected "
            "at least 1 patient, 0 or more external ones, coarser between 1 and 8, and a seed of 0 or more."
        )
    requested: dict[str, object] = {
        "version": VERSION,
        "patients": patients,
        "external": external,
        "seed": seed,
        "coarser": float(coarser),
    }
    if _is_there(out, requested):
        return out
    wanted = [(POPULATION_A, index) for index in range(patients)]
    wanted += [(POPULATION_B, index) for index in range(external)]
    with atomic_path(out, folder=True) as part, ThreadPoolExecutor(max(workers, 1)) as pool:

        def write(want: tuple[Population, int]) -> Patient:
            patient = draw_patient(*want, seed)
            for study in patient.studies:
                visit = _Visit(patient, study, want[0].scanner)
                _write_visit(part, visit, acquire(patient, study, visit.scanner, coarser))
            return patient

        drawn = []
        for patient in pool.map(write, wanted):
            drawn.append(patient)
            if advance is not None:
                advance(1)
        _write_tables(part, drawn, requested)
    return out


def _is_there(out: Path, requested: dict[str, object]) -> bool:
    if not out.exists() or (out.is_dir() and next(out.iterdir(), None) is None):
        return False
    try:
        description = json.loads((out / "dataset_description.json").read_text(encoding="utf-8"))
        existing = description["GeneratedBy"][0]["Parameters"]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        raise UsageError(
            f"{out} is not empty and holds no phantom; nothing was written. Name a new or empty folder."
        ) from None
    if existing != requested:
        raise UsageError(
            f"{out} holds a phantom with the options {_words(existing)}, not {_words(requested)}; nothing was written. "
            "Name another folder, or delete that one."
        )
    return True


def _words(parameters: object) -> str:
    if not isinstance(parameters, dict):
        return repr(parameters)
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def _write_visit(root: Path, visit: _Visit, acquired: AcquiredImages) -> None:
    folder = root / visit.stem("/") / "anat"
    folder.mkdir(parents=True)
    for name, array in acquired.images.items():
        _write_nifti(folder / f"{visit.stem('_')}_{name}.nii.gz", array, acquired.affine)
        _write_json(folder / f"{visit.stem('_')}_{name}.json", _sidecar(visit, name))
    folder = root / "derivatives" / "masks" / visit.stem("/") / "anat"
    folder.mkdir(parents=True)
    _write_nifti(folder / f"{visit.stem('_')}_desc-tumour_dseg.nii.gz", acquired.labels, acquired.affine)


def _sidecar(visit: _Visit, name: str) -> dict[str, object]:
    scanner = visit.scanner
    contrast = {"ContrastBolusIngredient": "GADOLINIUM"} if name.startswith("ce") else {}
    return {
        "Manufacturer": "phantom",
        "ManufacturersModelName": scanner.name,
        "InstitutionName": f"hospital {scanner.hospital} (synthetic)",
        "MagneticFieldStrength": scanner.field_t,
        **scanner.protocol[name].sidecar(),
        **contrast,
        "Synthetic": True,
    }


def _write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = nib.Nifti1Image(np.asfortranarray(array), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))  # same patient, same bytes


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_tables(root: Path, drawn: list[Patient], requested: dict[str, object]) -> None:
    made_by = [{"Name": "radapt.phantom", "Parameters": requested}]
    kind = {"Name": "SYNTHETIC brain tumours (radapt phantom)", "BIDSVersion": "1.10.0", "License": "CC0"}
    _write_json(root / "dataset_description.json", {**kind, "DatasetType": "raw", "GeneratedBy": made_by})
    masks = {**kind, "Name": "SYNTHETIC tumour label maps", "DatasetType": "derivative", "GeneratedBy": made_by}
    _write_json(root / "derivatives" / "masks" / "dataset_description.json", masks)
    names = "".join(f"{index}\t{name}\n" for index, name in MASK_LABELS.items())
    (root / "derivatives" / "masks" / "dseg.tsv").write_text("index\tname\n" + names, encoding="utf-8")
    labels = ", ".join(f"{index} {name}" for index, name in MASK_LABELS.items())
    (root / "README").write_text(_README.format(labels=labels), encoding="utf-8")
    _write_json(root / "participants.json", {name: {"Description": text} for name, text in _COLUMNS.items()})
    (root / "participants.tsv").write_text("\n".join(_participants(drawn)) + "\n", encoding="utf-8")


def _participants(drawn: list[Patient]) -> Iterator[str]:
    scanners = {population.scanner.hospital: population.scanner.name for population in (POPULATION_A, POPULATION_B)}
    yield "\t".join(("participant_id", *_COLUMNS))
    for patient in drawn:
        subtype = patient.subtype if patient.labelled else "n/a"
        scanner = scanners[patient.hospital]
        yield f"sub-{patient.key}\t{patient.age}\t{patient.sex}\t{patient.hospital}\t{scanner}\t{subtype}"
