"""Puts the answers on a test set together."""

from collections.abc import Sequence
from functools import cached_property

from radapt.reports.answers.choice import adapting_pair, choose, is_adapted, row_of
from radapt.reports.answers.elsewhere import sequences_answer, sites_answer, unseen_sites_answer
from radapt.reports.answers.joined import (
    Together,
    columns_of,
    combined_answer,
    images_alone,
    joined_answer,
    joined_differences,
    reads_both,
    reads_only,
)
from radapt.reports.answers.paired import (
    adapting_answer,
    control_answer,
    next_answer,
    paired_numbers,
    shuffled_sentence,
)
from radapt.reports.answers.record import Answer, BoardAnswers, PairedNumbers
from radapt.reports.answers.result import limits_answer, result_answer, undefined_answer, weaknesses
from radapt.reports.board_comparisons import BoardComparisons, compare_board
from radapt.reports.foreign_comparison import foreign_sentences
from radapt.reports.formatting import defined
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.metric_info import metric_of

AGE_SEX, SHUFFLED = "age-sex", "shuffled-labels"
_SHUFFLES = 2
"""The interval covers the test patients of one shuffle. Another shuffle is another classifier, which a strong axis of
the features moves about as far: on 110 gliomas a single one had an MCC of 0.14 (0.00 to 0.28)."""


class Answering:
    """The answers on one test set, in any metric. `boards` are those of the same cohort and aim, this one too."""

    def __init__(self, board: Leaderboard, boards: Sequence[Leaderboard]) -> None:
        self.board, self.boards = board, boards
        self.choice = choose(board, next((other for other in boards if other.split == "val"), None))
        self.pair = adapting_pair([method for method in self.choice.order if not method.control])
        against = [method for method in (self.choice.method, *(self.pair or ())) if method is not None]
        self.comparisons = compare_board(board, against)

    def of(self, metric: str | None) -> BoardAnswers:
        """The answers in one metric; None where the test set has none."""
        board, choice = self.board, self.choice
        row = row_of(board, metric, choice.method) if metric and choice.method else None
        if metric is None or row is None or not defined(row.value):
            return self._record(metric, row, (undefined_answer(board, metric, choice, row),), ())
        found = [result_answer(board, metric, choice, row)]
        rest, open_ = self._questions(metric, row)
        limits = limits_answer(board, choice, metric, [row, *self._others(metric)])
        tools = foreign_sentences(board, metric, row) if metric == board.primary else ""
        beside = Answer("tools", tools) if tools else None
        found += [answer for answer in (*rest, beside, limits) if answer is not None]
        return self._record(metric, row, tuple(found), tuple(open_))

    def _questions(self, metric: str, row: LeaderboardRow) -> tuple[list[Answer], list[str]]:
        """The answers to what may be asked of every study, and what is left open."""
        found, left, unseen = [], [], unseen_sites_answer(self.board)
        asked = (
            (self._next(metric, row), f"whether another method is really worse: {self._why_no_next(metric)}"),
            (self._adapting(metric), f"what adapting gains: {self._why_not_adapting()}"),
            (self._controls(metric, row), ""),
            (self._joined(metric, row), self._why_no_age_and_sex(metric)),
            (sites_answer(self.board, self.boards, metric, row.method) or unseen, self._why_no_sites()),
            (sequences_answer(self.board, metric, row.method, self.choice.order), self._why_no_sequences()),
        )
        for answer, why in asked:
            if answer is not None:
                found.append(answer)
            elif why:
                left.append(why)
        return found, left

    def _next(self, metric: str, row: LeaderboardRow) -> Answer | None:
        others = self._others(metric)
        ranked = [other for other in others if defined(other.value)]
        if metric_of(metric).zero_is_best or not ranked:
            return None
        family = self.comparisons.family(metric, [(row, other) for other in ranked])
        found = next((one for one in family if one.second.method.key == ranked[0].method.key), None)
        if found is None:
            return None
        eligible = found.second.method.key in {method.key for method in self.choice.eligible}
        return next_answer(paired_numbers(found, len(family)), metric, self.board.unit, len(ranked), eligible=eligible)

    def _adapting(self, metric: str) -> Answer | None:
        if self.pair is None or metric_of(metric).zero_is_best:
            return None
        adapted, frozen = self.pair
        numbers = self._single(metric, adapted, frozen)
        if numbers is None:
            return None
        return adapting_answer(numbers, metric, self.board.unit, adapted.backbone == frozen.backbone)

    def _controls(self, metric: str, row: LeaderboardRow) -> Answer | None:
        rows = [other for other in self.board.controls.get(metric, ()) if defined(other.value)]
        if metric_of(metric).zero_is_best or row.method.control:
            return None
        age_sex = [other for other in self._age_sex(metric) if defined(other.value)]
        rivals = [other for other in rows if other.method.control not in (AGE_SEX, SHUFFLED)]
        beside, rival = (self._single(metric, row.method, own[0].method) if own else None for own in (age_sex, rivals))
        shuffled = " ".join(
            filter(None, (shuffled_sentence(o, metric, _SHUFFLES) for o in rows if o.method.control == SHUFFLED))
        )
        return control_answer(beside, rival, metric, shuffled)

    def _joined(self, metric: str, row: LeaderboardRow) -> Answer | None:
        if reads_both(row.method):
            return self._combined(metric, row)
        found = self._together.get(metric)
        return None if found is None else joined_answer(metric, row, self._age_sex(metric)[0], found)

    def _combined(self, metric: str, row: LeaderboardRow) -> Answer | None:
        """None beside columns that the control of age and sex does not read, and for metrics that are best at 0."""
        age_sex = [other.method for other in self._age_sex(metric) if defined(other.value)]
        if not age_sex or metric_of(metric).zero_is_best or not reads_only(columns_of(age_sex[0]), row.method):
            return None
        images = images_alone(row.method, [other.method for other in self._others(metric) if not other.method.control])
        compared = [self._single(metric, row.method, other) for other in (age_sex[0], images) if other is not None]
        alone = [numbers for numbers in compared if numbers is not None]
        return combined_answer(metric, row, alone) if compared[0] is not None else None

    @cached_property
    def _together(self) -> dict[str, Together]:
        """By metric, the images together with age and sex against each alone."""
        primary = self.board.primary or ""
        row = row_of(self.board, primary, self.choice.method) if self.choice.method else None
        if row is None or row.method.control or reads_both(row.method) or not self._age_sex(primary):
            return {}
        metrics = [metric for metric in self.board.metrics if self._age_sex(metric)]
        return joined_differences(self.board, row, self._age_sex(primary)[0], metrics)

    def _age_sex(self, metric: str) -> list[LeaderboardRow]:
        return [other for other in self.board.controls.get(metric, ()) if other.method.control == AGE_SEX]

    def _single(self, metric: str, first: Method, second: Method) -> PairedNumbers | None:
        rows = row_of(self.board, metric, first), row_of(self.board, metric, second)
        if rows[0] is None or rows[1] is None:
            return None
        found = self.comparisons.family(metric, [(rows[0], rows[1])])
        return paired_numbers(found[0], 1) if found else None

    def _others(self, metric: str) -> list[LeaderboardRow]:
        chosen = self.choice.method
        return [
            row
            for row in self.board.metrics.get(metric, ())
            if row.done and (chosen is None or row.method.key != chosen.key)
        ]

    def _why_not_adapting(self) -> str:
        if self.pair is not None:
            return "the two methods were not compared on the same cases"
        if any(is_adapted(method) for method in self.choice.order):
            return "no method with a frozen encoder stands beside the adapted one"
        return "no method of it trains a pretrained encoder"

    def _why_no_next(self, metric: str) -> str:
        return "no two were compared on the same cases" if self._others(metric) else "there is no other one"

    def _why_no_age_and_sex(self, metric: str) -> str:
        if self.board.aim != "classification" or any(defined(row.value) for row in self._age_sex(metric)):
            return ""
        skipped = next((one for one in self.board.skipped_controls if one.get("control") == AGE_SEX), None)
        why = str(skipped.get("reason")).rstrip(".") if skipped else "they were not tried"
        return f"whether age and sex alone do as well: {why}"

    def _why_no_sites(self) -> str:
        sites = [name for name in (self.board.cohort_facts.get("sites") or {}) if name]
        why = (
            "sites are not given"
            if not sites
            else f"all are from {sites[0]}"
            if len(sites) == 1
            else "no result is split by site"
        )
        return f"how it does at another hospital: {why}"

    def _why_no_sequences(self) -> str:
        several = len(self.board.cohort_facts.get("modalities") or ()) > 1
        return "what a missing sequence costs: no method was tested with sequences left out" if several else ""

    def _record(
        self, metric: str | None, row: LeaderboardRow | None, answers: tuple[Answer, ...], left_open: tuple[str, ...]
    ) -> BoardAnswers:
        board, choice, nan = self.board, self.choice, float("nan")
        value, low, high = (row.value, row.ci_low, row.ci_high) if row else (nan, nan, nan)
        return BoardAnswers(
            board.cohort, board.split, board.title, board.unit, metric, metric_of(metric).title if metric else "",
            choice.method.phrase if choice.method else None, choice.by, choice.among, value, low, high,
            max((score.n_patients for score in row.scores), default=0) if row else 0,
            row is None or metric is None or not defined(value) or bool(weaknesses(board, metric, row)),
            answers, left_open,
        )  # fmt: skip


def answers_of(board: Leaderboard, boards: Sequence[Leaderboard]) -> tuple[dict[str, BoardAnswers], BoardComparisons]:
    """The answers on a test set in each of its metrics, the leading one first, and the comparisons they rest on."""
    answering = Answering(board, boards)
    metrics: list[str | None] = list(board.metrics) or [None]
    return {metric or "": answering.of(metric) for metric in metrics}, answering.comparisons
