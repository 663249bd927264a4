"""`radapt predict`: a batch of patients into a folder, group by group, resumable, and complete only at the end.

predictions.csv          a row per case, written last but one
report.html              a page per group of cases: report.html, report-2.html, …
masks/                   label maps in the grid of each patient's image
uncertainty/             beside each mask, how likely a voxel's label is another one, from 0 to 1
dicom/                   segmentations and reports for images that came as DICOM
done.json                what was predicted with which model; its presence says that the folder is complete
.work/                   finished groups of an unfinished batch
"""

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from radapt.cohorts import Case, Cohort
from radapt.deploy.deployed_model import DeployedModel
from radapt.deploy.dicom.predicted import DicomWriter, missing_extra
from radapt.deploy.dicom.results import DicomResults
from radapt.deploy.inputs.resolve import ResolvedInput
from radapt.deploy.patients import notes_of, predict_patients, working_cache
from radapt.deploy.pictures import Picture, picture_of, thumbnail_of
from radapt.deploy.prediction import CasePrediction, prediction_table
from radapt.digests import digest
from radapt.durable import remove_partial_files, write_json, write_text
from radapt.errors import DataError, UsageError
from radapt.features.case_vectors import Neighbour
from radapt.images import Volume, ending_for, write_labels, write_shares
from radapt.printable import csv_cell
from radapt.progress import ProgressMaker, silent
from radapt.protocols.fitted import SliceWeights
from radapt.segmentation import file_stems

TABLE, DONE, WORK, DICOM = "predictions.csv", "done.json", ".work", "dicom"
MASKS, UNCERTAINTY = "masks", "uncertainty"
GROUP = 50
"""Cases on a page. Memory and the work that a kill can lose are those of a group."""


@dataclass(frozen=True)
class ShownCase:
    """A prediction with what a page shows beside it. Files are relative to the folder; '' without one."""

    prediction: CasePrediction
    picture: Picture | None = None
    mask_file: str = ""
    uncertainty_file: str = ""
    segmentation_file: str = ""
    """DICOM SEG"""
    report_file: str = ""
    """DICOM SR"""
    thumbnails: tuple[str, ...] = ()
    """Of the nearest training cases, data URIs; '' for one whose image is not there."""


WritePage = Callable[[Path, Sequence[ShownCase], int, int], None]
"""(folder, cases of a group, number of the group from 1, groups) → writes the page of the group."""


@dataclass(frozen=True)
class BatchOutcome:
    """A finished batch."""

    folder: Path
    cases: int
    failures: tuple[CasePrediction, ...]
    notes: tuple[str, ...]


def predict_batch(
    model: DeployedModel,
    resolved: ResolvedInput,
    folder: Path,
    *,
    write_page: WritePage | None = None,
    cache: Path | None = None,
    dicom: bool = True,
    training: Cohort | None = None,
    progress: ProgressMaker = silent,
) -> BatchOutcome:
    """Predict every case into `folder`. After an interruption the same call goes on after the last finished group.

    A case that fails stands in the table with its reason. With `dicom`, cases whose images are DICOM have a DICOM
    segmentation and report as well. The pages show the nearest training cases as small pictures if `training` is the
    cohort that the model learned from. Raises UsageError if the folder holds something else, or a finished batch.
    """
    names = resolved.order
    if not names:
        raise DataError("There is no case to predict.")
    pictured = _pictured(model, training)
    key = _key(model, resolved)
    _prepare(folder, key)
    groups = [names[start : start + GROUP] for start in range(0, len(names), GROUP)]
    stems = dict(zip(names, file_stems(list(names)), strict=True))
    by_name = {case.case: case for case in resolved.cohort}
    rows: list[CasePrediction] = []
    missing = missing_extra(resolved.cohort) if dicom else ""
    writer = DicomWriter(model, folder / DICOM) if dicom and not missing else None
    with progress(len(names), "Predicting", "cases") as advance:
        for number, group in enumerate(groups, start=1):
            shown = _read_group(folder / WORK / f"{number}.json")
            if shown is None:
                with working_cache(cache, folder / WORK) as local:
                    coming = predict_patients(model, resolved, group, local)
                    shown = [_kept(folder, model, by_name, each, local, stems, writer) for each in coming]
                    shown = [_with_thumbnails(each, pictured, model, local) for each in shown]
                if write_page is not None:
                    write_page(folder, shown, number, len(groups))
                write_json(folder / WORK / f"{number}.json", [asdict(each) for each in shown])
            rows += [each.prediction for each in shown]
            advance(len(group))
    write_text(folder / TABLE, _csv_text(rows, model.outputs))
    failures = tuple(case for case in rows if case.failed)
    notes = (*notes_of(model, rows, resolved), *([missing] if missing else []))
    facts = {"key": key, "model": model.deployment.name, "cases": len(rows), "failed": len(failures), "notes": notes}
    write_json(folder / DONE, facts)
    shutil.rmtree(folder / WORK)
    return BatchOutcome(folder, len(rows), failures, notes)


def _pictured(model: DeployedModel, training: Cohort | None) -> Mapping[str, Case]:
    """The training cases whose pictures a page can show. Raises UsageError if the cohort has none of them."""
    if training is None:
        return {}
    known = set(() if model.training is None else model.training.cases)
    found = {case.case: case for case in training if case.case in known}
    if not found:
        raise UsageError(
            f"Cohort {training.name} has no training case of this model, or the model folder names none. Give the "
            "cohort that it learned from with --training-cohort."
        )
    return found


def _with_thumbnails(shown: ShownCase, pictured: Mapping[str, Case], model: DeployedModel, cache: Path) -> ShownCase:
    if not pictured:
        return shown
    recipe = model.card.recipe
    recipe = recipe.looking("whole") if recipe.look == "lesion" else recipe
    cases = [pictured.get(each.case) for each in shown.prediction.nearest]
    return replace(shown, thumbnails=tuple("" if case is None else thumbnail_of(case, recipe, cache) for case in cases))


def _key(model: DeployedModel, resolved: ResolvedInput) -> str:
    """A digest of what decides the batch: the model, and the places of all images."""
    cases = [[case.case, sorted((name, str(where)) for name, where in case.images.items())] for case in resolved.cohort]
    return digest([model.digest, cases, dict(resolved.failures), list(resolved.order)])


def _prepare(folder: Path, key: str) -> None:
    """Make the folder ready for the batch. Raises UsageError if it holds anything but an unfinished one of this key."""
    request = folder / WORK / "request.json"
    if (folder / DONE).is_file():
        raise UsageError(f"{folder} holds finished predictions. Give a new folder with --out, or remove this one.")
    if request.is_file():
        if json.loads(request.read_text(encoding="utf-8")).get("key") != key:
            raise UsageError(
                f"{folder} holds unfinished predictions of another model or other patients. Give a new folder with "
                "--out, or remove this one."
            )
        remove_partial_files(folder, WORK, MASKS, UNCERTAINTY, DICOM)
        for left in (folder / WORK).glob(".cache-*"):
            shutil.rmtree(left, ignore_errors=True)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty and is left alone. Give a new folder with --out.")
    write_json(request, {"key": key})


def _kept(
    folder: Path,
    model: DeployedModel,
    cases: Mapping[str, Case],
    found: CasePrediction,
    cache: Path,
    stems: Mapping[str, str],
    writer: DicomWriter | None,
) -> ShownCase:
    """Write the mask and the DICOM results of a case, and draw its picture."""
    if found.failed:
        return ShownCase(found)
    case = cases[found.case]
    name = uncertainty = ""
    if found.mask is not None:
        ending = _ending(case, found, found.mask)
        name = f"{MASKS}/{stems[found.case]}{ending}"
        write_labels(folder / name, found.mask)
        if found.uncertainty is not None:
            uncertainty = f"{UNCERTAINTY}/{stems[found.case]}{ending}"
            write_shares(folder / uncertainty, found.uncertainty)
    picture = _picture(model, case, found, cache)
    written = DicomResults(None, None) if writer is None else writer.write(stems[found.case], case, found)
    segmentation, report = (
        "" if path is None else path.relative_to(folder).as_posix() for path in (written.segmentation, written.report)
    )
    found = replace(found, reason="; ".join(filter(None, (found.reason, *written.notes))), mask=None, uncertainty=None)
    return ShownCase(found, picture, name, uncertainty, segmentation, report)


def _ending(case: Case, found: CasePrediction, mask: Volume) -> str:
    first = next((name for name in found.sequences if name in case.images), next(iter(case.images)))
    return ending_for(case.images[first].path, mask)


def _picture(model: DeployedModel, case: Case, found: CasePrediction, cache: Path) -> Picture | None:
    modality = next((name for name in (*found.sequences, *case.images) if name in case.images), None)
    if modality is None:
        return None
    recipe = model.card.recipe
    weights = next((each for each in found.slice_weights if each.modality in (modality, "")), None)
    plane = None if weights is None else weights.planes[int(np.argmax(weights.weights))]
    try:
        return picture_of(case, modality, recipe.looking("whole") if recipe.look == "lesion" else recipe, cache,
                          found.mask, uncertainty=found.uncertainty, plane=plane)  # fmt: skip
    except DataError:  # the prediction stands; a picture is not worth losing it
        return None


def _csv_text(rows: Sequence[CasePrediction], outputs: Sequence[str]) -> str:
    table = prediction_table(rows, outputs)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, map(str, table.columns)))
    for record in table.itertuples(index=False):
        writer.writerow([_cell(value) for value in record])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return repr(float(value)) if isinstance(value, float) else csv_cell(str(value))


def _read_group(path: Path) -> list[ShownCase] | None:
    """A finished group; None if it is not there."""
    if not path.is_file():
        return None
    return list(_shown(json.loads(path.read_text(encoding="utf-8"))))


def _shown(stored: Sequence[Mapping[str, Any]]) -> Iterator[ShownCase]:
    for each in stored:
        values = dict(each["prediction"])
        values["sequences"] = tuple(values["sequences"])
        values["set"] = None if values["set"] is None else tuple(values["set"])
        values["slice_weights"] = tuple(
            SliceWeights(one["modality"], tuple(one["planes"]), tuple(one["weights"]))
            for one in values["slice_weights"]
        )
        values["nearest"] = tuple(Neighbour(*one) for one in values["nearest"])
        for name in ("volumes_ml", "predicted_dice", "dice_at_least", "soft_dice"):  # NaN is stored as null
            stored_values = values[name]
            values[name] = stored_values and {
                key: float("nan") if value is None else value for key, value in stored_values.items()
            }
        picture = None if each["picture"] is None else Picture(**each["picture"])
        files = {name: each[name] for name in ("mask_file", "uncertainty_file", "segmentation_file", "report_file")}
        yield ShownCase(CasePrediction(**values), picture, **files, thumbnails=tuple(each["thumbnails"]))
