"""radapt report: (re)write the report of a run folder."""

from pathlib import Path

import typer


def report(
    run: Path = typer.Argument(..., metavar="RUN", help="The run folder of `radapt run`."),
    export: Path = typer.Option(None, help="Also write summary.json, tables, figures and checklists to this folder."),
    images: bool = typer.Option(True, "--images/--no-images", help="Whether the page embeds images of patients."),
) -> None:
    """(Re)write report.html, summary.json and comparisons.parquet in the run folder RUN; print the path of the report.

    With --export also the parts of a paper: tables as CSV, Markdown and LaTeX, figures as SVG and PNG, and the
    checklists CLAIM 2024, TRIPOD+AI and METRICS with what the run supports; all else in them stays open. Also for
    unfinished runs.
    """
    from radapt.errors import UsageError
    from radapt.reports import export_report, write_report

    if export is not None and export.exists() and not export.is_dir():
        raise UsageError(f"--export {export} is a file; expected a folder, new or old.")
    typer.echo(write_report(run, images))
    if export is not None:
        files = export_report(run, export)
        typer.echo(f"{len(files)} files in {export}")
        if not any(path.suffix == ".png" for path in files) and any(path.suffix == ".svg" for path in files):
            typer.echo("Figures are SVG alone: no font of this machine draws text. Install one, such as DejaVu Sans.")
