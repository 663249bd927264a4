"""Sentences on one method against another, from their paired numbers."""

import numpy as np

from radapt.reports.answers.record import Answer, PairedNumbers, Tone
from radapt.reports.formatting import counted, defined, shown
from radapt.reports.leaderboard import LeaderboardRow
from radapt.reports.method_comparison import MethodComparison
from radapt.reports.metric_info import metric_of


def paired_numbers(found: MethodComparison, comparisons: int) -> PairedNumbers:
    """A comparison as a gain of its first method."""
    difference = found.difference
    ends = difference.ci_low, difference.ci_high
    low, high = (-ends[1], -ends[0]) if difference.smaller_is_better else ends
    sign = -1 if difference.smaller_is_better else 1
    return PairedNumbers(
        found.first.method.phrase, found.second.method.phrase, difference.second, sign * difference.difference,
        float(low), float(high), difference.p, found.holm, comparisons, difference.n_patients,
        float(difference.detectable), found.verdict,
    )  # fmt: skip


_NO_SCORE = (
    " It was not chosen because it has no score on the patients that the choice was made on; where inner folds choose, "
    "`inner_scores: all` in the study gives it one."
)


def next_answer(numbers: PairedNumbers, metric: str, unit: str, others: int, *, eligible: bool = True) -> Answer:
    """Whether the best of the other methods is really worse. If not `eligible`, it had no score to be chosen by."""
    digits, name = _digits(metric), numbers.other
    value = shown(numbers.other_value, digits)
    difference = difference_text(numbers, digits, numbers.gain < 0)
    size = shown(abs(numbers.gain), digits)
    only = "the other method" if others == 1 else "the best of the others"
    if not defined(numbers.ci_low):
        text = f"This cannot be said: the difference to {name} ({value}) has no interval."
        return Answer("next", text, "weak", (numbers,))
    if numbers.gain == 0 and numbers.ci_low == numbers.ci_high == 0:
        return Answer("next", f"No: {name} gives the same results.", "weak", (numbers,))
    if numbers.verdict == "better":
        return Answer("next", f"Yes: {name}, {only}, is worse: {value}, by {size} ({difference}).", "plain", (numbers,))
    if numbers.verdict == "worse":
        text = f"No: {name} is better on these {unit}s: {value}, by {size} ({difference})."
        return Answer("next", text + ("" if eligible else _NO_SCORE), "warning", (numbers,))
    if numbers.gain < 0:
        text = f"No: {name} scores {value} here, {size} better, which may be chance ({difference})."
        text += "" if eligible else _NO_SCORE
    else:
        text = f"Not shown: {name}, {only}, scores {value}, and a difference of {size} may be chance ({difference})."
    return Answer("next", text + _hidden(numbers, digits, unit), "weak", (numbers,))


def adapting_answer(numbers: PairedNumbers, metric: str, unit: str, same_encoder: bool) -> Answer:
    """What training weights of the encoder gained."""
    digits = _digits(metric)
    difference = difference_text(numbers, digits)
    what = f"{numbers.method} against {numbers.other}, whose encoder stays frozen"
    what += "" if same_encoder else "; the encoders differ"
    if not defined(numbers.ci_low):
        return Answer("adapting", f"This cannot be said: {what}; the difference has no interval.", "weak", (numbers,))
    if numbers.verdict == "better":
        return Answer("adapting", f"{shown(numbers.gain, digits)} ({difference}): {what}.", "plain", (numbers,))
    if numbers.verdict == "worse":
        difference = difference_text(numbers, digits, turned=True)
        text = f"It made results worse by {shown(-numbers.gain, digits)} ({difference}): {what}."
        return Answer("adapting", text, "warning", (numbers,))
    text = f"No gain shown: {_signed(numbers.gain, digits)} ({difference}), {what}."
    return Answer("adapting", text + _hidden(numbers, digits, unit), "weak", (numbers,))


def control_sentence(numbers: PairedNumbers, metric: str) -> tuple[str, Tone]:
    """Whether the chosen method is better than what needs no trained encoder."""
    digits, name = _digits(metric), numbers.other
    difference = difference_text(numbers, digits)
    if not defined(numbers.ci_low):
        return f"Whether it is better than {name} cannot be said: the difference has no interval.", "weak"
    if numbers.verdict == "better":
        return f"It is better than {name} by {shown(numbers.gain, digits)} ({difference}).", "plain"
    if numbers.verdict == "worse":
        difference = difference_text(numbers, digits, turned=True)
        return f"It is worse than {name} by {shown(-numbers.gain, digits)} ({difference}).", "warning"
    return f"It is not shown to be better than {name}: {_signed(numbers.gain, digits)} ({difference}).", "warning"


_STARTS = {"worse": "Yes. ", "undecided": "Perhaps. ", "unknown": "", "better": "No. "}
"""How the answer on simpler things begins: by the one that does best."""


def control_answer(
    age_sex: PairedNumbers | None, other: PairedNumbers | None, metric: str, shuffled: str
) -> Answer | None:
    """Age and sex first, then the best of the other controls, then shuffled labels, which should tell nothing."""
    asked = [numbers for numbers in (age_sex, other) if numbers is not None]
    parts = [control_sentence(numbers, metric) for numbers in asked]
    verdicts = [numbers.verdict if defined(numbers.ci_low) else "unknown" for numbers in asked]
    if start := next((start for verdict, start in _STARTS.items() if verdict in verdicts), ""):
        parts[0] = start + parts[0][0], parts[0][1]
    if shuffled:
        parts.append((shuffled, "warning"))
    if not parts:
        return None
    tones = [tone for _, tone in parts]
    tone: Tone = "warning" if "warning" in tones else "weak" if "weak" in tones else "plain"
    return Answer("controls", " ".join(text for text, _ in parts), tone, tuple(asked))


def shuffled_sentence(row: LeaderboardRow, metric: str, widths: float) -> str:
    """A warning if labels of other patients are predicted above chance by more than `widths` half-widths."""
    chance = metric_of(metric).chance
    if chance is None or not row.has_interval or row.value - widths * (row.value - row.ci_low) <= chance:
        return ""
    return (
        f"Even with labels shuffled between patients, {row.method.phrase} is better than guessing "
        f"({metric_of(metric).title} {shown(row.value, 2)}): something other than the images gives the labels away."
    )


def chance_of(p: float, comparisons: int) -> str:
    """A p-value in words, '' if there is none."""
    if np.isnan(p):
        return ""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"
    return f"{text} after correction for {comparisons} comparisons" if comparisons > 1 else text


def difference_text(numbers: PairedNumbers, digits: int, turned: bool = False) -> str:
    """Interval and p-value of the gain, or `turned` of what the other method is better by."""
    low, high = (-numbers.ci_high, -numbers.ci_low) if turned else (numbers.ci_low, numbers.ci_high)
    ends = f"95 % interval {shown(low, digits)} to {shown(high, digits)}"
    return "; ".join(filter(None, [ends, chance_of(numbers.p_adjusted, numbers.comparisons)]))


def _hidden(numbers: PairedNumbers, digits: int, unit: str) -> str:
    if not defined(numbers.detectable) or numbers.detectable <= 0:
        return ""
    return (
        f" With {counted(numbers.n_patients, unit)}, a true difference below about {shown(numbers.detectable, digits)} "
        "easily stays hidden."
    )


def _signed(value: float, digits: int) -> str:
    return f"{'+' if value > 0 else ''}{shown(value, digits)}"


def _digits(metric: str) -> int:
    return min(metric_of(metric).digits, 3)
