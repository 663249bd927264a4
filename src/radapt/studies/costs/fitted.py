"""The study that `--fit` chose for a run folder: chosen once, so that resumed runs and shards run the same."""

from pathlib import Path

from radapt.digests import digest
from radapt.durable import write_json, write_text
from radapt.parsing.json import read_json
from radapt.studies.costs.estimate import estimate
from radapt.studies.costs.fit import RESERVE, Choice, choose
from radapt.studies.costs.text import duration
from radapt.studies.ledger import FIT, FITTED, Ledger
from radapt.studies.plan import Settings, plan_study
from radapt.studies.study import Study, read_study

_WAIT_S = 600.0


def fitted_study(study: Study, folder: Path, settings: Settings, seconds: float) -> Choice:
    """The part of the study that fits, which is written to the run folder as `fitted.yaml`.

    The same study and time give what was chosen before. Raises UsageError if nothing fits.
    """
    ledger, asked = Ledger(folder), digest([study.resolved(), seconds])
    with ledger.locked(wait_s=_WAIT_S):
        stored = _stored(folder, asked)
        if stored is not None:
            return stored
        choice = choose(study, estimate(plan_study(study, settings), ledger, settings), seconds)
        write_text(folder / FITTED, choice.study.resolved())
        facts = {"asked": asked, "time": seconds, "seconds": choice.seconds, "dropped": choice.dropped}
        write_json(folder / FIT, facts | {"study": digest(choice.study.resolved())})
    return choice


def choice_text(choice: Choice, seconds: float) -> str:
    """What fits and what was left out, for a terminal."""
    head = f"--fit: about {duration(choice.seconds)} of {duration(seconds)}, of which {RESERVE:.0%} are kept in reserve"
    left = [f"  left out: {reason}" for reason in choice.dropped] or ["  nothing is left out"]
    return "\n".join([head, *left])


def _stored(folder: Path, asked: str) -> Choice | None:
    try:
        facts = read_json(folder / FIT)
        study = read_study(folder / FITTED)
        if facts["asked"] == asked and facts["study"] == digest(study.resolved()):
            return Choice(study, float(facts["seconds"]), tuple(map(str, facts["dropped"])))
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return None
