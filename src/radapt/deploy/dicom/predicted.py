"""DICOM results of a batch: what a model predicted, in the words of a report."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.deploy.dicom.algorithm import Algorithm
from radapt.deploy.dicom.cases import is_dicom, write_case
from radapt.deploy.dicom.results import DicomResults
from radapt.deploy.prediction import CasePrediction

if TYPE_CHECKING:
    from radapt.cohorts import Case
    from radapt.deploy.deployed_model import DeployedModel


class DicomWriter:
    """Writes the DICOM results of a model's predictions into `folder`, all with the same time."""

    def __init__(self, model: "DeployedModel", folder: Path) -> None:
        self._model, self._folder = model, folder
        self._algorithm = Algorithm(model.deployment.name, model.digest)

    def write(self, name: str, case: "Case", found: CasePrediction) -> DicomResults:
        """Write `<name>-seg.dcm` and `<name>-sr.dcm` if images of the case are DICOM; nothing otherwise.

        A case that the model abstains from has probabilities and no decision.
        """
        training = self._model.deployment.training
        results = write_case(
            self._folder,
            name,
            case.images,
            self._algorithm,
            mask=found.mask,
            labels=self._model.mask_labels if found.mask is not None else {},
            probabilities=found.calibrated or found.probabilities,
            predicted=[] if found.abstained else found.prediction.split(";"),
            remarks=self._remarks(found),
            context="" if training is None else training.cohort,
        )
        return results or DicomResults(None, None)

    def _remarks(self, found: CasePrediction) -> list[str]:
        missing = [name for name in self._model.modalities if name not in found.sequences]
        remarks = [f"Sequences read: {', '.join(found.sequences)}."] if found.sequences else []
        if found.sequences and missing:
            remarks.append(f"Sequences missing: {', '.join(missing)}.")
        if found.calibrated and self._model.is_calibrated:
            remarks.append("Probabilities are calibrated.")
        if found.abstained:
            remarks.append(f"The model abstains: {found.reason or 'it is not certain enough'}.")
        if found.set is not None:
            remarks.append(f"Not excluded: {', '.join(found.set) or 'nothing that the model knows'}.")
        return remarks


def missing_extra(cases: "Iterable[Case]") -> str:
    """What to install so that DICOM results are written; empty if nothing is missing or no image is DICOM."""
    if find_spec("highdicom") is not None:
        return ""
    if not any(is_dicom(location) for case in cases for location in case.images.values()):
        return ""
    return "No DICOM results were written, because highdicom is not installed: pip install 'radapt[dicom-out]'."
