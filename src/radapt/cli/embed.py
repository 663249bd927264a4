"""radapt embed: write the features of a cohort to files."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from radapt.progress import Advance


class SliceAxis(StrEnum):
    """The axis along which volumes are sliced; triplanar: all three."""

    axial = "axial"
    coronal = "coronal"
    sagittal = "sagittal"
    triplanar = "triplanar"


class Look(StrEnum):
    """What is seen of each slice."""

    whole = "whole"
    foreground = "foreground"


class NumberFormat(StrEnum):
    """The dtype of the encoder."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


def embed(
    cohort: Path = typer.Argument(..., metavar="COHORT", help="The cohort.yaml."),
    backbone: str = typer.Option(
        ..., help="A name from `radapt backbones`, timm:<name>, hf:<repository>, or a folder of `radapt adapt`."
    ),
    out: Path = typer.Option(..., help="The folder to write features.npy, cases.parquet and embed.json to."),
    weights: str = typer.Option(None, help="A weight file, or random, or random:SEED; default: the hub."),
    cache: Path = typer.Option(None, help="Slices and features; default $RADAPT_CACHE, else the user's cache folder."),
    size: int = typer.Option(224, min=1, help="Side of the images the encoder sees, in pixels."),
    axis: SliceAxis = typer.Option(SliceAxis.axial, help="Axis along which volumes are sliced; triplanar: all three."),
    every: int = typer.Option(1, min=1, help="Use every k-th slice of an axis."),
    count: int = typer.Option(None, min=1, help="Use at most this many slices of an axis, evenly spaced."),
    neighbours: int = typer.Option(0, min=0, help="Slices this many before and after as channels (2.5D); 0: none."),
    look: Look = typer.Option(
        None, help="What is seen of each slice: whole, or foreground (body or brain; the default for CT and MRI)."
    ),
    layers: int = typer.Option(4, min=1, help="Keep the tokens of this many last layers."),
    dtype: NumberFormat = typer.Option(NumberFormat.auto, help="Dtype of the encoder; auto: the faster one."),
    runtime: str = typer.Option(
        "pytorch", help="What computes features: pytorch, onnx, openvino, or auto, the fastest that is installed."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:1."),
    devices: int = typer.Option(1, min=1, help="Processes on this machine that share the work: GPUs, or on a CPU."),
    batch: int = typer.Option(None, min=1, help="Batch size in slices; default 16 on a CPU, 128 on a GPU."),
    offline: bool = typer.Option(False, "--offline", help="Never use the network."),
) -> None:
    """Write the features of BACKBONE for every case of COHORT; the same command resumes after an interruption.

    A backbone adapted to several sequences encodes those of a case together, as one modality called joint.

    features.npy is float32 (cases, modalities, columns), the mean over the slices of each image, NaN where a modality
    is missing; cases.parquet names its rows and embed.json is its provenance.
    """
    from radapt.backbones import find_backbone
    from radapt.cachedir import cache_folder
    from radapt.cohorts import cohort_digest, load_cohort, refuse_offline
    from radapt.devices import pick_device
    from radapt.digests import ByteDigests
    from radapt.features import extract, provenance_of, write_embedding
    from radapt.images import Recipe

    table, folder = load_cohort(cohort), cache_folder(cache)
    refuse_offline(table, offline)
    resolved = find_backbone(
        backbone, weights, dtype=dtype.value, device=pick_device(device), offline=offline, runtime=runtime, cache=folder
    )
    if runtime == "auto":
        typer.echo(f"Runtime: {resolved.lazy.runtime}")
    recipe = Recipe.for_kind(
        table.kind, size=size, axis=axis.value, every=every, count=count, neighbours=neighbours,
        look=look and look.value,
    )  # fmt: skip
    meter = _EncodingMeter()
    features = extract(
        table,
        resolved.lazy,
        recipe=recipe,
        layers=range(-layers, 0),
        batch=batch,
        cache=folder,
        progress=meter.progress,
        devices=devices,
    )
    facts = {"name": table.name, "cases": len(table), "digest": cohort_digest(table, ByteDigests(folder))}
    write_embedding(features, out, provenance_of(resolved.card, resolved.source, recipe.describe(), facts))
    what = "cases" if features.joint else "images"
    for line in (meter.text(int(features.presence.sum()), what), f"Features: {out / 'features.npy'}"):
        typer.echo(line)


class _EncodingMeter:
    """Shows progress, and counts the encoded images and the seconds."""

    def __init__(self) -> None:
        self.images, self.seconds = 0, 0.0

    @contextmanager
    def progress(self, total: int, label: str, unit: str = "cases") -> "Iterator[Advance]":
        import time

        from radapt.progress import progress

        start = time.perf_counter()
        with progress(total, label, unit) as show:
            yield partial(self._advance, show, unit)
        self.seconds = time.perf_counter() - start

    def _advance(self, show: "Advance", unit: str, count: int = 1) -> None:
        self.images += count if unit == "images" else 0
        show(count)

    def text(self, total: int, what: str) -> str:
        if not self.images:
            return f"All {total} {what} were already stored."
        rate = self.images / max(self.seconds, 1e-9)
        return f"{self.images} of {total} {what} encoded in {self.seconds:.1f} s, {rate:.3g} {what} per second."
