"""The model card of an exported model in the format of the Hugging Face hub: `README.md` with its metadata as YAML."""

from typing import Any

import yaml

from radapt.deploy.deployment import Deployment, EvaluationScore
from radapt.deploy.masks.mask_certainty import MaskCertainty, sentences_of
from radapt.errors import counted
from radapt.licences import use_of
from radapt.metrics.registry import METRICS
from radapt.versions import __version__

_TASKS = {"classification": "image-classification", "segmentation": "image-segmentation"}


_USES = {
    "commercial": "These licences allow commercial use.",
    "non-commercial": "It may be used for non-commercial purposes only.",
    "unknown": "Whether it may be used commercially is not known: a licence is not stated, or has terms of its own.",
}


def model_card(
    deployment: Deployment, outputs: tuple[str, ...], structures: tuple[str, ...], masks: MaskCertainty | None = None
) -> str:
    """The text of the card."""
    front = yaml.safe_dump(_metadata(deployment), sort_keys=False, allow_unicode=True, width=1000)
    parts = [f"# {deployment.name}", deployment.intended_use, _predicts(deployment, outputs, structures)]
    parts += [
        _why(deployment),
        _scores(deployment),
        _predicted_dice(masks),
        _training(deployment),
        _licences(deployment),
        _use(deployment),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(filter(None, parts)) + "\n"


def _metadata(deployment: Deployment) -> dict[str, Any]:
    # A hub licence names one document; a model that inherits terms from several has none of its own.
    found: dict[str, Any] = {"license": "other", "license_name": "see-licences", "library_name": "radapt"}
    found["pipeline_tag"] = _TASKS[deployment.aim]
    found["tags"] = ["radapt", "medical-imaging", deployment.kind, "research-use-only"]
    if deployment.training is not None:
        found["datasets"] = [deployment.training.cohort]
    if results := _results(deployment):
        found["model-index"] = [{"name": deployment.name, "results": results}]
    return found


def _results(deployment: Deployment) -> list[dict[str, Any]]:
    cohort = deployment.training.cohort if deployment.training else deployment.name
    unit, found = _unit(deployment), []
    for split in dict.fromkeys(score.split for score in deployment.scores):
        rows = [score for score in deployment.scores if score.split == split and score.value is not None]
        if rows:
            found.append(
                {
                    "task": {"type": _TASKS[deployment.aim]},
                    "dataset": {"name": f"{cohort}, {split}", "type": cohort, "split": split},
                    "metrics": [{"type": row.metric, "value": row.value, "name": _named(row, unit)} for row in rows],
                }
            )
    return found


def _unit(deployment: Deployment) -> str:
    """What the counts and intervals are of: `patient`, or `image` where patients are unknown."""
    return deployment.training.unit if deployment.training else "patient"


def _named(row: EvaluationScore, unit: str) -> str:
    title = METRICS[row.metric].title if row.metric in METRICS else row.metric
    return f"{title} ({_interval(row)}{counted(row.n_patients, unit)})"


def _interval(row: EvaluationScore) -> str:
    if row.ci_low is None or row.ci_high is None:
        return ""
    return f"95 % CI {row.ci_low:.3f} to {row.ci_high:.3f}, "


def _predicts(deployment: Deployment, outputs: tuple[str, ...], structures: tuple[str, ...]) -> str:
    read = ", ".join(f"`{each.name}`" for each in deployment.sequences) or "the table of cases"
    what = f"Draws {', '.join(structures)}" if structures else f"Predicts {', '.join(outputs)}"
    several = f" It is the mean of {len(deployment.members)} models." if len(deployment.members) > 1 else ""
    missing = " Any of them may be missing." if len(deployment.sequences) > 1 else ""
    return f"## What it does\n\n{what} from {read}.{missing} Method: {deployment.method}.{several}"


def _why(deployment: Deployment) -> str:
    selection = deployment.selection
    if selection is None:
        return ""
    rows = [
        f"| {each.backbone} | {each.method} | {each.seed} | {'' if each.score is None else f'{each.score:.3f}'} |"
        for each in selection.candidates
    ]
    head = f"| backbone | method | seed | {selection.metric}, {selection.source} |\n|---|---|---|---|"
    return "\n".join([f"## Why this one\n\n{selection.why}\n", head, *rows])


def _scores(deployment: Deployment) -> str:
    if not deployment.scores:
        return ""
    unit, oof = _unit(deployment), any(score.split == "oof" for score in deployment.scores)
    note = (
        f"Scores of `oof` are those of each member on the {unit}s that it did not learn from; their mean, which this "
        f"folder predicts with, has no test {unit}s left.\n\n"
        if oof and len(deployment.members) > 1
        else ""
    )
    rows = [
        f"| {score.split} | {METRICS[score.metric].title if score.metric in METRICS else score.metric} | "
        f"{'undefined' if score.value is None else f'{score.value:.3f}'} | {_interval(score).rstrip(', ')} | "
        f"{score.n_patients} |"
        for score in deployment.scores
    ]
    head = f"| test set | metric | value | interval | {unit}s |\n|---|---|---|---|---|"
    chosen = "Scores of `val` are optimistic: choices were made on it.\n\n"
    chosen = chosen if any(score.split == "val" for score in deployment.scores) else ""
    if unit != "patient":
        chosen += "Patients are unknown: each image counts as a patient, so intervals may be too narrow.\n\n"
    return "\n".join([f"## How good it was in its study\n\n{note}{chosen}{head}", *rows])


def _predicted_dice(masks: MaskCertainty | None) -> str:
    if masks is None:
        return ""
    rows = "\n".join(f"- {line}" for line in sentences_of(masks.predictors, masks.alpha))
    return (
        "## How well it knows its own masks\n\nWith each mask it predicts the Dice of each structure, with a lower "
        f"bound, from its probabilities. On patients that it did not learn from ({masks.source}):\n\n{rows}"
    )


def _training(deployment: Deployment) -> str:
    facts = deployment.training
    if facts is None:
        return ""
    sites = "; ".join(f"{site} {count}" for site, count in facts.sites.items()) or "unknown"
    named = f" ({facts.title})" if facts.title else ""
    notes = "".join(f" {note}" for note in deployment.notes)
    learned = f"{counted(facts.patients, facts.unit)}, {counted(facts.cases, 'case')}"
    return (
        f"## What it learned from\n\nCohort `{facts.cohort}`{named}: {learned}. {facts.unit.capitalize()}s by site: "
        f"{sites}. The folder holds features and keys of these cases where it says so, and no images.{notes}"
    )


def _licences(deployment: Deployment) -> str:
    rows = [f"| {link.part} | {link.name} | {link.licence} |" for link in deployment.licences]
    if not rows:
        return ""
    terms = ", ".join(deployment.inherits) or "nothing beyond attribution"
    use = _USES[use_of([link.licence for link in deployment.licences])]
    return "\n".join(
        ["## Licences\n", "| part | name | licence |\n|---|---|---|", *rows, "", f"The model inherits: {terms}. {use}"]
    )


def _use(deployment: Deployment) -> str:
    del deployment
    return (
        "## Use\n\n```\nradapt predict MODEL PATIENTS --out predictions\n```\n\n"
        f"Made by radapt {__version__}. `deployment.json` holds the digest of every file."
    )
