"""radapt beside: results of another tool as a row of a run."""

from pathlib import Path

import typer


def beside(
    run: Path = typer.Argument(..., metavar="RUN", help="The run folder of `radapt run`."),
    file: Path = typer.Argument(..., metavar="FILE", help="A table with a row per case, or nnU-Net's summary.json."),
    name: str = typer.Option(..., help="What to call the tool. A row of this name is replaced."),
    column: list[str] = typer.Option(
        None, help="NAME=COLUMN, where a column of FILE has another name: case=ID, dice:tumour=DSC (repeat it)."
    ),
    cohort: str = typer.Option(None, help="The cohort, if RUN has several."),
    margin: float = typer.Option(None, min=0, help="How much worse RUN's best may be and still be non-inferior."),
) -> None:
    """Add per-case results of another tool to RUN as a row, paired by case with RUN's methods.

    FILE has the columns case and dice:STRUCTURE (or iou, nsd, hd95_mm, assd_mm, volume_error_ml), or case and p_CLASS,
    with truth if known. Prints which cases were paired, and how RUN's best method compares, by patient. The row enters
    results.parquet, marked `foreign`, `radapt compare` and the report.
    """
    from radapt.cli.foreign.rows import add_beside

    typer.echo(add_beside(run, file, name, column or (), cohort=cohort, margin=margin))
