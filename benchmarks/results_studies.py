"""The commands and studies behind `results.py`'s page, without the paths of the machine that ran them."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from radapt.parsing.strict_yaml import read_yaml
from radapt.studies.study import Study

PLAIN = ("random", "hub", "package")
"""Weights that are no path."""

COHORTS = "Cohorts are those of `radapt scan`, as `studies/dinov2-radiology-small.yaml` says; paths are shortened."


def command_lines(folders: Sequence[Path], *, published: bool) -> list[str]:
    """A section with every command and study. Raises UsageError for a study file that is none."""
    lines = ["## Commands", "", COHORTS, ""]
    runs = []
    for folder in folders:
        if (folder / "study.yaml").is_file():
            study = read_yaml(folder / "study.yaml", Study, "study file")
            runs.append(f"runs/{study.name}")
            lines += [f"`radapt run {study.name}.yaml --out {runs[-1]}`, where the study is", ""]
            lines += ["```yaml", compact(study).rstrip(), "```", ""]
        else:
            facts = json.loads((folder / "adapt.json").read_text(encoding="utf-8"))
            runs.append(f"runs/{facts.get('cohort')}-adapted")
            lines += [f"`radapt adapt cohort.yaml --backbone {facts.get('backbone')} --out {runs[-1]}`", ""]
    figures = " --published published_numbers.csv" if published else ""
    return [*lines, f"`python benchmarks/results.py {' '.join(runs)} --out docs/results.md{figures}`", ""]


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
