"""A cell in the trackers of its study: what is trained in it, and its results."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from radapt.studies.cells import Cell
from radapt.studies.ledger import Ledger
from radapt.studies.plan import Settings
from radapt.studies.study import Study
from radapt.trackers import Tracking, Where, tracking

if TYPE_CHECKING:
    import pandas as pd

_FACTS = ("cohort", "backbone", "label", "seed", "shots", "fraction", "repeat", "control")


def tracked_cell(
    study: Study, settings: Settings, ledger: Ledger, cell: Cell
) -> AbstractContextManager[Tracking | None]:
    """The trackers of the study file and of the command, open for one cell."""
    places = dict.fromkeys([*(Where.of(text) for text in study.track), *settings.track])
    facts = {name: str(value) for name in _FACTS if (value := cell.facts.get(name)) not in (None, "")}
    return tracking(list(places), cell.id, cell.title, ledger.cell(cell.id), {"study": study.name, **facts})


def result_numbers(scores: "pd.DataFrame") -> dict[str, float]:
    """`<split>/<metric>` with its value and interval, of whole tasks and test sets."""
    found: dict[str, float] = {}
    for row in scores.to_dict("records"):
        name = f"{row['split']}/{row['metric']}"
        if ":" not in name:
            found |= {name: row["value"], f"{name}_ci_low": row["ci_low"], f"{name}_ci_high": row["ci_high"]}
    return found
