"""The commands and studies behind the page of results, without the paths of the machine that ran them."""

import json
from pathlib import Path, PurePath
from typing import Any

import yaml

from radapt.parsing.strict_yaml import read_yaml
from radapt.studies.study import Study

PLAIN = ("random", "hub", "package")
"""Weights that are no path."""


def command_of(folder: Path) -> tuple[str, list[str]]:
    """The name of a run, and the lines with its command and study. Raises UsageError for a study file that is none."""
    if (folder / "study.yaml").is_file():
        study = read_yaml(folder / "study.yaml", Study, "study file")
        first = f"`radapt run {study.name}.yaml --out runs/{study.name}`, where the study is"
        return study.name, [first, "", "```yaml", compact(study).rstrip(), "```", ""]
    facts = json.loads((folder / "adapt.json").read_text(encoding="utf-8"))
    name = f"{facts.get('cohort')}-adapted"
    return name, [f"`radapt adapt cohort.yaml --backbone {facts.get('backbone')} --out runs/{name}`", ""]


def compact(study: Study) -> str:
    """A study as YAML without defaults; of a path the last folder and the file remain."""
    plain = study.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    plain["cohorts"] = ["/".join(PurePath(name).parts[-2:]) for name in study.cohorts]
    plain["protocols"] = [_protocol(entry) for entry in plain["protocols"]]
    for entry in plain.get("backbones", ()):
        weights = entry.get("weights")
        if weights is not None and weights.split(":")[0] not in PLAIN:
            entry["weights"] = PurePath(weights).name
    plain["backbones"] = [entry["name"] if set(entry) == {"name"} else entry for entry in plain.get("backbones", ())]
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _protocol(entry: dict[str, Any]) -> Any:
    """As a study file writes it: `knn`, `{knn: {…}}` or `{knn: {…}, title: …}`."""
    options, title = entry.get("options") or {}, entry.get("title")
    if not options and title is None:
        return entry["name"]
    return {entry["name"]: options, **({} if title is None else {"title": title})}
