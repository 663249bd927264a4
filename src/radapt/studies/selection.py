"""By which metric the methods of a study are chosen, and their scores that a choice may look at."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any


def selection_metric(facts: Mapping[str, Any], task: str | None) -> str:
    """The metric that a study chooses by, from the facts of a cell and the task of its cohort."""
    if facts.get("aim") == "segmentation":
        return "dice"
    return str((facts.get("choices") or {}).get("select_by") or ("auroc" if task == "multilabel" else "mcc"))


def inner_score(facts: Mapping[str, Any], metric: str) -> float:
    """Of the inner folds: the mean over the models of a cohort's folds, each chosen without its own test patients.

    NaN without inner folds, and where the val of the cohort was chosen on, whose score is in the table of scores.
    Raises KeyError, IndexError or TypeError for facts that are no record of a fit.
    """
    records = [facts["fit"]] if facts.get("fit") else list((facts.get("folds") or {}).values())
    inner = [record for record in records if record["cases"]["val_source"] != "none" and record["cases"]["val"]]
    if not inner or len(inner) < len(records):
        return math.nan
    if facts.get("fit") and inner[0]["cases"]["val_source"] == "cohort":
        return math.nan
    scores = [record["candidates"][record["chosen"]]["val"].get(metric) for record in inner]
    return fmean(math.nan if score is None else score for score in scores)
