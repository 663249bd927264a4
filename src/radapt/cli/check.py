"""radapt check: list all problems of a cohort."""

from pathlib import Path

import typer


def check(
    cohort: Path = typer.Argument(..., metavar="COHORT", help="The cohort.yaml to check."),
    json_file: Path = typer.Option(None, "--json", help="Also write the findings to this file."),
    probable_patients: Path = typer.Option(
        None, help="Where patients are unknown: write those that near-identical pixels suggest to this CSV file."
    ),
    cache: Path = typer.Option(None, help="Unpacked arrays; default $RADAPT_CACHE, else the user's cache folder."),
) -> None:
    """Read every case of COHORT and list the problems, errors first.

    Exit code 0: clean, or warnings only. 1: errors. 2: COHORT itself cannot be read.
    """
    from radapt.cachedir import cache_folder
    from radapt.doctor import check_cohort
    from radapt.durable import write_json
    from radapt.progress import progress

    findings = check_cohort(cohort, cache_folder(cache), progress)
    typer.echo(findings.text())
    if json_file is not None:
        write_json(json_file, findings.as_json())
    if probable_patients is not None:
        findings.write_patients(probable_patients)
    if findings.errors:
        raise typer.Exit(1)
