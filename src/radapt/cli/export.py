"""radapt export: the winner of a run as a model folder for new patients."""

from enum import StrEnum
from pathlib import Path

import typer


class Format(StrEnum):
    """What a model folder is written for."""

    pytorch = "pytorch"
    onnx = "onnx"
    openvino = "openvino"


def export(
    run: Path = typer.Argument(..., metavar="RUN", help="The run folder of `radapt run`."),
    out: Path = typer.Option(..., "--out", help="The model folder to write."),
    method: str = typer.Option(None, help="Export this method, such as linear or 'dinov2-s linear'."),
    cell: str = typer.Option(None, help="Export this cell, by its id or the beginning of it."),
    cohort: str = typer.Option(None, help="The cohort, if the run has several."),
    intended_use: str = typer.Option("", help="What the model is for, as the model card says it."),
    alpha: float = typer.Option(0.1, help="Prediction sets hold the truth in 1 - alpha of the cases."),
    written_for: Format = typer.Option(
        Format.pytorch,
        "--format",
        help="What computes the model for new patients; the networks of the others are compared first.",
    ),
    least_dice: float = typer.Option(
        None, help="Abstain from masks with a lower predicted Dice; default: lower than the worst 5 % in calibration."
    ),
    cache: Path = typer.Option(None, help="Features of the run; default $RADAPT_CACHE, else the user's cache folder."),
    offline: bool = typer.Option(False, "--offline", help="Never use the network."),
) -> None:
    """Write the winner of RUN as a model folder that needs nothing else, and say why it won.

    The winner has the best score on val, or by inner folds; no test set is looked at.
    """
    from radapt.deploy.export.export_model import export_model
    from radapt.errors import UsageError
    from radapt.progress import progress

    if method is not None and cell is not None:
        raise UsageError("--method and --cell exclude each other: a cell is of one method.")
    exported = export_model(
        run, out, method=method, cell=cell, cohort=cohort, intended_use=intended_use, alpha=alpha,
        least_dice=least_dice, runtime=written_for.value, cache=cache, offline=offline, progress=progress,
    )  # fmt: skip
    typer.echo(exported.summary())
