"""The page of one adaptation, from the folder that `radapt adapt` wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from radapt.durable import write_text
from radapt.errors import UsageError
from radapt.reports import cohort_facts
from radapt.reports.adaptations import Adaptation, adaptation_of
from radapt.reports.methods import Method
from radapt.reports.numbers import counted
from radapt.reports.report import FILE, asset, environment, script_hash
from radapt.reports.run_folder import ADAPTATION, Cell, Facts
from radapt.reports.subset_views import SubsetView, subset_views
from radapt.versions import __version__

RANDOM = "random"
_MADE_FROM = (
    ("Backbone", "backbone"), ("Preset", "preset"), ("Sequences it knows", "modalities"), ("Answers", "outputs"),
    ("Seed", "seed"), ("Number format", "precision"), ("Device", "device"),
)  # fmt: skip


@dataclass(frozen=True)
class AdaptPage:
    """All that the page says."""

    name: str
    backbone: str
    facts: tuple[tuple[str, Any], ...]
    options: tuple[tuple[str, Any], ...]
    adaptation: Adaptation
    views: tuple[SubsetView, ...]
    source: Facts

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, one sentence per test set."""
        return self.views[0].details[0].sentences if self.views and self.views[0].details else ()

    @property
    def synthetic(self) -> bool:
        return cohort_facts.is_synthetic({"source": self.source})


def write_adapt_report(folder: Path) -> Path:
    """(Re)write `report.html` in the `folder` of an adaptation and return its path.

    Reads `adapt.json`, and `subsets.parquet` and `shapley.parquet` where they are; the same files give the same bytes.
    Raises UsageError if `folder` is not of an adaptation, DataError if a file in it is damaged.
    """
    folder = Path(folder)
    write_text(folder / FILE, _render(_page(folder)))
    return folder / FILE


def _page(folder: Path) -> AdaptPage:
    cell = Cell(folder.name, folder, {}, done={})
    facts = cell.adaptation
    if facts is None:
        raise UsageError(f"{folder} is not of an adaptation: it has no {ADAPTATION}. Give the --out of `radapt adapt`.")
    backbone = str(facts.get("backbone") or "?")
    name = str(facts.get("cohort") or folder.resolve().name)
    preset = f"adapted ({facts['preset']})" if facts.get("preset") else "adapted"
    contestant = Method(folder.name, name, backbone, preset, None, (cell,))
    return AdaptPage(
        name,
        backbone,
        tuple(_pairs(facts)),
        tuple(sorted((facts.get("options") or {}).items())),
        adaptation_of(facts),
        subset_views([contestant]),
        facts.get("source") or {},
    )


def _pairs(facts: Facts) -> list[tuple[str, Any]]:
    """What it was made from and what it took, in words."""
    trained, counts = facts.get("trained") or {}, facts.get("counts") or {}
    pairs = [(title, facts[key]) for title, key in _MADE_FROM if facts.get(key) not in (None, "", [])]
    if counts:
        patients, cases = (
            counted(int(counts.get("patients") or 0), "patient"),
            counted(counts.get("cases") or 0, "case"),
        )
        pairs.append(("Learned from", f"{patients}, {cases}, {int(counts.get('labelled') or 0):,} labelled"))
        if counts.get("with"):
            pairs.append(("Training cases with", "; ".join(f"{key} {n:,}" for key, n in counts["with"].items())))
    if trained.get("parameters"):
        share = f"{trained.get('trained_parameters') or 0:,} of {trained['parameters']:,}"
        pairs.append(("Trained parameters", share))
    if trained.get("steps"):
        pairs.append(("Steps", f"{trained['steps']:,} in {counted(int(trained.get('epochs') or 0), 'epoch')}"))
    return pairs


def _render(page: AdaptPage) -> str:
    trained = page.adaptation.facts.get("trained") or {}
    weights = str(page.adaptation.facts.get("weights") or page.backbone)
    scripts = (asset("report.js"),)
    return (
        environment()
        .get_template("adapt.html")
        .render(
            page=page,
            views=page.views,
            one=page.adaptation,
            random_weights=[page.backbone] if RANDOM in weights else [],
            seconds=trained.get("seconds"),
            memory=trained.get("peak_memory_mb"),
            version=__version__,
            data={"metrics": {}, "metric": None, "backbones": [], "parts": []},
            style=Markup(asset("report.css")),
            scripts=[Markup(script) for script in scripts],
            hashes=" ".join(f"'sha256-{script_hash(script)}'" for script in scripts),
        )
    )
