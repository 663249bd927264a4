"""radapt run: the grid of a study file."""

from contextlib import nullcontext
from pathlib import Path

import typer

TRACK_HELP = (
    "Also write the numbers of training and the results there: csv:FOLDER, tensorboard:FOLDER, mlflow:FOLDER or a URI, "
    "wandb:FOLDER (offline); repeatable."
)


def run(
    study: Path = typer.Argument(..., metavar="STUDY", help="The study file."),
    out: Path = typer.Option(None, help="The run folder; default runs/<name of the study>."),
    plan: bool = typer.Option(False, "--plan", help="Print the cells and their estimated cost; run nothing."),
    shard: str = typer.Option(
        None, help="i/n, i from 1 to n: run every n-th cell, beside other shards in the same run folder."
    ),
    cells: str = typer.Option(
        None, help="Run only the cells whose name (cohort × backbone × protocol × seed) or id fits this pattern."
    ),
    cache: Path = typer.Option(None, help="Slices and features; default $RADAPT_CACHE, else the user's cache folder."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:1."),
    devices: int = typer.Option(
        1,
        min=1,
        help="Processes on this machine that share the training of a cell: GPUs, or on a CPU gloo processes.",
    ),
    track: list[str] = typer.Option([], "--track", metavar="KIND:FOLDER", help=TRACK_HELP),
    offline: bool = typer.Option(False, "--offline", help="Never use the network."),
) -> None:
    """Run every cell of STUDY that is not finished yet, and write the results and the report.

    Exit code 1 says that a cell or a cohort failed: its reason is printed and the rest is finished and saved.
    """
    from radapt.cachedir import cache_folder
    from radapt.cli.case_pictures import draw_case_pictures
    from radapt.progress import progress
    from radapt.reports import write_report_with_answers
    from radapt.studies import Ledger, Part, Settings, Shard, estimate, plan_study, plan_text, read_study, run_study
    from radapt.trackers import Where

    described = read_study(study)
    settings = Settings(
        cache=cache_folder(cache), device=device, offline=offline, progress=progress, devices=devices,
        track=tuple(Where.of(text) for text in track),
    )  # fmt: skip
    folder = out or Path("runs") / described.name
    if plan:
        planned = plan_study(described, settings)
        typer.echo(plan_text(estimate(planned, Ledger(folder), settings), planned))
        if planned.failures:
            raise typer.Exit(1)
        return
    part = Part(None if shard is None else Shard.of(shard), cells)
    outcome = run_study(described, folder, settings, part)
    typer.echo(outcome.summary())
    with Ledger(folder).locked(wait_s=600) if part.shard else nullcontext():
        draw_case_pictures(outcome, settings.cache)
        report = write_report_with_answers(folder)
    for text in (*report.tables, *report.answers):
        typer.echo(text)
    typer.echo(f"Report: {report.path}")
    if outcome.failures:
        typer.echo(outcome.reasons(), err=True)
        raise typer.Exit(1)
