"""Estimates the cost of a plan before it runs: slices to encode, floating-point operations, seconds on this machine."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from radapt.cohorts.folds import hold_out
from radapt.studies.cells import Cell, CellEncoder, PreparedCohort
from radapt.studies.ledger import Ledger
from radapt.studies.plan import Plan, Settings

if TYPE_CHECKING:
    import torch

_SAMPLED_IMAGES = 5
_EFFICIENCY = 0.7  # speed of an encoder relative to a plain matrix product


@dataclass(frozen=True)
class GroupCost:
    """The cost of the cells of one backbone on one cohort, which share one feature extraction.

    `slices` is estimated from a few images. `gflop_per_slice` counts multiply and add as two operations; it is 0 for
    networks trained from scratch. `seconds` is the time to encode once, 0 if no unfinished cell reads features.
    `training` holds the upper limit of training seconds of each unfinished cell that trains on images, without
    validation passes; None if it cannot be estimated.
    """

    cells: tuple[Cell, ...]
    finished: int
    slices: int
    gflop_per_slice: float
    seconds: float
    training: Mapping[str, float | None]


def estimate(plan: Plan, ledger: Ledger, settings: Settings) -> list[GroupCost]:
    """The cost of every group of a plan. Features that are already stored are not taken into account."""
    slices: dict[tuple[str, str | None], int] = {}
    speeds: dict[tuple[str, str], float] = {}
    costs = []
    for (encoder, prepared), group in groupby(plan.cells, key=lambda cell: (cell.encoder, cell.prepared)):
        cells = tuple(group)
        pending = [cell for cell in cells if not ledger.is_done(cell.id)]
        named = prepared.cohort.name, prepared.image.name
        if named not in slices:
            slices[named] = _count_slices(prepared, settings)
        once, gflop = 0.0, 0.0
        if encoder is not None:
            kind = encoder.located.lazy.dtype, encoder.located.device
            if kind not in speeds:
                speeds[kind] = _flops_per_second(*kind)
            gflop = _gflop_per_slice(encoder, prepared)
            once = slices[named] * gflop * 1e9 / speeds[kind]
        trained = [cell for cell in pending if cell.job.protocol.reads == "images"]
        training = {cell.id: _training(cell, slices[named], once) for cell in trained}
        encoding = once if len(training) < len(pending) else 0.0
        costs.append(GroupCost(cells, len(cells) - len(pending), slices[named], gflop, encoding, training))
    return costs


def _training(cell: Cell, slices: int, once: float) -> float | None:
    """Seconds of training, if one pass over all `slices` of the cohort takes `once` seconds."""
    from radapt.cohorts.label_draws import restrict
    from radapt.protocols.holdout import labelled, masked

    if cell.encoder is None:
        return 0.0 if cell.job.protocol.passes(slices, 1, 1) == 0 else None
    protocol, draw, cohort = cell.job.protocol, cell.job.draw, cell.prepared.cohort
    if cohort.folds:
        plain = (replace(cell.prepared, cohort=hold_out(cohort, fold)) for fold in cohort.folds)
        parts = [_training(replace(cell, prepared=prepared), slices, once) for prepared in plain]
        return None if None in parts else sum(part for part in parts if part is not None)
    limited = cohort if draw is None else restrict(cohort, draw)
    usable = labelled(limited.labels) if protocol.aim == "classification" else masked(limited)
    learned = usable & (limited.splits == "train")
    images = int(cohort.presence[learned].sum())
    share = images / max(1, int(cohort.presence.sum()))
    passes = protocol.passes(round(share * slices), int(learned.sum()), images)
    return None if passes is None else passes * share * once


def plan_text(costs: list[GroupCost], plan: Plan) -> str:
    """The plan as text: groups with their cost, each followed by its cells."""
    lines = []
    for cost in costs:
        lines.append(_group_line(cost, plan))
        lines += [f"  {cell.id}  {_cell_line(cell, cost)}" for cell in cost.cells]
    lines += [f"not planned: {note}" for note in plan.notes]
    lines += [f"not planned: control {one.control} on {one.cohort}: {one.reason}" for one in plan.skipped_controls]
    lines += [f"cannot be planned: {failure.what}: {failure.reason}" for failure in plan.failures]
    cells = sum(len(cost.cells) for cost in costs)
    finished = sum(cost.finished for cost in costs)
    encoded = any(_reads_features(cost) for cost in costs)
    encoding = f"; about {_duration(sum(cost.seconds for cost in costs))} of encoding" if encoded else ""
    training = [seconds for cost in costs for seconds in cost.training.values()]
    trained = f", at most {_duration(sum(filter(None, training)))} of training" if any(training) else ""
    unknown = f", {training.count(None)} cells whose training time is unknown" if None in training else ""
    lines.append(
        f"{cells} cells, {finished} of them finished{encoding}{trained}{unknown}"
        + ("; probes take seconds each." if encoded else ".")
    )
    return "\n".join(lines)


def _group_line(cost: GroupCost, plan: Plan) -> str:
    first = cost.cells[0]
    if first.encoder is None:
        what = "controls" if all(cell.facts["control"] for cell in cost.cells) else "networks from scratch"
        return f"{what} on {first.facts['cohort']}: about {cost.slices} slices ({plan.device})"
    encoding = f", about {_duration(cost.seconds)} to encode unless stored" if _reads_features(cost) else ""
    located = first.encoder.located
    return (
        f"{first.facts['backbone']} on {first.facts['cohort']}: about {cost.slices} slices × "
        f"{cost.gflop_per_slice:.3g} GFLOP ({located.lazy.dtype}, {located.device}){encoding}"
    )


def _reads_features(cost: GroupCost) -> bool:
    return any(cell.job.protocol.reads == "features" for cell in cost.cells)


def _cell_line(cell: Cell, cost: GroupCost) -> str:
    drawn = f", {cell.job.draw.words}, repeat {cell.job.draw.repeat}" if cell.job.draw else ""
    seconds = cost.training.get(cell.id)
    trains = "" if not seconds else f", trains at most {_duration(seconds)}"
    control = ", control" if cell.facts["control"] else ""
    return f"{cell.facts['label']}{drawn}{control}, seed {cell.seed}{trains}"


def _count_slices(prepared: PreparedCohort, settings: Settings) -> int:
    """The number of slices of the cohort, estimated from a few images, which are then in the slice cache."""
    from radapt.errors import DataError
    from radapt.images import SliceCache

    cache = SliceCache(settings.cache)
    images = [(location, name) for case in prepared.cohort for name, location in case.images.items()]
    counts = []
    for index in np.unique(np.linspace(0, len(images) - 1, _SAMPLED_IMAGES, dtype=int)):
        try:
            counts.append(len(cache.planes(images[index][0], prepared.recipe, images[index][1])))
        except DataError:
            continue  # `radapt check` and the run report it
    return round(float(np.mean(counts)) * len(images)) if counts else 0


def _gflop_per_slice(encoder: CellEncoder, prepared: PreparedCohort) -> float:
    """Counted on meta tensors: nothing is allocated or computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from radapt.backbones.build import build

    patch = encoder.located.card.patch
    size = [max(1, round(side / patch)) * patch for side in prepared.recipe.size]
    module = build(encoder.located.card)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.empty(1, 3, *size, device="meta"))
    return counter.get_total_flops() / 1e9


def _flops_per_second(dtype: str, device: str) -> float:
    """The measured speed of a matrix product of the size that an encoder uses."""
    import torch

    side = 1024
    matrix = torch.rand(side, side, device=device).to(getattr(torch, dtype))
    _multiply(matrix, 3)
    start, repeats = time.perf_counter(), 0
    while time.perf_counter() - start < 0.2:
        _multiply(matrix, 5)
        repeats += 5
    return _EFFICIENCY * repeats * 2 * side**3 / (time.perf_counter() - start)


def _multiply(matrix: "torch.Tensor", times: int) -> None:
    import torch

    for _ in range(times):
        product = matrix @ matrix
    if product.is_cuda:
        torch.cuda.synchronize()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
