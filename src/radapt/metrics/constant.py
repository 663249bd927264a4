"""A classifier that answers the same for everybody, called by its name."""

import pandas as pd

DECISION = "decision"
"""The column of decided classes; with several findings `decision_<finding>` of 1 and 0."""


def constant_answer(predictions: pd.DataFrame) -> str | None:
    """What is said of every patient, as a phrase after the name of the method; None if answers differ.

    `predictions` are rows of `predictions.parquet`. None too for fewer than two patients, without decisions, and where
    the known truth is the same for all, so that one answer may be right. With several findings those that are answered
    alike for all are named, if they are more than half of them.
    """
    if "patient" not in predictions or predictions["patient"].nunique() < 2:
        return None
    if DECISION in predictions:
        answers = predictions[DECISION].unique()
        same_truth = "truth" in predictions and len(predictions["truth"].dropna().unique()) == 1
        return None if len(answers) > 1 or same_truth else f"answers {answers[0]} for every patient"
    columns = [str(name) for name in predictions]
    findings = [name.removeprefix(f"{DECISION}_") for name in columns if name.startswith(f"{DECISION}_")]
    same = [name for name in findings if _is_constant(predictions, name)]
    if 2 * len(same) <= len(findings):
        return None
    words = {True: "present", False: "absent"}
    said = [f"{name} {words[bool(predictions[f'{DECISION}_{name}'].iloc[0])]}" for name in same]
    return f"answers {', '.join(said)} for every patient"


def _is_constant(predictions: pd.DataFrame, finding: str) -> bool:
    truth = predictions.get(f"truth_{finding}")
    same_truth = truth is not None and len(truth.dropna().unique()) == 1
    return len(predictions[f"{DECISION}_{finding}"].unique()) == 1 and not same_truth
