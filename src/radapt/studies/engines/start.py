"""Run a study on an engine: check it here, send its shares away, and join what comes back."""

from collections.abc import Iterator, Mapping

from radapt.errors import UsageError
from radapt.progress import ProgressMaker
from radapt.studies.engines.on_devices import run_on_devices
from radapt.studies.engines.on_ray import run_on_ray
from radapt.studies.engines.on_slurm import run_on_slurm
from radapt.studies.engines.shares import Engine, Resources, Shares
from radapt.studies.ledger import Ledger
from radapt.studies.part import Part
from radapt.studies.plan import Plan, Settings, StudyFailure, plan_study
from radapt.studies.run import Outcome, run_study

Ended = Outcome | StudyFailure


def run_on_engine(
    engine: Engine, shares: Shares, resources: Resources, slurm: Mapping[str, str], progress: ProgressMaker
) -> Outcome:
    """Run the cells of a study by several workers, on this machine or others that see the same folders.

    The study is planned here first, so that what is wrong with it is said before anything is sent away, and weights
    are downloaded where there is a network. A worker that dies is begun again; what it left is also taken over by the
    others. The numbers are those of one process.

    Raises UsageError for a study that cannot be planned, and for an engine that is missing or has not the resources.
    """
    if slurm and engine != "slurm":
        raise UsageError("--slurm is for --engine slurm.")
    plan = _plan(shares)
    ended = run_on_ray(shares, resources) if engine == "ray" else run_on_slurm(shares, resources, slurm)
    return _joined(plan, ended, shares, progress)


def run_here(shares: Shares, settings: Settings) -> Outcome:
    """Run the cells of a study on the devices of this machine: one cell on each at a time, in as many processes as
    there are `workers`, or where fewer cells are unfinished, one after the other on all devices.

    Raises UsageError for a study that cannot be planned.
    """
    plan, part = _plan(shares), Part(pattern=shares.cells)
    ledger = Ledger(shares.folder)
    if sum(not ledger.is_done(cell.id) for cell in part.of(plan.cells)) < shares.workers:
        return run_study(shares.described, shares.folder, settings, part)
    return _joined(plan, run_on_devices(shares), shares, settings.progress)


def _plan(shares: Shares) -> Plan:
    Ledger(shares.folder).refuse_foreign()
    return plan_study(shares.described, shares.settings, download=True)


def _joined(plan: Plan, ended: Iterator[Ended], shares: Shares, progress: ProgressMaker) -> Outcome:
    ledger, own = Ledger(shares.folder), Part(pattern=shares.cells).of(plan.cells)
    already = sum(ledger.is_done(cell.id) for cell in own)
    outcomes = list(_followed(ended, shares, progress))
    finished = sum(ledger.is_done(cell.id) for cell in own) - already
    open_ = sum(not ledger.is_done(cell.id) for cell in plan.cells if cell not in own)
    return Outcome(shares.folder, len(own), already, finished, _failures(outcomes), open=open_)


def _followed(ended: Iterator[Ended], shares: Shares, progress: ProgressMaker) -> Iterator[Ended]:
    with progress(shares.workers, f"Workers of {shares.folder.name}", "workers") as advance:
        for each in ended:
            advance(1)
            yield each


def _failures(outcomes: list[Ended]) -> tuple[StudyFailure, ...]:
    """Each once: what cannot be planned is reported by every worker."""
    found = [each.failures if isinstance(each, Outcome) else (each,) for each in outcomes]
    return tuple(dict.fromkeys(failure for failures in found for failure in failures))
