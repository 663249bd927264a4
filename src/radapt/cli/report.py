"""radapt report: (re)write the report of a run folder."""

from pathlib import Path

import typer


def report(
    run: Path = typer.Argument(..., metavar="RUN", help="The run folder of `radapt run`."),
    images: bool = typer.Option(True, "--images/--no-images", help="Whether the page embeds images of patients."),
) -> None:
    """(Re)write report.html in the run folder RUN and print its path. Also for unfinished runs."""
    from radapt.reports import write_report

    typer.echo(write_report(run, images))
