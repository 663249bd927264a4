"""What was claimed, what is left when the choice is honest, and whether val would have chosen the same."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cli.answer import Answer, Flat
from radapt.cli.auditing.candidates import read_predictions, read_scores
from radapt.cli.auditing.columns import Named, find_columns
from radapt.cli.table_rows import read_rows
from radapt.errors import DataError, UsageError, suggest
from radapt.metrics import auroc
from radapt.metrics.selection import auroc_error, optimism_of_predictions, optimism_of_scores, proportion_error
from radapt.reports.formatting import counted

ALARM = 0.005
"""Optimism from which on a claim is called into question."""


@dataclass(frozen=True)
class Evidence:
    """Scores of the candidates, and the optimism of the best on test; an unknown bound or number is NaN or None."""

    names: list[str]
    test: np.ndarray
    val: np.ndarray | None
    optimism: float
    low: float
    high: float
    ci_low: float
    ci_high: float
    source: str
    n_patients: int | None
    n_cases: int | None
    again: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """Positions of the claimed candidate, of the best on test and of val's choice, and what follows from them."""

    claimed: int
    winner: int
    val_choice: int | None
    honest: float
    alarm: bool


def audit_table(
    file: Path,
    named: Named,
    *,
    claimed: str | None = None,
    patients: int | None = None,
    positives: int | None = None,
    seed: int = 0,
) -> Answer:
    """The answer for a table of scores or predictions. Raises UsageError and DataError for what does not fit."""
    table, rows = read_rows(file)
    columns = find_columns(table, named, file)
    if columns.truth is not None:
        if patients is not None or positives is not None:
            raise UsageError("--patients and --positives are for tables of scores; predictions show both.")
        test, val = read_predictions(table, rows, columns, file)
        found = optimism_of_predictions(test.truth, test.probabilities, test.patients, seed=seed)
        of_val = None if val is None else np.array([float(auroc(val.truth, row)) for row in val.probabilities])
        if of_val is not None and np.isnan(of_val).any():
            raise DataError(f"{file}: the cases of val have one truth only, so that val chooses no candidate.")
        notes = [] if columns.patient else ["Each case counts as a patient; name the patient's column with --patient."]
        if test.left_out:
            notes.append(f"{counted(test.left_out, 'case')} without a probability of every candidate left out.")
        evidence = Evidence(
            test.names, found.scores, of_val, found.optimism, found.optimism, found.optimism, found.ci_low,
            found.ci_high, "predictions", found.n_patients, len(test.truth), found.again, tuple(notes),
        )  # fmt: skip
    else:
        evidence = _from_scores(file, table, rows, columns, patients, positives)
    finding = _judge(evidence, claimed, file)
    lines = [*_used(columns, evidence), *_sentences(evidence, finding), *evidence.notes]
    return Answer("\n".join(lines), _record(evidence, finding))


def _from_scores(
    file: Path, table: pd.DataFrame, rows: list[int], columns: Named, patients: int | None, positives: int | None
) -> Evidence:
    scores = read_scores(table, rows, columns, file)
    error, notes = _standard_error(scores.test, str(columns.test), patients, positives)
    found = optimism_of_scores(scores.test, scores.val, error)
    if found.source == "patients":
        notes.append(
            "Scores alone do not tell how much the candidates' errors are correlated (0.5 is assumed): "
            "trust the bounds, or give val scores or predictions."
        )
    if found.source == "unknown":
        notes.append("How much of the lead is luck is unknown; give --patients, val scores, or predictions.")
    best = float(scores.test.max()) - (0.0 if np.isnan(found.optimism) else found.optimism)
    half = float("nan") if error is None else 1.96 * error
    return Evidence(
        scores.names, scores.test, scores.val, found.optimism, found.low, found.high, best - half, best + half,
        found.source, patients, None, None, tuple(notes),
    )  # fmt: skip


def _standard_error(
    test: np.ndarray, column: str, patients: int | None, positives: int | None
) -> tuple[float | None, list[str]]:
    """Of the middle one of the scores; None if the number of patients is not given."""
    if patients is None:
        if positives is not None:
            raise UsageError("--positives needs --patients, the number of all test patients.")
        return None, []
    middle, notes = float(np.median(test)), []
    if any(word in column.casefold() for word in ("acc", "sens", "spec", "recall")):
        error, kind = proportion_error(middle, patients), "a proportion"
    else:
        if positives is None:
            positives = patients // 2
            notes.append("Half of the patients are taken as positive, which is when noise is least; see --positives.")
        if positives >= patients:
            raise UsageError(f"--positives {positives} of --patients {patients}: expected fewer positives.")
        error, kind = auroc_error(middle, positives, patients - positives), "an AUROC"
    counts = counted(patients, "patient")
    return error, [*notes, f"The standard error of one test score is {error:.3f}, as of {kind} of {counts}."]


def _judge(evidence: Evidence, claimed: str | None, file: Path) -> Finding:
    test, val = evidence.test, evidence.val
    if claimed is not None and claimed not in evidence.names:
        raise UsageError(f"{file} has no candidate {claimed!r}. {suggest(claimed, evidence.names)}")
    winner = int(np.argmax(test))
    at = winner if claimed is None else evidence.names.index(claimed)
    # Of candidates that are equal on val, or on test, the one that is claimed.
    choice = None if val is None else (at if val[at] == val.max() else int(np.argmax(val)))
    chosen_on_test = len(test) > 1 and test[at] == test.max() and choice != at
    honest = float(test[at]) if not chosen_on_test else float(test[at] - evidence.optimism)
    if choice is not None:
        honest = float(test[choice])
    return Finding(at, winner, choice, honest, bool(chosen_on_test and evidence.optimism >= ALARM))


def _used(columns: Named, evidence: Evidence) -> list[str]:
    of_scores, of_cases = (
        ("candidate", "val", "test"),
        ("candidate", "truth", "probability", "case", "patient", "split"),
    )
    roles = of_scores if columns.truth is None else of_cases
    taken = [f"{role} {getattr(columns, role)!r}" for role in roles if getattr(columns, role) is not None]
    shown = ", ".join(evidence.names[:6]) + (", …" if len(evidence.names) > 6 else "")
    return [f"Columns: {'; '.join(taken)}.", f"{counted(len(evidence.names), 'candidate')}: {shown}."]


def _sentences(evidence: Evidence, finding: Finding) -> list[str]:
    names, test, at = evidence.names, evidence.test, finding.claimed
    lines = [f"Claimed: {names[at]}, {test[at]:.3f} on test."]
    if len(names) == 1:
        return [*lines, "Nothing was chosen among candidates: the score stands."]
    optimism = f"{evidence.optimism:.3f}" if np.isfinite(evidence.optimism) else "an unknown part"
    if evidence.high > evidence.low:
        optimism += f" (between {evidence.low:.3f} and {evidence.high:.3f})"
    best = "the best on test" if test[at] == test.max() else f"not the best on test, which is {names[finding.winner]}"
    lines.append(f"It is {best}. Choosing the best of {len(names)} on test adds {optimism} by luck.")
    if finding.val_choice == at:
        lines.append("Val chooses it too: the claim needs no choice on test, and its score stands.")
    elif finding.val_choice is not None:
        lines.append(
            f"Val chooses {names[finding.val_choice]} instead, with {finding.honest:.3f} on test: this is the score "
            "of an honest choice."
        )
    elif test[at] < test.max():
        lines.append("The claimed one was not chosen by its test score: the score stands.")
    elif np.isfinite(finding.honest):
        lines.append(f"What is left: {finding.honest:.3f}{_interval(evidence)}.")
    if evidence.again is not None and evidence.again < 1:
        lines.append(f"Without a third of the patients, the same candidate wins {evidence.again:.0%} of the time.")
    if finding.alarm:
        lines.append("Do not report the claimed score: choose on val, or report what is left.")
    return lines


def _interval(evidence: Evidence) -> str:
    return f" [{evidence.ci_low:.3f}, {evidence.ci_high:.3f}]" if np.isfinite(evidence.ci_low) else ""


def _record(evidence: Evidence, finding: Finding) -> Flat:
    names, test, choice = evidence.names, evidence.test, finding.val_choice
    return {
        "claimed": names[finding.claimed], "claimed_score": float(test[finding.claimed]),
        "test_winner": names[finding.winner], "test_winner_score": float(test[finding.winner]),
        "val_choice": None if choice is None else names[choice],
        "val_choice_score": None if choice is None else float(test[choice]),
        "same_winner": None if evidence.val is None else choice == finding.claimed,
        "optimism": evidence.optimism, "optimism_low": evidence.low, "optimism_high": evidence.high,
        "corrected": float(test.max()) - evidence.optimism, "ci_low": evidence.ci_low, "ci_high": evidence.ci_high,
        "honest": finding.honest, "alarm": finding.alarm, "source": evidence.source, "n_candidates": len(names),
        "n_patients": evidence.n_patients, "n_cases": evidence.n_cases, "chosen_again": evidence.again,
    }  # fmt: skip
