"""radapt labels: how many more labelled patients a target needs."""

from pathlib import Path

import typer


def labels(
    run: Path = typer.Argument(..., metavar="RUN", help="A run folder with protocols on few labels (fewshot)."),
    reach: float = typer.Option(..., help="The value to reach, such as 0.85."),
    metric: str = typer.Option(None, help="The metric, such as mcc; default: AUROC, or Dice."),
) -> None:
    """How many more labelled patients the methods of RUN need to reach a value, with an interval.

    From their learning curves: a power law with an asymptote through the means over draws of the labels. Says where the
    curve is flat, and where more labels do not reach the value.
    """
    from radapt.reports.label_prices import label_prices
    from radapt.reports.run_folder import read_run

    typer.echo("\n".join(label_prices(read_run(run), reach, metric)))
