"""radapt schema: JSON schemas of the files that users write, and of summary.json."""

import json
from pathlib import Path

import typer


def schema(
    file: str = typer.Argument(..., metavar="study|cohort|summary", help="Which file is to be described."),
    out: Path = typer.Option(None, help="Write the schema to this file; default: print it."),
) -> None:
    """Print the JSON schema of study.yaml or cohort.yaml, with which editors complete keys and mark mistakes, or that
    of the summary.json that a report writes.

    In an editor with the YAML language server, the first line of the file names it:
    # yaml-language-server: $schema=study.schema.json
    """
    from radapt.cohorts.cohort_schema import cohort_schema
    from radapt.durable import write_text
    from radapt.errors import UsageError, suggest
    from radapt.reports import summary_schema
    from radapt.studies.study_schema import study_schema

    schemas = {"study": study_schema, "cohort": cohort_schema, "summary": summary_schema}
    if file not in schemas:
        raise UsageError(f"There is no schema of {file!r}. {suggest(file, schemas)}")
    text = json.dumps(schemas[file](), indent=2)
    if out is None:
        typer.echo(text)
    else:
        write_text(out, text + "\n")
