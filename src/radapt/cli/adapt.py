"""radapt adapt: adapt a backbone to any subset of a patient's sequences, with a classifier."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from radapt.cli.embed import Look, NumberFormat, SliceAxis
from radapt.cli.run import TRACK_HELP
from radapt.errors import counted


class Preset(StrEnum):
    """Named sets of options."""

    default = "default"
    mm_dinov2 = "mm-dinov2"
    supervised = "supervised"
    concatenation = "concatenation"
    small_gpu = "small-gpu"
    cpu = "cpu"


def adapt(
    cohort: Path = typer.Argument(..., metavar="COHORT", help="The cohort.yaml."),
    backbone: str = typer.Option(
        ...,
        help="A pretrained encoder, or a plain vision transformer to be trained in full: a name from `radapt "
        "backbones`, timm:<name>, hf:<repository>; or the folder of an adapted backbone, to continue from it.",
    ),
    out: Path = typer.Option(..., help="The folder to write: a backbone for every other command, and a classifier."),
    preset: Preset = typer.Option(
        Preset.default,
        help="default: radapt's own; mm-dinov2: as published; supervised: labels alone; concatenation: the published "
        "baseline; small-gpu, cpu: the default with a small batch size.",
    ),
    set_: list[str] = typer.Option([], "--set", metavar="NAME=VALUE", help="An option that differs from the preset."),
    weights: str = typer.Option(None, help="A weight file, or random, or random:SEED; default: the hub."),
    seed: int = typer.Option(0, min=0, help="Seed of all random draws."),
    size: int = typer.Option(224, min=1, help="Side of the slices that crops are taken from, in pixels."),
    axis: SliceAxis = typer.Option(SliceAxis.axial, help="Axis along which volumes are sliced; triplanar: all three."),
    every: int = typer.Option(1, min=1, help="Use every k-th slice of an axis."),
    count: int = typer.Option(None, min=1, help="Use at most this many slices of an axis, evenly spaced."),
    look: Look = typer.Option(
        None,
        help="What a fusion sees of each slice: whole, or foreground (body or brain; the default for CT and MRI). "
        "Other adaptations always take crops of the foreground.",
    ),
    cache: Path = typer.Option(None, help="Slices; default $RADAPT_CACHE, else the user's cache folder."),
    hours: float = typer.Option(
        None,
        help="Train what this machine can train in so many hours: fusion, partial, lora or full, and the epochs. Some "
        "seconds of each are measured; the estimates and the choice are printed and kept in OUT.",
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:1."),
    devices: int = typer.Option(1, min=1, help="Processes on this machine that share the training."),
    precision: NumberFormat = typer.Option(
        NumberFormat.auto, help="Precision of matrix products; auto: the faster one."
    ),
    resamples: int = typer.Option(2000, min=100, help="Bootstrap resamples behind each interval."),
    track: list[str] = typer.Option([], "--track", metavar="KIND:FOLDER", help=TRACK_HELP),
    offline: bool = typer.Option(False, "--offline", help="Never use the network."),
) -> None:
    """Adapt BACKBONE to the sequences of COHORT, labelled and unlabelled cases, and evaluate it on every subset.

    The same command resumes a killed adaptation; a finished one is not changed. Without labels only the backbone is
    adapted. On a cohort with folds it is scored out of fold, then adapted to all patients. Use it as --backbone OUT, as
    `backbones: [OUT]` in a study, or radapt.load_backbone(OUT).
    """
    from dataclasses import replace

    from pandas import read_parquet

    from radapt.backbones import auto_dtype, find_backbone
    from radapt.cachedir import cache_folder
    from radapt.cohorts import load_cohort, refuse_offline
    from radapt.devices import check_count, pick_device
    from radapt.digests import digest
    from radapt.images import Recipe
    from radapt.mmdino.adapt_run import Request, adapt_into
    from radapt.mmdino.protocol import MmDino
    from radapt.mmdino.time_budget.plan import check_hours, planned
    from radapt.progress import progress
    from radapt.protocols.image_problem import Machine
    from radapt.reports import write_adapt_report
    from radapt.studies.tracked import result_numbers
    from radapt.trackers import Where, tracking

    for text in track:
        Where.of(text)
    protocol = MmDino.of(preset.value, **settings(set_, MmDino.known_options(), MmDino.renamed_options))
    table, chosen = load_cohort(cohort), pick_device(device)
    refuse_offline(table, offline)
    check_count(chosen, devices)
    dtype = auto_dtype(chosen) if precision is NumberFormat.auto else precision.value
    found = find_backbone(backbone, weights, dtype="float32", device=chosen, offline=offline)
    if hours is None:
        protocol.settled(found.source, table, found.lazy.modalities).check_suits(found.card)
    else:
        check_hours(protocol, hours)
    recipe = Recipe.for_kind(table.kind, size=size, axis=axis.value, every=every, count=count, look=look and look.value)
    request = Request(table, found, protocol, recipe, seed, resamples)
    machine = Machine(chosen, "bfloat16" if dtype == "bfloat16" else "float32", None, progress, devices)
    slices = cache_folder(cache)
    if hours is not None:
        asked = request.facts(slices, machine.precision)
        plan = planned(
            hours, out, asked, protocol, found, table, recipe, slices, machine, lambda line: typer.echo(line)
        )
        planned_for = replace(protocol, options=plan.applied(protocol.options))
        request = replace(request, protocol=planned_for, plan=plan)
    key = digest(request.facts(slices, machine.precision))[:8]
    with tracking(track, f"{out.name}-{key}", f"adapt {table.name}", out, {"cohort": table.name}) as tracked:
        ended = adapt_into(out, request, machine, slices)
        if tracked is not None and (out / "scores.parquet").is_file():
            tracked.results(result_numbers(read_parquet(out / "scores.parquet")))
    if ended.already:
        typer.echo(f"{out} is finished; nothing was done.")
    for line in (*(f"Note: {note}" for note in ended.notes), *headline(out)):
        typer.echo(line)
    if not (out / "backbone.json").is_file():
        typer.echo(f"Model: {out} ({trained_part(out)} {backbone}; --set trained=full adapts the encoder itself)")
    else:
        typer.echo(f"Backbone: {out}")
    report = out / "report.html"
    typer.echo(f"Report: {report if ended.already and report.is_file() else write_adapt_report(out)}")


def settings(given: Iterable[str], known: Iterable[str], renamed: Mapping[str, str]) -> dict[str, Any]:
    """`NAME=VALUE` words as options, values as YAML reads them; `renamed` maps old names of options to new ones.

    Raises UsageError for other words and unknown names.
    """
    import yaml

    from radapt.errors import UsageError, suggest
    from radapt.parsing.yaml import load_yaml

    options: dict[str, Any] = {}
    names = [name for name in known if name != "preset"]
    for argument in given:
        name, equals, value = argument.partition("=")
        if not equals or not value:
            raise UsageError(f"--set {argument}: expected NAME=VALUE, such as --set epochs=50.")
        if name not in names:
            raise UsageError(f"--set {argument}: an adaptation has no option {name!r}. {suggest(name, names, renamed)}")
        if name in options:
            raise UsageError(f"--set gives {name!r} twice; give it once.")
        try:
            options[name] = load_yaml(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {argument}: the value is not valid YAML; lists look like [0.2, 0.5].") from error
    return options


def trained_part(folder: Path) -> str:
    """What was trained on stored tokens, up to the name of the encoder."""
    import json

    options = json.loads((folder / "adapt.json").read_text(encoding="utf-8"))["options"]
    if options["trained"] == "partial":
        return f"the last {counted(options['blocks'], 'block')} of"
    return "a fusion of the tokens of"


def headline(folder: Path) -> list[str]:
    """MCC on each test set with all sequences and with one missing, and the contribution of each sequence."""
    import pandas as pd

    if not (folder / "subsets.parquet").is_file():
        return []
    scores, shares = (pd.read_parquet(folder / name) for name in ("subsets.parquet", "shapley.parquet"))
    shares = shares[(shares["metric"] == "mcc") & shares["site"].isna()]
    whole = scores[(scores["metric"] == "mcc") & scores["site"].isna()]
    whole = whole[whole["n_sequences"] == whole["n_sequences"].max()]
    lines = ["MCC with 95 % interval by patient; chance is 0:"]
    for row in whole.itertuples():
        split = "out of fold" if row.split == "oof" else row.split
        lines.append(
            f"  {split:10} {number(row.value, row.ci_low, row.ci_high)} with {every(row.n_sequences)}, "
            f"{counted(row.n_patients, 'patient')}"
        )
        if row.n_sequences == 1:
            continue
        own = shares[shares["split"] == row.split]
        lost = own[(own["quantity"] == "absence") & own["modality"].isna()].iloc[0]
        lines.append(f"  {'':10} {number(lost.value, lost.ci_low, lost.ci_high)} lost if one of them is missing")
        contributions = own[(own["quantity"] == "shapley") & own["modality"].notna()].sort_values(
            "value", ascending=False
        )
        lines.append(
            f"  {'':10} contributions: "
            + ", ".join(f"{row.modality} {row.value:.2f}" for row in contributions.itertuples())
        )
    return lines


def every(sequences: int) -> str:
    """All sequences, in words."""
    return "its one sequence" if sequences == 1 else f"all {sequences} sequences"


def number(value: float, low: float, high: float) -> str:
    """A metric with its interval; NaN is undefined."""
    if value != value:
        return "undefined"
    return f"{value:.2f}" if low != low else f"{value:.2f} [{low:.2f}, {high:.2f}]"
