"""radapt check: list all problems of a cohort."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from radapt.locations import Location


def check(
    cohort: Path = typer.Argument(..., metavar="COHORT", help="The cohort.yaml to check."),
    json_file: Path = typer.Option(None, "--json", help="Also write the findings to this file."),
    probable_patients: Path = typer.Option(
        None, help="Where patients are unknown: write those that near-identical pixels suggest to this CSV file."
    ),
    pretraining: Path = typer.Option(
        None, help="A table with a column 'image', pictures that an encoder saw: search them for test patients."
    ),
    cache: Path = typer.Option(None, help="Unpacked arrays; default $RADAPT_CACHE, else the user's cache folder."),
) -> None:
    """Read every case of COHORT and list the problems, errors first.

    Exit code 0: clean, or warnings only. 1: errors. 2: COHORT itself cannot be read.
    """
    from radapt.cachedir import cache_folder
    from radapt.cohorts import load_cohort
    from radapt.doctor import check_cohort
    from radapt.doctor.pretraining import pretraining_issues
    from radapt.durable import write_json
    from radapt.progress import progress

    findings = check_cohort(cohort, cache_folder(cache), progress)
    if pretraining is not None and not findings.errors:
        issues = pretraining_issues(load_cohort(cohort), _pictures(pretraining), cache_folder(cache))
        findings = replace(findings, problems=(*findings.problems, *issues))
    typer.echo(findings.text())
    if json_file is not None:
        write_json(json_file, findings.as_json())
    if probable_patients is not None:
        findings.write_patients(probable_patients)
    if findings.errors:
        raise typer.Exit(1)


def _pictures(table: Path) -> "list[Location]":
    """The column `image` of a table, paths relative to it."""
    from radapt.cli.table_rows import read_rows, require_column
    from radapt.locations import Location

    rows, _ = read_rows(table, "a table of pictures (CSV, TSV or parquet)")
    require_column(rows, "image", table)
    return [Location.parse(text, table.parent) for text in rows["image"].str.strip() if text]
