"""What a run says about the topics of checklists, '' where it says nothing."""

from collections.abc import Sequence
from typing import Any

from radapt.reports.cohort_chapter import CohortChapter
from radapt.reports.formatting import counted
from radapt.reports.leaderboard import OUT_OF_FOLD
from radapt.reports.run_folder import Run
from radapt.reports.templating import has_random_weights


def evidence_of(run: Run, chapters: Sequence[CohortChapter]) -> dict[str, str]:
    """A sentence or two by topic. Each states what the run holds, never what a study ought to have done."""
    views = [view for chapter in chapters for view in chapter.test_sets]
    classified = any(view.board.aim == "classification" for view in views)
    leading = [view.leading for view in views if view.leading is not None and view.leading.method]
    topics = {answer.topic: f"{answer.question} {answer.text}" for one in leading[:1] for answer in one.answers}
    several = any(len(chapter.facts.get("modalities") or ()) > 1 for chapter in chapters)
    return {
        "data": _each(chapters, _data),
        "preprocessing": _each(chapters, lambda facts: str(facts.get("recipe") or "")),
        "missing": _each(chapters, _missing) if several else "",
        "partition": _each(chapters, _partition),
        "level": _each(chapters, _level),
        "counts": _each(chapters, _counts),
        "labels": _each(chapters, _labels),
        "model": _models(run, chapters),
        "weights": _weights(run),
        "software": _software(run),
        "training": _training(run),
        "selection": _chosen(leading),
        "metrics": _metrics(views),
        "uncertainty": _uncertainty(leading),
        "significance": topics.get("next", ""),
        "result": " ".join(one.answers[0].text for one in leading),
        "internal": _internal(views),
        "external": _external(views),
        "sites": topics.get("sites", ""),
        "several sites": _each(chapters, _sites),
        "sequences": topics.get("sequences", ""),
        "simpler": topics.get("controls", ""),
        "groups": _groups(chapters),
        "calibration": _calibration(
            classified and any(chart for c in chapters for s in c.sections for chart in s.charts.get("reliability", ()))
        ),
        "failures": _failures(chapters),
        "seeds": _seeds(run),
        "files": _files(run),
    }


def _each(chapters: Sequence[CohortChapter], said: Any) -> str:
    parts = [(chapter.name, said(chapter.facts)) for chapter in chapters if chapter.facts]
    parts = [(name, text) for name, text in parts if text]
    return " ".join(text if len(chapters) == 1 else f"{name}: {text}" for name, text in parts)


def _data(facts: Any) -> str:
    source = facts.get("source") or {}
    named = "; ".join(f"{name} {value}" for name, value in source.items() if value)
    return f"Source as the cohort file gives it: {named}." if named else ""


def _missing(facts: Any) -> str:
    total = {
        name: sum(
            int(((split or {}).get("missing") or {}).get(name, 0)) for split in (facts.get("splits") or {}).values()
        )
        for name in facts.get("modalities") or ()
    }
    absent = ", ".join(f"{name} in {count}" for name, count in total.items() if count)
    return f"Missing images by sequence: {absent} cases." if absent else "Every case has every sequence."


def _partition(facts: Any) -> str:
    how, seed = (facts.get("folds") or {}).get("how"), facts.get("split_seed")
    if how:
        return f"Every labelled patient was tested once, out of fold, {how}."
    if seed is None:
        return "Splits are those of the table of cases." if facts.get("splits") else ""
    return f"radapt drew the splits by patient, seed {seed}."


def _level(facts: Any) -> str:
    if not facts.get("splits"):
        return ""
    if str(facts.get("unit") or "patient") == "image":
        return "Patients are unknown, so splits are disjoint by image only."
    return "No patient is in two splits; radapt refuses a cohort in which one is."


def _counts(facts: Any) -> str:
    unit = str(facts.get("unit") or "patient")
    parts = [
        f"{split} {counted(int((own or {}).get('patients') or 0), unit)}"
        for split, own in (facts.get("splits") or {}).items()
        if (own or {}).get("patients")
    ]
    return f"{', '.join(parts)}." if parts else ""


def _labels(facts: Any) -> str:
    names = [*(facts.get("outputs") or ()), *(facts.get("mask_labels") or {}).values()]
    return f"Predicted: {', '.join(map(str, names))}." if names else ""


def _models(run: Run, chapters: Sequence[CohortChapter]) -> str:
    methods = {
        row.method.phrase
        for chapter in chapters for view in chapter.test_sets for rows in view.board.metrics.values() for row in rows
    }  # fmt: skip
    sizes = [
        f"{name} ({facts['parameters'] / 1e6:.1f} million parameters)"
        for name, facts in run.backbones.items()
        if isinstance(facts.get("parameters"), int | float)
    ]
    said = [f"Methods: {', '.join(sorted(methods))}."] if methods else []
    return " ".join([*said, f"Encoders: {', '.join(sizes)}."] if sizes else said)


def _weights(run: Run) -> str:
    parts = []
    for name, facts in run.backbones.items():
        if has_random_weights(facts):
            parts.append(f"{name}: random weights.")
        elif facts.get("identity"):
            trained = facts.get("pretraining") or "data that is not stated"
            listed = ", ".join(map(str, trained)) if isinstance(trained, list | tuple) else str(trained)
            parts.append(f"{name}: pretrained on {listed}, weights digest {facts['identity']}.")
    return " ".join(parts)


def _software(run: Run) -> str:
    names = ("radapt", "python", "torch", "timm", "monai", "numpy")
    parts = [f"{name} {run.environment[name]}" for name in names if run.environment.get(name)]
    return f"{', '.join(parts)}." if parts else ""


def _training(run: Run) -> str:
    fitted = [cell for cell in run.cells if cell.state == "done" and (cell.facts.get("fit") or cell.facts.get("folds"))]
    if not fitted:
        return ""
    runs = counted(len(fitted), "run")
    return f"Settings tried, those chosen and numbers of training cases are recorded for {runs}, in cell.json of each."


def _files(run: Run) -> str:
    runs = counted(run.count("done"), "finished run")
    return f"The run folder holds the study file, and predictions by case and kept models of {runs}."


def _chosen(leading: Sequence[Any]) -> str:
    by = {one.chosen_by for one in leading}
    said = {
        "val": "The reported method was chosen on validation patients, not on test patients.",
        "inner folds": "The reported method was chosen by cross-validation inside the training patients.",
        "these results": "The reported method is best on the patients it is reported on; nothing else could choose it.",
    }
    return " ".join(text for name, text in said.items() if name in by)


def _metrics(views: Sequence[Any]) -> str:
    names = list(dict.fromkeys(one.metric_title for view in views for one in view.answers.values() if one.metric))
    return f"{', '.join(names)}." if names else ""


def _uncertainty(leading: Sequence[Any]) -> str:
    with_interval = [one for one in leading if one.ci_low == one.ci_low]
    if not with_interval:
        return ""
    return f"95 % intervals from a bootstrap by {with_interval[0].unit}; the trained model is held fixed."


def _internal(views: Sequence[Any]) -> str:
    own = [view.board for view in views if view.board.split in ("test", OUT_OF_FOLD) and view.board.primary]
    return " ".join(
        f"{board.cohort}: {'out of fold' if board.split == OUT_OF_FOLD else 'a test set of the same cohort'}."
        for board in own
    )


def _external(views: Sequence[Any]) -> str:
    own = [view.board for view in views if view.board.split not in ("test", OUT_OF_FOLD) and view.board.primary]
    return " ".join(
        f"{board.cohort}: further test set “{board.split}”; whether it is external, its source must say."
        for board in own
    )


def _sites(facts: Any) -> str:
    sites = {name: count for name, count in (facts.get("sites") or {}).items() if name}
    return f"Cases by site: {', '.join(f'{name} {count}' for name, count in sites.items())}." if sites else ""


def _groups(chapters: Sequence[CohortChapter]) -> str:
    names = [
        column.column
        for chapter in chapters
        for section in chapter.sections
        for view in section.groups
        for column in view.columns
    ]
    return f"Scored in groups by {', '.join(dict.fromkeys(names))}." if names else ""


def _calibration(drawn: bool) -> str:
    return (
        "The report shows reliability diagrams, and the expected calibration error where it was computed."
        if drawn
        else ""
    )


def _failures(chapters: Sequence[CohortChapter]) -> str:
    shown = any(
        section.confusions or section.decisions or section.segmentations
        for chapter in chapters
        for section in chapter.sections
    )
    return (
        "The report counts errors by class, finding or structure; predictions of every case are stored."
        if shown
        else ""
    )


def _seeds(run: Run) -> str:
    seeds = sorted(
        {int(cell.facts["seed"]) for cell in run.cells if cell.state == "done" and cell.facts.get("seed") is not None}
    )
    return (
        f"Training was repeated with {len(seeds)} seeds; their spread stands in the report." if len(seeds) > 1 else ""
    )
