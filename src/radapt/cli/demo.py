"""radapt demo: the complete workflow from images to a report, on synthetic patients."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from radapt.cli.adapt import number
from radapt.cli.demo_study import ADAPTED, STEPS, SUPERVISED, study_text
from radapt.errors import counted

if TYPE_CHECKING:
    import pandas as pd


def demo(
    out: Path = typer.Option(Path("demo"), help="The folder to write everything to."),
    patients: int = typer.Option(180, min=30, help="Synthetic patients of hospital A; hospital B has a third as many."),
    seed: int = typer.Option(0, min=0, help="Seed of the patients and of their splits."),
    size: int = typer.Option(96, min=32, help="Side of the images the encoders see, in pixels."),
    slices: int = typer.Option(10, min=1, help="Slices per volume."),
    steps: int = typer.Option(STEPS, min=1, help="Training steps of each adaptation."),
    cache: Path = typer.Option(None, help="Slices and features; default: cache in the folder of the demo."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:1."),
) -> None:
    """Create synthetic patients, scan and check them, run a study and write its report, whose path is the last line.

    Needs no data, no network and no GPU. The patients are synthetic brain MRI computed from the signal equations of the
    sequences, and the encoders have random weights: the results show that radapt works, not what trained encoders can
    do. The same command resumes an interrupted demo; an edited study.yaml is kept.
    """
    from radapt.durable import write_text
    from radapt.progress import progress
    from radapt.reports import write_report
    from radapt.studies import Settings, read_study, run_study

    typer.echo("The patients of this demo are SYNTHETIC: computed brain MRI with simulated tumours.")
    typer.echo(
        "The encoders, a ResNet-18 and a small vision transformer, have RANDOM weights, so expect modest results."
    )
    cohort = _cohort(out, patients, seed)
    _check(cohort, cache or out / "cache")
    study = out / "study.yaml"
    if not study.exists():
        write_text(study, study_text(out, size, slices, steps))
    with _step(f"Running the study {study}"):
        settings = Settings(cache=cache or out / "cache", device=device, offline=True, progress=progress)
        outcome = run_study(read_study(study), out / "run", settings)
        typer.echo(outcome.summary())
    typer.echo(_headline(out / "run"))
    typer.echo(_adaptations(out / "run"))
    typer.echo("These results are of synthetic patients and untrained encoders. For your own study see the README.")
    typer.echo(f"Report: {write_report(out / 'run')}")
    if outcome.failures:
        typer.echo(outcome.reasons(), err=True)
        raise typer.Exit(1)


def _cohort(out: Path, patients: int, seed: int) -> Path:
    """Write patients as BIDS, then scan them like any other folder; hospital B becomes a separate test set."""
    import os

    from radapt.cohorts import Fractions, ScanOptions, scan, write_cohort
    from radapt.cohorts.summary import summary
    from radapt.phantom import write_bids
    from radapt.progress import progress

    external = patients // 3
    with (
        _step(f"Writing {patients + external} synthetic patients to {out / 'patients'}"),
        progress(patients + external, "Simulating patients", "patients") as advance,
    ):
        workers = min(os.cpu_count() or 1, 8)
        bids = write_bids(
            out / "patients", patients=patients, external=external, seed=seed, workers=workers, advance=advance
        )
    options = ScanOptions(
        name="phantom",
        kind="mri",
        label=("subtype",),
        site="hospital",
        external=("B=external",),
        seed=seed,
        fractions=Fractions(val=0.15, test=0.25),
    )
    with _step("Scanning them into a cohort"):
        draft = scan(bids, "bids", options)
        title = "SYNTHETIC brain tumours (radapt phantom)"
        draft.source = {"title": title, "licence": "CC0-1.0", "seed": str(seed), **draft.source}
        cohort, _ = write_cohort(draft, out / "cohort.yaml")
        typer.echo(summary(draft))
    return cohort


def _check(cohort: Path, cache: Path) -> None:
    from radapt.doctor import check_cohort
    from radapt.progress import progress

    with _step("Checking every image"):
        findings = check_cohort(cohort, cache, progress)
        typer.echo(findings.text())
    if findings.errors:
        raise typer.Exit(1)


def _headline(run: Path) -> str:
    """Macro AUROC of every protocol on the test sets, with intervals by patient; learning curves are in the report."""
    import pandas as pd

    results = pd.read_parquet(run / "results.parquet")
    shown = results[(results["metric"] == "auroc") & (results["split"] != "val") & results["repeat"].isna()]
    lines = [
        f"  {row.backbone:15} {row.protocol:10} {row.split:10} {row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}], "
        f"{counted(count, 'patient')}"
        for row, count in zip(shown.itertuples(), shown["n_patients"].tolist(), strict=True)
    ]
    return "\n".join(["AUROC with 95 % interval; 0.5 is chance, 'external' is the other hospital:", *lines])


def _adaptations(run: Path) -> str:
    """MCC at the other hospital after both adaptations, with the available sequences and with one more missing."""
    import pandas as pd

    results = pd.read_parquet(run / "results.parquet")
    lines = [
        "Trained on a quarter of the labels, evaluated at the other hospital with missing sequences. MCC with 95 % "
        "interval; chance is 0:"
    ]
    for title in (ADAPTED, SUPERVISED):
        for cell in results.loc[results["protocol"] == title, "cell"].unique():
            folder = run / "cells" / cell
            scores, shares = (pd.read_parquet(folder / name) for name in ("subsets.parquet", "shapley.parquet"))
            whole = _external(scores)[lambda table: table["n_sequences"] == table["n_sequences"].max()].iloc[0]
            lost = _external(shares)[lambda table: (table["quantity"] == "absence") & table["modality"].isna()].iloc[0]
            lines.append(
                f"  {title:16} {_number(whole)}, {counted(whole['n_patients'], 'patient')}; one more sequence "
                f"missing costs {_number(lost)}"
            )
    return "\n".join(lines) if len(lines) > 1 else ""


def _external(table: "pd.DataFrame") -> "pd.DataFrame":
    return table[(table["metric"] == "mcc") & (table["split"] == "external") & table["site"].isna()]


def _number(row: "pd.Series") -> str:
    return number(row["value"], row["ci_low"], row["ci_high"])


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Print a step before it starts, and its duration after it ends."""
    import time

    typer.echo(f"\n{what} …")
    start = time.perf_counter()
    yield
    typer.echo(f"({time.perf_counter() - start:.0f} s)")
