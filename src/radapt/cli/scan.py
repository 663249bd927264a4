"""radapt scan: a folder or archive of a known layout → cohort.yaml and its table of cases."""

from pathlib import Path

import typer


def _command(context: typer.Context, *more: str) -> str:
    """The command as it was given, with `more`."""
    import shlex

    words = ["radapt", "scan", str(context.params["source"])]
    for name, value in context.params.items():
        given = context.get_parameter_source(name)
        if name in ("source", "force") or given is None or given.name != "COMMANDLINE":
            continue
        option = f"--{name.replace('_', '-')}"
        for item in value if isinstance(value, (list, tuple)) else [value]:
            words += [option] if item is True else [option, str(item)]
    return shlex.join([*words, *more])


def scan(
    context: typer.Context,
    source: Path = typer.Argument(
        ..., metavar="SOURCE", help="A folder, a table, a .npz file, or a .zip or .tar archive of these."
    ),
    out: Path = typer.Option(..., "--out", help="The cohort.yaml to write; its table of cases goes beside it."),
    layout: str = typer.Option(
        None, help="table, folders, patients, msd, nnunet, bids, nih, dicom or one of `radapt datasets`."
    ),
    name: str = typer.Option(None, help="Name of the cohort; default: that of the source."),
    kind: str = typer.Option(None, help="xray, ct, mri or other; default: as the layout implies."),
    label: list[str] = typer.Option([], help="Column with the label; repeated: one finding (1 or 0) each."),
    site: str = typer.Option(None, help="Column with the site."),
    patient: str = typer.Option(None, help="Column with the patient."),
    patient_regex: str = typer.Option(None, help="Pattern of the patient in a file name, such as '^(person[0-9]+)_'."),
    split: str = typer.Option(None, help="Column with the split."),
    case: str = typer.Option(None, help="Column that names the cases; default: 'case', else the first image of each."),
    labels: Path = typer.Option(None, help="Table of labels (Excel, CSV, ...) to join to the cases of any layout."),
    on: str = typer.Option(None, help="Column of the --labels table with the patient (in DICOM: PatientID) or case."),
    modality: list[str] = typer.Option(
        [],
        help="NAME=PATTERN[|PATTERN]: file names or series descriptions of a modality, such as T1c='*km*|*post*'; "
        "repeated; or a .yaml file of NAME: PATTERN.",
    ),
    sheet: str = typer.Option(None, help="Sheet of an Excel table; default: the only one, or the one with images."),
    external: list[str] = typer.Option([], help="SITE or SITE=NAME: a site that becomes a separate test set."),
    folds: str = typer.Option(
        None, help="Folds instead of splits: a number, site (each hospital left out), column:NAME or file:PATH."
    ),
    redraw: bool = typer.Option(False, help="Ignore the splits of the source and draw new ones."),
    seed: int = typer.Option(0, min=0, help="Seed of the splits that are drawn."),
    val: float = typer.Option(0.15, help="Fraction of the patients drawn for val."),
    test: float = typer.Option(0.2, help="Fraction of the patients drawn for test."),
    secret: Path = typer.Option(
        None, help="File with the key of DICOM pseudonyms; default: a random one in your configuration folder."
    ),
    id_table: Path = typer.Option(
        None, help="Write the private table of patient ids and their pseudonyms here, readable by you alone."
    ),
    force: bool = typer.Option(False, help="Overwrite another cohort of the same name."),
) -> None:
    """Turn SOURCE into a cohort. Without --layout the layout is recognised, or the message lists what SOURCE holds.

    Splits that the source does not give are drawn by patient, stratified by label.
    """
    from radapt.cohorts import KINDS, Fractions, ScanOptions, write_cohort
    from radapt.cohorts import scan as read_source
    from radapt.cohorts.archives import remove_on_failure
    from radapt.cohorts.fold_rule import parse_folds
    from radapt.cohorts.id_table import id_table as make_id_table
    from radapt.cohorts.id_table import write_id_table
    from radapt.cohorts.modalities.patterns import parse_modalities
    from radapt.cohorts.summary import summary
    from radapt.errors import UsageError, suggest
    from radapt.progress import progress
    from radapt.secret import using_secret

    if kind is not None and kind not in KINDS:
        raise UsageError(f"--kind {kind}: {suggest(kind, KINDS)}")
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise UsageError(f"--val {val} --test {test}: expected fractions from 0, together below 1.")
    options = ScanOptions(
        name=name,
        kind=next((known for known in KINDS if known == kind), None),
        label=tuple(label),
        site=site,
        patient=patient,
        split=split,
        case=case,
        sheet=sheet,
        labels=labels,
        modalities=parse_modalities(modality),
        on=on,
        patient_regex=patient_regex,
        external=tuple(external),
        redraw=redraw,
        folds=None if folds is None else parse_folds(folds, seed),
        seed=seed,
        fractions=Fractions(val, test),
        progress=progress,
    )
    with using_secret(secret):
        draft = read_source(source, layout, options, out=out)
    with remove_on_failure(draft.made):
        ids = make_id_table(draft, id_table, force=force) if id_table else ""
        write_cohort(draft, out, force=force)
    if id_table:
        draft.notes += write_id_table(ids, id_table, out)
    typer.echo(summary(draft))
    if draft.proposal:
        typer.echo(f"  to take the probable patients: {_command(context, '--patient-regex', draft.proposal)}")
    if draft.suggestions:
        joined = [word for text in draft.suggestions for word in ("--modality", text)]
        typer.echo("  to join series that are probably one sequence (by names, echo time, contrast agent, b-value):")
        typer.echo(f"    {_command(context, *joined)}")
    typer.echo(f"Written: {out}")
