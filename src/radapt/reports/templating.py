"""The Jinja environment of every page, its filters, and the files under `page/`."""

import base64
import gzip
import hashlib
import io
import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from radapt.licences import use_of
from radapt.reports import formatting
from radapt.reports.leaderboard import placed, split_title
from radapt.reports.metric_info import metric_of

REPORT_FILE = "report.html"
_MOST_PAIRS, _MOST_ITEMS = 20, 16
_MOST_EXACT_BYTES = 6000


def render(template: str, scripts: tuple[str, ...], libraries: tuple[str, ...] = (), **values: Any) -> str:
    """The page from `template`, with the style sheet and `scripts` inlined and the scripts' hashes in its policy.

    `scripts` are trusted as they are and must hold no text of the run; `values` are escaped. `libraries` are scripts
    that the policy allows too, but that the template embeds compressed, for another script to start.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=Markup(asset("report.css")),
            scripts=[Markup(script) for script in scripts],
            libraries=libraries,
            hashes=" ".join(f"'sha256-{_script_hash(script)}'" for script in (*scripts, *libraries)),
        )
    )


def asset(name: str) -> str:
    """The text of a template, style sheet or script."""
    return (resources.files("radapt.reports") / "page" / name).read_text(encoding="utf-8")


def has_random_weights(facts: Any) -> bool:
    """Whether a backbone was never trained, so that its scores describe the pipeline and not the model."""
    kind = facts.get("source_kind") or facts.get("kind")
    return kind == "random" or str(facts.get("identity", "")).startswith("random")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": formatting.shown,
        "counted": formatting.counted,
        "duration": formatting.duration,
        "embedded": _embedded,
        "packed": _packed,
        "squeezed": _squeezed,
        "breakable": _breakable,
        "plainly": _plainly,
        "titled": split_title,
        "placed": placed,
        "fit_pairs": fit_pairs,
    }
    environment.globals |= {
        "interval": formatting.interval,
        "defined": formatting.defined,
        "metric_of": metric_of,
        "use_of": use_of,
        "has_random_weights": has_random_weights,
    }
    return environment


def _packed(value: Any) -> str:
    """JSON, compressed by gzip, in Base64."""
    return _squeezed(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _squeezed(text: str) -> str:
    """A text, compressed by gzip, in Base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _breakable(name: str) -> Markup:
    """A name that may break after brackets, commas and equals signs, as it may lack spaces."""
    return Markup(re.sub(r"([(,=])", r"\1<wbr>", str(escape(name))))


def _plainly(value: Any) -> str:
    """A JSON value as readable text."""
    if value is None or value == "":
        return formatting.DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", formatting.MINUS)
    if isinstance(value, list | tuple):
        return ", ".join(_plainly(item) for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{name} {_plainly(item)}" for name, item in value.items())
    return str(value)


_BEFORE = "notes_before_refit"
_NAMES = {_BEFORE: "notes on the model without val"}


def fit_pairs(fit: Any) -> list[tuple[str, str]]:
    """The record of a fit (see `FitRecord`) as (name, value): the chosen candidate, then the rest.

    Groups are flattened, candidates and epochs counted, empty values left out, long lists cut. Notes on the model that
    was chosen, before it was fitted again with val, are those on the final one where they are the same.
    """
    own = {_NAMES.get(name, name): value for name, value in fit.items()} if isinstance(fit, dict) else fit
    if isinstance(fit, dict) and fit.get(_BEFORE) == fit.get("notes"):
        own.pop(_NAMES[_BEFORE], None)
    pairs = _winner_pairs(fit) + _pairs(own, "")
    more = len(pairs) - _MOST_PAIRS
    return pairs if more <= 0 else [*pairs[:_MOST_PAIRS], ("and", f"{more} more in cell.json")]


def _winner_pairs(fit: Any) -> list[tuple[str, str]]:
    try:
        winner = fit["candidates"][fit["chosen"]]
        named = {**winner["options"], **{f"val {name}": value for name, value in winner["val"].items()}}
    except (AttributeError, IndexError, KeyError, TypeError):  # a damaged file: the page shows what it can
        return []
    return _pairs({**named, **{name: winner.get(name) for name in ("best_epoch", "epochs", "steps")}}, "")


def _pairs(value: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        inner = {f"{name} {key}".strip().replace("_", " "): one for key, one in value.items() if key != "chosen"}
        return [pair for full, one in inner.items() for pair in _pairs(one, full)]
    if value is None or value == []:
        return []
    if isinstance(value, list) and isinstance(value[0], dict):
        return [(name, f"{len(value)}, listed in cell.json")]
    return [(name, _cut(value))]


def _cut(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > _MOST_ITEMS:
        return f"{_plainly(value[:_MOST_ITEMS])}, … ({len(value)} values in cell.json)"
    return _plainly(value)


def _embedded(file: Path) -> str:
    """A PNG as a data URI: as WebP, without loss where that is small, as it is for few colours."""
    exact, lossy = io.BytesIO(), io.BytesIO()
    with Image.open(file) as picture:
        picture.save(exact, format="WEBP", lossless=True, quality=0, method=0)
        if exact.tell() > _MOST_EXACT_BYTES:
            picture.convert("RGB").save(lossy, format="WEBP", quality=80, method=2)
    content = lossy.getvalue() or exact.getvalue()
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def _script_hash(script: str) -> str:
    """The hash by which a content security policy allows an inlined script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
