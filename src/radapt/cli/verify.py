"""radapt verify: are the numbers of a run those that were computed."""

from pathlib import Path

import typer


def verify(
    run: Path = typer.Argument(..., metavar="RUN", help="The run folder of `radapt run`."),
    export: Path = typer.Option(None, help="Also compare this folder, which `radapt report RUN --export` wrote."),
    json_file: Path = typer.Option(None, "--json", help="Also write what was found to this file."),
) -> None:
    """Compare every file of RUN with its digest, and compute every number of its tables, its report and an export again
    from the stored predictions.

    Exit code 0: all is as it was written. 1: something is not, and is named.
    """
    from radapt.durable import write_json
    from radapt.reports.verification import verify_run

    found = verify_run(run, export)
    typer.echo(found.text)
    if json_file is not None:
        write_json(json_file, found.as_json())
    if found.faults:
        raise typer.Exit(1)
