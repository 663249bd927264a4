"""radapt demo: the complete workflow from images to a report, on synthetic patients."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from radapt.cli.adapt import number
from radapt.cli.demo.study import ADAPTED, ENCODERS, METRIC, PROBES, RANDOM_WEIGHTS, SPLIT, study_text
from radapt.errors import UsageError, counted

if TYPE_CHECKING:
    from radapt.studies import Settings

PATIENTS, EXTERNAL, SIZE, SLICES = 100, 100, 112, 5
"""What fits into 4 minutes of two slow cores, of which the vision transformer takes most."""


_NEXT = """
Next, with a folder of your own (README.md says more):
  radapt scan /data/mine --out mine/cohort.yaml      # a folder or archive of images -> a table of cases
  radapt check mine/cohort.yaml                      # reads every image and lists all problems
  radapt adapt mine/cohort.yaml --backbone dinov2-s-focus --out adapted
"""


def demo(
    out: Path = typer.Option(Path("demo"), help="The folder to write everything to."),
    patients: int = typer.Option(PATIENTS, min=30, help="Synthetic patients of hospital A, to train on."),
    external: int = typer.Option(EXTERNAL, min=10, help="Synthetic patients of hospital B, to test on."),
    seed: int = typer.Option(0, min=0, help="Seed of the patients."),
    size: int = typer.Option(SIZE, min=32, help="Side of the images the encoders see, in pixels."),
    slices: int = typer.Option(SLICES, min=1, help="Slices per volume."),
    cache: Path = typer.Option(None, help="Slices and features; default: cache in the folder of the demo."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:1."),
    offline: bool = typer.Option(False, "--offline", help="Never use the network, not even for weights."),
) -> None:
    """Create synthetic patients, scan and check them, run a study and write its report, whose path is printed last.

    Needs no data and no GPU, and the network only to download pretrained encoders once, 117 MB in all; without it the
    encoders have random weights. The patients are synthetic brain MRI computed from the signal equations of the
    sequences: the results show what radapt does, not what an encoder can do for real patients. The same command resumes
    an interrupted demo; an edited study.yaml is kept.
    """
    from radapt.cli.run_report import run_report
    from radapt.durable import write_text
    from radapt.progress import progress
    from radapt.studies import Settings, read_study, run_study

    typer.echo("The patients of this demo are SYNTHETIC: computed brain MRI with simulated tumours.")
    pretrained = _available(offline)
    cohort = _cohort(out, patients, external, seed)
    _check(cohort, cache or out / "cache")
    study = out / "study.yaml"
    if study.exists():
        typer.echo(f"{study} is kept as it is; delete it to have it written again.")
    else:
        write_text(study, study_text(out, size, slices, pretrained))
    with _step(f"Running the study {study}"):
        settings = Settings(cache=cache or out / "cache", device=device, offline=offline, progress=progress)
        outcome = run_study(read_study(study), out / "run", settings)
        typer.echo(outcome.summary())
    with _step("Comparing methods on the same patients"):
        typer.echo(_table(out / "run"))
        typer.echo(_comparisons(out / "run", cohort, settings))
    report = run_report(outcome, settings.cache).path
    typer.echo(_NEXT)
    typer.echo(f"Report: {report}")
    if outcome.failures:
        typer.echo(outcome.reasons(), err=True)
        raise typer.Exit(1)


def _available(offline: bool) -> list[str]:
    """The pretrained encoders whose weights are here or can be downloaded now; it says where the others are missing."""
    from radapt.backbones import find_backbone

    found, reasons = [], []
    with _step(f"Getting the weights of {' and '.join(ENCODERS)}"):
        for name in ENCODERS:
            try:
                source = find_backbone(name, offline=offline).source
            except UsageError as error:
                reasons.append(str(error))
            else:
                found.append(name)
                typer.echo(f"{name}: from the {source.where}")
        for reason in reasons:
            typer.echo(reason)
    if not found:
        typer.echo(
            "So NO PRETRAINED ENCODER is used here: the encoder has RANDOM weights. Expect modest results, which show "
            "that radapt works and not what it is for."
        )
    return found


def _cohort(out: Path, patients: int, external: int, seed: int) -> Path:
    """Write patients as BIDS, then scan them like any other folder; hospital B becomes the test set."""
    import os

    from radapt.cohorts import Fractions, ScanOptions, scan, write_cohort
    from radapt.cohorts.summary import summary
    from radapt.phantom import write_bids
    from radapt.progress import progress

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
        external=(f"B={SPLIT}",),
        seed=seed,
        fractions=Fractions(val=0.0, test=0.0),
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


def _table(run: Path) -> str:
    """AUROC at hospital B: a line for each encoder, a column for each method."""
    import pandas as pd

    results = pd.read_parquet(run / "results.parquet")
    shown = results[(results["metric"] == METRIC) & (results["split"] == SPLIT)]
    shown = shown[shown["control"].isin(["", RANDOM_WEIGHTS])]
    if not len(shown):
        return "No method has a score at hospital B."
    methods = [name for name in (*PROBES, ADAPTED) if name in set(shown["protocol"])]
    width = max(map(len, shown["backbone"])) + 1
    lines = [f"{'':{width}}" + "".join(f"{name:19}" for name in methods)]
    for encoder in shown["backbone"].unique():
        own = shown[shown["backbone"] == encoder].set_index("protocol")
        values = [
            number(*own.loc[name, ["value", "ci_low", "ci_high"]]) if name in own.index else "" for name in methods
        ]
        lines.append(f"{encoder:{width}}" + "".join(f"{value:19}" for value in values))
    patients = counted(int(shown["n_patients"].max()), "patient")
    head = f"AUROC at hospital B, of which nothing was seen in training, with 95 % interval; {patients}; 0.5 is chance:"
    return "\n".join([head, *(f"  {line.rstrip()}" for line in lines)])


def _comparisons(run: Path, cohort: Path, settings: "Settings") -> str:
    from radapt.cli.demo.comparisons import comparisons
    from radapt.cohorts import load_cohort

    lines = ["", "Differences in AUROC on the same patients, with 95 % interval paired by patient:"]
    for title, rows in comparisons(run, load_cohort(cohort), settings).items():
        lines += [f"  {title}:", *(f"    {row.text}" for row in rows)]
    return "\n".join(lines) if len(lines) > 2 else ""


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Print a step before it starts, and its duration after it ends."""
    import time

    typer.echo(f"\n{what} …")
    start = time.perf_counter()
    yield
    typer.echo(f"({time.perf_counter() - start:.0f} s)")
