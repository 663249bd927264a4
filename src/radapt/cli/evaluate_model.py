"""radapt evaluate-model: whether a model holds in another hospital."""

from pathlib import Path

import typer

from radapt.cli.series import series_mapping


def evaluate_model(
    model: Path = typer.Argument(..., metavar="MODEL", help="A folder of `radapt export`."),
    cohort: Path = typer.Argument(..., metavar="COHORT", help="The cohort file of labelled cases."),
    out: Path = typer.Option(None, "--out", help="Write evaluation.json, scores.csv and summary.txt to this folder."),
    recalibrate: int = typer.Option(
        None,
        metavar="N",
        help="Refit calibration, sets or predicted Dice with N cases, drawn by patient.",
    ),
    mapping: list[str] = typer.Option(
        [], "--map", metavar="SERIES=SEQUENCE", help="Which series is which sequence of the model, by name; repeatable."
    ),
    seed: int = typer.Option(0, help="Of the draw of patients, and of intervals."),
    cache: Path = typer.Option(None, help="Keep decoded slices and features here; default: nothing is kept."),
    device: str = typer.Option("cpu", help="cpu, cuda or cuda:1."),
) -> None:
    """Say whether accuracy, calibration and prediction sets of MODEL hold on the labelled cases of COHORT, or the
    predicted Dice of its masks on masked ones.

    Also: how often the model abstains, and whether features and metadata differ from those of the training patients.
    """
    from radapt.deploy.evaluation.run import evaluate_model as evaluate
    from radapt.progress import progress

    done = evaluate(
        model, cohort, out, recalibrate=recalibrate, mapping=series_mapping(mapping), seed=seed, cache=cache,
        device=device, progress=progress,
    )  # fmt: skip
    for line in done.text:
        typer.echo(line)
    if out is not None:
        typer.echo(f"Files: {out}")
