"""From a run folder to `report.html`: everything inlined, nothing fetched, no script that is not ours."""

import base64
import hashlib
import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from radapt.durable import write_text
from radapt.reports import numbers
from radapt.reports.chapters import chapter
from radapt.reports.charts import metric_facts
from radapt.reports.leaderboard import Leaderboard, boards
from radapt.reports.methods import contestants
from radapt.reports.run_folder import Run, read_run
from radapt.versions import __version__

FILE = "report.html"
_MOST_PAIRS, _MOST_ITEMS = 20, 16


def write_report(run: Path) -> Path:
    """(Re)write `report.html` in the run folder `run` and return its path.

    Reads nothing but the run folder, finished or not, and writes the same bytes for the same folder. Raises
    UsageError if `run` is no run folder, DataError if a file in it is damaged.
    """
    folder = Path(run)
    page = render(read_run(folder))
    write_text(folder / FILE, page)
    return folder / FILE


def render(run: Run) -> str:
    """The whole page as text."""
    found = boards(run)
    names = sorted({*run.cohorts, *(board.cohort for board in found), *(cell.cohort for cell in run.cells)})
    known = contestants(run)
    chapters = [
        chapter(run, name, index, [board for board in found if board.cohort == name], known)
        for index, name in enumerate(names)
    ]
    metrics = _metrics(found)
    data = {
        "metrics": metric_facts(metrics),
        "metric": chapters[0].primary if chapters else None,
        "backbones": sorted({one.backbone for one in known}),
        "parts": [part.charts for one in chapters for part in one.parts],
    }
    scripts = (_plotly(), asset("report.js"))
    return (
        environment()
        .get_template("report.html")
        .render(
            run=run,
            version=__version__,
            chapters=chapters,
            metrics=[numbers.metric_of(name) for name in metrics],
            random_weights=[name for name, facts in run.backbones.items() if has_random_weights(facts)],
            synthetic=[one.name for one in chapters if one.synthetic],
            seconds=sum(float((cell.done or {}).get("seconds") or 0) for cell in run.cells),
            waiting=run.count("waiting") + run.unnamed,
            data=data,
            style=Markup(asset("report.css")),
            scripts=[Markup(script) for script in scripts],  # ours and plotly's, no word of the run in them
            hashes=" ".join(f"'sha256-{script_hash(script)}'" for script in scripts),
        )
    )


def has_random_weights(facts: Any) -> bool:
    """Whether a backbone was never trained, so that its numbers describe the pipeline and not the model."""
    kind = facts.get("source_kind") or facts.get("kind")
    return kind == "random" or str(facts.get("identity", "")).startswith("random")


def _metrics(found: tuple[Leaderboard, ...]) -> list[str]:
    return numbers.ordered({name for board in found for name in board.metrics})


@cache
def environment() -> Environment:
    """What every page of the report is made with."""
    made = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "shown": numbers.shown,
        "counted": numbers.counted,
        "lasting": numbers.lasting,
        "embedded": _embedded,
        "breakable": breakable,
        "plainly": plainly,
        "chosen_pairs": chosen_pairs,
        "as_json": lambda value: json.dumps(value, ensure_ascii=False, default=str),
    }
    made.globals |= {
        "interval": numbers.interval,
        "defined": numbers.defined,
        "shown": numbers.shown,
        "metric_of": numbers.metric_of,
        "random_weights_of": has_random_weights,
    }
    return made


def breakable(name: str) -> Markup:
    """A name that may be broken after its brackets, commas and equals signs, where no space would let it."""
    return Markup(re.sub(r"([(,=])", r"\1<wbr>", str(escape(name))))


def plainly(value: Any) -> str:
    """A value of a JSON file as a reader would write it."""
    if value is None or value == "":
        return numbers.DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", numbers.MINUS)
    if isinstance(value, list | tuple):
        return ", ".join(plainly(item) for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{name} {plainly(item)}" for name, item in value.items())
    return str(value)


def chosen_pairs(chosen: Any, prefix: str = "") -> list[tuple[str, str]]:
    """What was chosen, as pairs of name and value: groups are opened, lists of candidates counted, long ones cut."""
    pairs: list[tuple[str, str]] = []
    for name, value in chosen.items() if isinstance(chosen, dict) else [("chosen", chosen)]:
        full = f"{prefix} {name}".strip().replace("_", " ")
        if isinstance(value, dict):
            pairs += chosen_pairs(value, "" if name == "winner" else full)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            pairs.append((full, f"{len(value)} tried, listed in cell.json"))
        else:
            pairs.append((full, _cut(value)))
    more = len(pairs) - _MOST_PAIRS
    return pairs if more <= 0 else [*pairs[:_MOST_PAIRS], ("and", f"{more} more in cell.json")]


def _cut(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > _MOST_ITEMS:
        return f"{plainly(value[:_MOST_ITEMS])}, … ({len(value)} values in cell.json)"
    return plainly(value)


def _embedded(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def asset(name: str) -> str:
    """A file of the page: a template, a style or a script."""
    return (resources.files("radapt.reports") / "page" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # Browsers turn CR LF into LF before they hash, and a closing tag inside the script would end it.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("</script", "<\\/script")


def script_hash(script: str) -> str:
    """What a content security policy names an inlined script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
