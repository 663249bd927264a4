"""The choice for a stated time: made once, kept in the folder of the adaptation, and found again by whoever resumes."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from radapt.backbones import LocatedBackbone
from radapt.cohorts.cohort import Cohort
from radapt.cohorts.folds import all_train
from radapt.digests import digest
from radapt.durable import write_json
from radapt.errors import UsageError
from radapt.images import Recipe, SliceCache
from radapt.mmdino.options import Options
from radapt.mmdino.protocol import MmDino
from radapt.mmdino.time_budget.estimate import PARTS, Estimate, Part, TimePlan, Work, choose, estimate
from radapt.mmdino.time_budget.measure import Bench, measured
from radapt.mmdino.training_labels import has_two_labels
from radapt.protocols.image_problem import Machine

PLAN = "hours.json"


def check_hours(protocol: MmDino, hours: float) -> None:
    """Raises UsageError for a time out of range, and for options that say the length of the training themselves."""
    if not 0 < hours <= 10_000:
        raise UsageError(f"--hours {hours:g}: expected a number of hours above 0, such as 0.5.")
    options, usual = protocol.options, Options()
    fixed = [name for name in ("epochs", "steps") if getattr(options, name) != getattr(usual, name)]
    fixed += [f"fusion: {{{name}}}" for name in ("epochs", "steps")
              if getattr(options.fusion, name) != getattr(usual.fusion, name)]  # fmt: skip
    if fixed:
        raise UsageError(f"--hours chooses how long to train, and --set {fixed[0]} does too; leave one of them out.")


def candidates(protocol: MmDino, found: LocatedBackbone, cohort: Cohort, devices: int = 1) -> tuple[Part, ...]:
    """What may be trained: what the options say, or with `trained: auto` all that suits the encoder and the cohort.

    Stored tokens need an encoder that is trained already, labels, and one process. Options of `full` leave `full` and
    `lora`, those of a fusion's network leave `partial` out. Raises UsageError if nothing suits.
    """
    options = protocol.options
    if options.trained != "auto":
        return (options.trained,)
    pretrained = found.source.kind != "random" and not found.lazy.modalities and has_two_labels(cohort)
    stores = pretrained and devices == 1 and not options.changed_for_full
    parts = [part for part in PARTS if part in ("full", "lora") or stores]
    if options.changed_for_fusion:
        parts = [part for part in parts if part != "partial"]
    suited = tuple(part for part in parts if replace(protocol, options=_of(options, part)).suits(found.card))
    if not suited:
        protocol.check_suits(found.card)  # says why
    return suited


def planned(
    hours: float, folder: Path, asked: dict[str, Any], protocol: MmDino, found: LocatedBackbone, cohort: Cohort,
    recipe: Recipe, cache: Path, machine: Machine, say: Callable[[str], None],
) -> TimePlan:  # fmt: skip
    """The plan of an adaptation that is asked for with the facts `asked`: the one in `folder` if it was made for the
    same, else a new one, after some seconds of measuring.

    Raises UsageError where nothing fits, DataError for images that cannot be read.
    """
    wanted = digest(asked)
    stored = _stored(folder / PLAN, hours, wanted)
    if stored is not None:
        return stored
    whole = all_train(cohort) if cohort.folds else cohort
    parts = candidates(protocol, found, whole, machine.devices)
    say(f"Measuring {', '.join(parts)} on this machine …")
    backbone = found.lazy.load_as("float32")
    bench, work = Bench.of(whole, backbone, recipe, SliceCache(cache), machine.precision), Work.of(cohort)
    estimates = []
    for part in parts:
        options = _of(protocol.options, part)
        cost = measured(part, options, bench, whole)
        cost = replace(cost, step=cost.step / machine.devices)  # which share every batch
        estimates.append(estimate(part, options, work, cost, hours))
        say(f"  {estimates[-1].line}")
    plan = choose(hours, estimates, wanted)
    say(plan.note)
    return plan


def write_plan(folder: Path, plan: TimePlan) -> None:
    """Beside the request, before the training begins."""
    write_json(folder / PLAN, asdict(plan))


def _of(options: Options, part: Part) -> Options:
    return options if options.trained == part else replace(options, trained=part)


def _stored(path: Path, hours: float, asked: str) -> TimePlan | None:
    """None where there is none, or one of another request, or of another version of radapt."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        estimates = tuple(Estimate(**{each.name: row[each.name] for each in fields(Estimate)})
                          for row in kept["estimates"])  # fmt: skip
        plan = TimePlan(kept["hours"], kept["asked"], estimates, kept["trained"])
        return plan if (plan.asked, plan.hours) == (asked, hours) and plan.chosen.epochs else None
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
