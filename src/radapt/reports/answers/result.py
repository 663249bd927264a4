"""The first sentence: which method, chosen how, and how good on which patients."""

from radapt.reports.answers.choice import Choice
from radapt.reports.answers.record import Answer
from radapt.reports.formatting import counted, defined, shown
from radapt.reports.leaderboard import OUT_OF_FOLD, Leaderboard, LeaderboardRow
from radapt.reports.metric_info import metric_of

FEW = 30
"""With fewer patients a value is shown as no firm evidence: a 95 % interval of a share is ± 0.18 at best there."""

_NAMED = 3  # methods that answer the same for every patient and are named


def result_answer(board: Leaderboard, metric: str, choice: Choice, row: LeaderboardRow) -> Answer:
    """Of the chosen method `row`, whose value is defined."""
    info, patients = metric_of(metric), _patients(row)
    certainty = "no interval"
    if row.has_interval:
        certainty = f"95 % interval {shown(row.ci_low, info.digits)} to {shown(row.ci_high, info.digits)}"
    value = f"its {info.title} is {shown(row.value, info.digits)} ({certainty})"
    text = f"{_chosen(choice, row, board.unit)} {_where(board, patients)}, {value}."
    if reasons := weaknesses(board, metric, row):
        return Answer("result", f"{text} {' '.join(reasons)}", "weak")
    return Answer("result", text)


def undefined_answer(board: Leaderboard, metric: str | None, choice: Choice, row: LeaderboardRow | None) -> Answer:
    title = metric_of(metric).title if metric else "every metric"
    if row is not None and row.done:
        why = board.reason(row).removeprefix("undefined: ") or "it has no value"
        return Answer(
            "result",
            f"{_chosen(choice, row, board.unit)} Its {title} is undefined on {board.title} of {board.cohort}: {why}.",
            "weak",
        )
    return Answer("result", f"On {board.title} of {board.cohort} no method has a result yet.", "weak")


def weaknesses(board: Leaderboard, metric: str, row: LeaderboardRow) -> list[str]:
    """Why the value is no firm evidence, each as a sentence; [] if it is."""
    said, patients, chance = [], _patients(row), metric_of(metric).chance
    if patients < FEW:
        said.append(
            f"{counted(patients, board.unit)} are too few for a firm answer.".replace("1 patient are", "1 patient is")
        )
    if chance is not None and row.has_interval and row.ci_low <= chance <= row.ci_high:
        said.append(f"The interval holds {chance:g}, the value of guessing, so it is not shown to work at all.")
    if not row.has_interval and patients >= FEW:
        said.append("How certain this is cannot be said.")
    return said


def limits_answer(board: Leaderboard, choice: Choice, metric: str, rows: list[LeaderboardRow]) -> Answer | None:
    """What a reader must know of the result; None if there is nothing."""
    said = []
    if board.unit == "image":
        said.append("Patients unknown: intervals and splits count images. They may be too narrow.")
    chosen = next((row for row in rows if choice.method is not None and row.method.key == choice.method.key), None)
    if chosen is not None:
        said += _segmentation(board, chosen)
        if chosen.method.few_labels:
            said.append(
                "It learned from few labels, drawn several times; the interval covers other patients, not other draws."
            )
        said += _constant(board, chosen, [row for row in rows if row is not chosen])
    return Answer("limits", " ".join(said), "warning") if said else None


def _chosen(choice: Choice, row: LeaderboardRow, unit: str) -> str:
    name, title = row.method.phrase, metric_of(choice.metric).title
    if choice.by == "only method":
        return f"{name} is the only method of this study."
    if choice.by in ("val", "inner folds") and choice.among == 1:
        return f"{name} is the only method of this study with a score on {unit}s to choose by."
    if choice.by == "val":
        return f"Of {choice.among} methods, {name} was best on the validation {unit}s (by {title})."
    if choice.by == "inner folds":
        return f"Of {choice.among} methods, {name} was best in cross-validation of the training {unit}s (by {title})."
    return (
        f"Of {choice.among} methods, {name} has the best {title} on the very {unit}s it is reported on, so expect "
        "somewhat less on new ones."
    )


def _where(board: Leaderboard, patients: int) -> str:
    if board.split == OUT_OF_FOLD:
        rule = (board.cohort_facts.get("folds") or {}).get("rule") or {}
        unseen = "hospital or site" if rule.get("by") == "site" else board.unit
        return f"Over {counted(patients, board.unit)}, each tested by a model that had not seen that {unseen}"
    where = "test" if board.split == "test" else f"“{board.split}”"
    whom = "whom" if board.unit == "patient" else "which"
    return f"On the {counted(patients, f'{where} {board.unit}')} of {board.cohort}, {whom} it had not seen"


def _patients(row: LeaderboardRow) -> int:
    return max((score.n_patients for score in row.scores), default=0)


def _segmentation(board: Leaderboard, chosen: LeaderboardRow) -> list[str]:
    said = []
    for name, template in (
        ("missed", "It misses the structure entirely in {} of the cases that have it."),
        ("false_alarm", "It draws the structure in {} of the cases that do not have it."),
    ):
        share = next((row.value for row in board.metrics.get(name, ()) if row.method == chosen.method), 0.0)
        if defined(share) and share > 0:
            said.append(template.format(percent(share)))
    return said


def _constant(board: Leaderboard, chosen: LeaderboardRow, others: list[LeaderboardRow]) -> list[str]:
    """Which classifiers answer the same for every patient, in one run at least."""
    said = []
    if answer := _constant_answer(board, chosen):
        said.append(f"{chosen.method.phrase} {answer}.")
    found = [(row.method.phrase, answer) for row in others if (answer := _constant_answer(board, row))]
    said += [f"{name} {answer}." for name, answer in found[:_NAMED]]
    if len(found) > _NAMED:
        said.append(f"So do {counted(len(found) - _NAMED, 'more method')}.")
    return said


def _constant_answer(board: Leaderboard, row: LeaderboardRow) -> str | None:
    if board.aim != "classification":
        return None
    return next(filter(None, (cell.constant_answers.get(board.split) for cell in row.method.cells)), None)


def percent(share: float) -> str:
    """Two significant digits below 10 %, whole numbers from there."""
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"
