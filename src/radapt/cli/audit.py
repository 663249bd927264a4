"""radapt audit: how much of the best test score was chosen on the test set."""

from pathlib import Path

import typer


def audit(
    table: Path = typer.Argument(..., metavar="TABLE", help="A row per candidate, or predictions of the candidates."),
    test: str = typer.Option(None, help="The column with the candidates' test scores."),
    val: str = typer.Option(None, help="The column with their validation scores."),
    candidate: str = typer.Option(None, help="The column that names the candidate."),
    patients: int = typer.Option(None, min=2, help="Scores: the number of test patients."),
    positives: int = typer.Option(None, min=1, help="Scores: how many of them are positive."),
    truth: str = typer.Option(None, help="Predictions: the column with the truth, 0 or 1."),
    probability: str = typer.Option(None, help="Predictions, a row per case and candidate: their column."),
    column: list[str] = typer.Option(None, help="Predictions, a row per case: a candidate's column (repeat it)."),
    case: str = typer.Option(None, help="Predictions: the column that names the case."),
    patient: str = typer.Option(
        None, help="Predictions: the column that names the patient. Without it each case is one."
    ),
    split: str = typer.Option(None, help="Predictions: the column that says val or test."),
    claimed: str = typer.Option(None, help="The candidate that is reported; default: the best on test."),
    seed: int = typer.Option(0, min=0, help="Of the random draws."),
    json_file: Path = typer.Option(None, "--json", help="Also write the result to this file, as one object."),
) -> None:
    """How much of the winner's lead comes from choosing it on the test set.

    TABLE has a row per candidate (epochs, learning rates, thresholds, encoders) with its test score and, better, its
    validation score; or the predictions of the candidates: case, truth, candidate and probability, or case, truth and
    a column per candidate. Columns with usual names need not be named; those taken are printed.
    """
    from radapt.cli.auditing.answers import audit_table
    from radapt.cli.auditing.columns import Named
    from radapt.durable import write_json

    named = Named(test, val, candidate, truth, probability, case, patient, split, tuple(column or ()))
    answer = audit_table(table, named, claimed=claimed, patients=patients, positives=positives, seed=seed)
    typer.echo(answer.text)
    if json_file is not None:
        write_json(json_file, answer.record)
