"""Run a study on an engine: check it here, send its shares away, and join what comes back."""

from collections.abc import Iterator, Mapping

from radapt.errors import UsageError
from radapt.progress import ProgressMaker
from radapt.studies.engines.on_ray import run_on_ray
from radapt.studies.engines.on_slurm import run_on_slurm
from radapt.studies.engines.shares import Engine, Resources, Shares
from radapt.studies.ledger import Ledger
from radapt.studies.part import Part
from radapt.studies.plan import StudyFailure, plan_study
from radapt.studies.run import Outcome

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
    ledger = Ledger(shares.folder)
    ledger.refuse_foreign()
    plan = plan_study(shares.described, shares.settings, download=True)
    own = Part(pattern=shares.cells).of(plan.cells)
    already = sum(ledger.is_done(cell.id) for cell in own)
    ended = run_on_ray(shares, resources) if engine == "ray" else run_on_slurm(shares, resources, slurm)
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
