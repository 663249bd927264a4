"""radapt check: list all problems of a cohort."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from radapt.cli.hashes import pictures_of

if TYPE_CHECKING:
    from radapt.cohorts import CohortIssue


def check(
    cohort: Path = typer.Argument(..., metavar="COHORT", help="The cohort.yaml to check."),
    json_file: Path = typer.Option(None, "--json", help="Also write the findings to this file."),
    probable_patients: Path = typer.Option(
        None, help="Where patients are unknown: write those that near-identical pixels suggest to this CSV file."
    ),
    pretraining: Path = typer.Option(
        None,
        help="Pictures that an encoder saw, a table with a column 'image' or a file of `radapt hashes`: search them "
        "for test patients.",
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
    if pretraining is not None and not findings.errors:
        issues = _pretraining(cohort, pretraining, cache_folder(cache))
        findings = replace(findings, problems=(*findings.problems, *issues))
    typer.echo(findings.text())
    if json_file is not None:
        write_json(json_file, findings.as_json())
    if probable_patients is not None:
        findings.write_patients(probable_patients)
    if findings.errors:
        raise typer.Exit(1)


def _pretraining(cohort: Path, pictures: Path, cache: Path) -> "list[CohortIssue]":
    """Test patients among the pictures of a table, or those whose hashes are in a file."""
    from radapt.cohorts import load_cohort
    from radapt.doctor.pretraining import pretraining_issues, pretraining_issues_of_hashes
    from radapt.images.duplicates.hash_file import is_hash_file, read_hashes

    if is_hash_file(pictures):
        return pretraining_issues_of_hashes(load_cohort(cohort), read_hashes(pictures), cache)
    return pretraining_issues(load_cohort(cohort), pictures_of(pictures), cache)
