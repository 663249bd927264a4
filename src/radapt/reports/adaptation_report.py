"""Writes `report.html` in the folder of one `radapt adapt`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radapt.durable import write_text
from radapt.errors import UsageError
from radapt.reports import cohort_facts
from radapt.reports.formatting import counted
from radapt.reports.methods import Method
from radapt.reports.run_folder import ADAPTATION, CellRecord, Facts
from radapt.reports.subsets.views import SubsetView, subset_views
from radapt.reports.templating import REPORT_FILE, asset, render
from radapt.reports.training_history import TrainingHistory, training_history
from radapt.versions import __version__

RANDOM = "random"
_SETTINGS = (
    ("Backbone", "backbone"), ("Preset", "preset"), ("Sequences", "modalities"), ("Classes or findings", "outputs"),
    ("Seed", "seed"), ("Number format", "precision"), ("Device", "device"),
)  # fmt: skip


@dataclass(frozen=True)
class AdaptationPage:
    """The contents of the page."""

    name: str
    backbone: str
    facts: tuple[tuple[str, Any], ...]
    options: tuple[tuple[str, Any], ...]
    history: TrainingHistory
    views: tuple[SubsetView, ...]
    source: Facts

    @property
    def sentences(self) -> tuple[str, ...]:
        """The main result, one sentence per test set."""
        return self.views[0].details[0].sentences if self.views and self.views[0].details else ()

    @property
    def synthetic(self) -> bool:
        return cohort_facts.is_synthetic({"source": self.source})


def write_adapt_report(folder: Path) -> Path:
    """(Re)write `report.html` in the `folder` of an adaptation and return its path.

    Reads `adapt.json` and, if present, `subsets.parquet` and `shapley.parquet`; the same files give the same bytes.
    Raises UsageError if `folder` does not hold an adaptation, DataError if a file in it is damaged.
    """
    folder = Path(folder)
    write_text(folder / REPORT_FILE, _render(_page(folder)))
    return folder / REPORT_FILE


def _page(folder: Path) -> AdaptationPage:
    cell = CellRecord(folder.name, folder, {}, done={})
    facts = cell.adaptation
    if facts is None:
        raise UsageError(f"{folder} holds no adaptation: it has no {ADAPTATION}. Give the --out of `radapt adapt`.")
    backbone = str(facts.get("backbone") or "?")
    name = str(facts.get("cohort") or folder.resolve().name)
    preset = f"adapted ({facts['preset']})" if facts.get("preset") else "adapted"
    method = Method(folder.name, name, backbone, preset, None, (cell,))
    return AdaptationPage(
        name,
        backbone,
        tuple(_facts(facts)),
        tuple(sorted((facts.get("options") or {}).items())),
        training_history(facts),
        subset_views([method]),
        facts.get("source") or {},
    )


def _facts(facts: Facts) -> list[tuple[str, Any]]:
    """Settings, training cases and size of the training, as (name, value)."""
    trained, counts = facts.get("trained") or {}, facts.get("counts") or {}
    pairs = [(title, facts[key]) for title, key in _SETTINGS if facts.get(key) not in (None, "", [])]
    if counts:
        patients = counted(int(counts.get("patients") or 0), "patient")
        cases = counted(counts.get("cases") or 0, "case")
        pairs.append(("Training set", f"{patients}, {cases}, {int(counts.get('labelled') or 0):,} labelled"))
        if counts.get("with"):
            pairs.append(("Training cases with", "; ".join(f"{key} {n:,}" for key, n in counts["with"].items())))
    if trained.get("parameters"):
        share = f"{trained.get('trained_parameters') or 0:,} of {trained['parameters']:,}"
        pairs.append(("Trained parameters", share))
    if trained.get("steps"):
        pairs.append(("Steps", f"{trained['steps']:,} in {counted(int(trained.get('epochs') or 0), 'epoch')}"))
    return pairs


def _render(page: AdaptationPage) -> str:
    trained = page.history.facts.get("trained") or {}
    weights = str(page.history.facts.get("weights") or page.backbone)
    return render(
        "adaptation_report.html",
        (asset("report.js"),),
        page=page,
        views=page.views,
        history=page.history,
        random_weights=[page.backbone] if RANDOM in weights else [],
        seconds=trained.get("seconds"),
        memory=trained.get("peak_memory_mb"),
        version=__version__,
    )
