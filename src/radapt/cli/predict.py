"""radapt predict: new patients through a model folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from radapt.cli.series import series_mapping

if TYPE_CHECKING:
    from radapt.deploy.batch import ShownCase
    from radapt.deploy.deployed_model import DeployedModel
    from radapt.reports import PredictedCase


def predict(
    model: Path = typer.Argument(..., metavar="MODEL", help="A folder of `radapt export` or `radapt adapt`."),
    inputs: list[str] = typer.Argument(
        ...,
        metavar="INPUT…",
        help="Cohort files, folders of any layout, images, DICOM files, series or studies; or an address such as "
        "s3://bucket/image.nii.gz.",
    ),
    out: Path = typer.Option(..., "--out", help="The folder for predictions.csv, masks and the page."),
    mapping: list[str] = typer.Option(
        [], "--map", metavar="SERIES=SEQUENCE", help="Which series is which sequence of the model, by name; repeatable."
    ),
    cache: Path = typer.Option(None, help="Keep decoded slices and features here; default: nothing is kept."),
    dicom: bool = typer.Option(
        True, help="For images that came as DICOM, write a DICOM segmentation and report as well."
    ),
    runtime: str = typer.Option(
        None,
        help="pytorch, onnx, openvino or auto; default: what MODEL was exported with. auto: PyTorch if that is "
        "not installed.",
    ),
    training_cohort: Path = typer.Option(
        None, help="The cohort file that the model learned from: the page then shows the nearest training cases."
    ),
    device: str = typer.Option("cpu", help="cpu, cuda or cuda:1."),
) -> None:
    """Predict the patients in INPUT. Needs no network and nothing but MODEL.

    Sequences are recognised by names and headers; any of them may be missing. Exit code 1 says that a case failed: its
    reason is printed and stands in predictions.csv, and the rest is finished.
    """
    from radapt.cohorts import load_cohort
    from radapt.deploy.batch import predict_batch
    from radapt.deploy.deployed_model import load_deployed
    from radapt.deploy.inputs.resolve import resolve_inputs
    from radapt.progress import progress

    loaded = load_deployed(model, device=device, runtime=runtime)
    if runtime == "auto":
        typer.echo(f"Runtime: {loaded.runtime}")
    resolved = resolve_inputs(inputs, loaded.deployment.sequences, loaded.card.kind, series_mapping(mapping), progress)
    training = None if training_cohort is None else load_cohort(training_cohort)
    outcome = predict_batch(
        loaded, resolved, out, write_page=page_writer(loaded), cache=cache, dicom=dicom, training=training,
        progress=progress,
    )  # fmt: skip
    for note in outcome.notes:
        typer.echo(note)
    done = outcome.cases - len(outcome.failures)
    typer.echo(f"{done} of {outcome.cases} predicted: {out / 'predictions.csv'}\nPage: {out / 'report.html'}")
    if outcome.failures:
        for case in outcome.failures:
            typer.echo(f"Failed: {case.case}: {case.reason}", err=True)
        raise typer.Exit(1)


def page_writer(model: "DeployedModel") -> "Callable[[Path, Sequence[ShownCase], int, int], None]":
    """What `predict_batch` writes its pages with."""
    from radapt.deploy.batch import TABLE
    from radapt.reports import PredictionPage, write_prediction_page

    def write(folder: Path, cases: "Sequence[ShownCase]", number: int, pages: int) -> None:
        shown = tuple(_shown(each, model) for each in cases)
        page = PredictionPage(model.deployment.name, model.deployment.intended_use, TABLE, shown, number, pages)
        write_prediction_page(folder, page)

    return write


def _shown(case: "ShownCase", model: "DeployedModel") -> "PredictedCase":
    from radapt.reports import AttentionBars, PredictedCase, StructureRow, shown_rows

    found, picture = case.prediction, case.picture
    decided, members = set(found.prediction.split(";")), None if found.set is None else set(found.set)
    calibrated = dict(found.calibrated) if found.calibrated is not None and model.is_calibrated else None
    caption = "" if picture is None else f"{picture.modality}, plane {picture.plane} of {picture.planes}"
    facts: dict[str, Any] = {
        name: getattr(found, name)
        for name in (
            "case",
            "prediction",
            "reason",
            "failed",
            "abstained",
            "agreement",
            "truth",
            "seconds",
        )
    }
    return PredictedCase(
        rows=shown_rows(model.outputs, dict(found.probabilities), calibrated, decided, members),
        structures=tuple(
            StructureRow(name, volume, (found.predicted_dice or {}).get(name), (found.dice_at_least or {}).get(name))
            for name, volume in (found.volumes_ml or {}).items()
        ),
        image="" if picture is None else picture.uri,
        caption=caption,
        sequences=tuple(
            f"{name} (the series {found.series[name]})" if name in found.series else name for name in found.sequences
        ),
        uncertain="" if picture is None else picture.uncertain,
        nearest=tuple(
            (each.case, each.label, each.similarity, thumbnail)
            for each, thumbnail in zip(found.nearest, case.thumbnails or ("",) * len(found.nearest), strict=True)
        ),
        attention=tuple(
            AttentionBars.of(each.modality or "all sequences", each.planes, each.weights)
            for each in found.slice_weights
            if len(each.planes) > 1
        ),
        several_planes=picture is not None and picture.planes > 1 and not found.volumes_ml,
        files=tuple(
            (kind, file)
            for kind, file in (
                ("Mask", case.mask_file),
                ("Uncertainty of each voxel", case.uncertainty_file),
                ("DICOM segmentation", case.segmentation_file),
                ("DICOM report", case.report_file),
            )
            if file
        ),
        one_of=not model.card.findings,
        doubt=found.doubt if model.is_calibrated else None,
        **facts,
    )
