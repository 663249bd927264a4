"""radapt run: the grid of a study file."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from radapt.errors import UsageError, suggest

if TYPE_CHECKING:
    from radapt.studies import Part
    from radapt.studies.engines.shares import Engine

TRACK_HELP = (
    "Also write the numbers of training and the results there: csv:FOLDER, tensorboard:FOLDER, mlflow:FOLDER or a URI, "
    "wandb:FOLDER (offline); repeatable."
)


def run(
    study: Path = typer.Argument(..., metavar="STUDY", help="The study file."),
    out: Path = typer.Option(None, help="The run folder; default runs/<name of the study>."),
    plan: bool = typer.Option(
        False, "--plan", help="Measure kinds of cells on a few patients, print what all cost; run nothing."
    ),
    watts: float = typer.Option(100.0, min=0, help="With --plan: what this machine draws at work, for the energy."),
    price: float = typer.Option(None, min=0, help="With --plan: what an hour of this machine costs, in EUR."),
    fit: str = typer.Option(
        None, metavar="TIME", help="Run the part of the study that fits into this time, such as 8h or 90min."
    ),
    shard: str = typer.Option(
        None, help="i/n, i from 1 to n: run every n-th cell, beside other shards in the same run folder."
    ),
    cells: str = typer.Option(
        None, help="Run only the cells whose name (cohort × backbone × protocol × seed) or id fits this pattern."
    ),
    cache: Path = typer.Option(None, help="Slices and features; default $RADAPT_CACHE, else the user's cache folder."),
    runtime: str = typer.Option(
        None,
        help="What computes features: pytorch, onnx, openvino, or auto, the fastest that is installed; default: what "
        "the study says, else pytorch. Training is by PyTorch.",
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:1."),
    devices: int = typer.Option(
        1,
        min=1,
        help="Devices of this machine: GPUs, or on a CPU processes. They share extraction and run a cell each; where "
        "fewer cells than devices are left, a training takes all.",
    ),
    track: list[str] = typer.Option([], "--track", metavar="KIND:FOLDER", help=TRACK_HELP),
    offline: bool = typer.Option(False, "--offline", help="Never use the network."),
    engine: str = typer.Option(
        None, help="ray or slurm: run shards of the study as tasks of a Ray cluster or as jobs of Slurm."
    ),
    workers: int = typer.Option(None, min=1, help="With --engine: how many shards at once; default 2."),
    worker_cpus: int = typer.Option(None, min=1, help="With --engine: CPU cores of each worker; default 1."),
    worker_gpus: int = typer.Option(None, min=0, help="With --engine: GPUs of each worker; default 0."),
    worker_memory: float = typer.Option(None, help="With --engine: memory of each worker, in GB."),
    slurm: list[str] = typer.Option(
        [], metavar="KEY=VALUE", help="With --engine slurm: an option of sbatch, such as partition=gpu or time=240."
    ),
) -> None:
    """Run every cell of STUDY that is not finished yet, and write the results and the report.

    Exit code 1 says that a cell or a cohort failed: its reason is printed and the rest is finished and saved.
    """
    from radapt.cachedir import cache_folder
    from radapt.cli.run_report import run_report
    from radapt.devices import pick_device
    from radapt.failure_reason import peak_gib
    from radapt.progress import progress
    from radapt.runtimes.runtime import fastest_runtime
    from radapt.studies import (
        Ledger,
        Part,
        Prices,
        Settings,
        Shard,
        choice_text,
        choose,
        estimate,
        fitted_study,
        parse_time,
        plan_study,
        plan_text,
        read_study,
        run_study,
    )  # fmt: skip
    from radapt.studies.ledger import FITTED
    from radapt.trackers import Where

    described = read_study(study)
    if runtime is not None:
        described = described.with_runtime(runtime)
    if runtime == "auto":
        typer.echo(f"Runtime of features: {fastest_runtime(pick_device(device))}")
    settings = Settings(
        cache=cache_folder(cache), device=device, offline=offline, progress=progress, devices=devices,
        track=tuple(Where.of(text) for text in track),
    )  # fmt: skip
    folder = out or Path("runs") / described.name
    limit = None if fit is None else parse_time(fit)
    if plan:
        planned = plan_study(described, settings)
        costs = estimate(planned, Ledger(folder), settings)
        typer.echo(plan_text(costs, planned, Prices(watts, price), peak_gib()))
        if limit is not None:
            typer.echo(choice_text(choose(described, costs, limit), limit))
        if planned.failures:
            raise typer.Exit(1)
        return
    if limit is not None:
        choice = fitted_study(described, folder, settings, limit)
        described, study = choice.study, folder / FITTED
        typer.echo(choice_text(choice, limit))
    part = Part(None if shard is None else Shard.of(shard), cells)
    if engine is None and (
        any(given is not None for given in (workers, worker_cpus, worker_gpus, worker_memory)) or slurm
    ):
        raise UsageError("--workers, --worker-… and --slurm are for --engine ray or --engine slurm; name one.")
    if engine is None and (devices == 1 or part.shard is not None):
        outcome = run_study(described, folder, settings, part)
    else:
        from radapt.studies.engines import Resources, Shares, run_here, run_on_engine

        shares = Shares(
            study.absolute(), folder.absolute(), settings.cache.absolute(), workers or 2, cells, device, devices,
            offline, runtime, tuple(map(str, settings.track)),
        )  # fmt: skip
        if engine is None:
            outcome = run_here(replace(shares, workers=devices), settings)
        else:
            resources = Resources(worker_cpus or 1, worker_gpus or 0, worker_memory)
            outcome = run_on_engine(_engine(engine, part), shares, resources, _pairs(slurm), progress)
    typer.echo(outcome.summary())
    with Ledger(folder).locked(wait_s=600) if part.shard else nullcontext():
        report = run_report(outcome, settings.cache)
    for text in (*report.tables, *report.answers):
        typer.echo(text)
    typer.echo(f"Report: {report.path}")
    if outcome.failures:
        typer.echo(outcome.reasons(), err=True)
        raise typer.Exit(1)


def _engine(name: str, part: "Part") -> "Engine":
    from radapt.studies.engines import ENGINES

    if part.shard is not None:
        raise UsageError("--shard is one part of a run, and --engine deals out all parts; give one of them.")
    for known in ENGINES:
        if known == name:
            return known
    raise UsageError(f"There is no engine {name!r}. {suggest(name, ENGINES)}")


def _pairs(given: list[str]) -> dict[str, str]:
    """KEY=VALUE, each once."""
    found: dict[str, str] = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not (sign and key and value) or key in found:
            raise UsageError(f"--slurm {text}: expected KEY=VALUE, each key once, such as partition=gpu.")
        found[key] = value
    return found
