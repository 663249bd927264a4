"""The record of the answers."""

from dataclasses import dataclass
from typing import Literal

from radapt.metrics.comparison import Verdict

Topic = Literal["result", "next", "adapting", "controls", "joined", "sites", "sequences", "tools", "limits"]
Tone = Literal["plain", "weak", "warning"]
"""`weak` where the numbers do not carry a firm answer, `warning` where a reader must know of something."""

QUESTIONS: dict[Topic, str] = {
    "result": "How good is it?",
    "next": "Is the next method really worse?",
    "adapting": "What did adapting the encoder gain?",
    "controls": "Would something simpler do as well?",
    "joined": "Do the images add to age and sex?",
    "sites": "Does it hold at other hospitals?",
    "sequences": "What does a missing sequence cost?",
    "tools": "How does it compare with other tools?",
    "limits": "What should be kept in mind?",
}


@dataclass(frozen=True)
class PairedNumbers:
    """`method` minus `other` on the same patients, positive where `method` is better.

    The interval is of 95 %; `p_adjusted` is `p` adjusted for `comparisons` (Holm). NaN where undefined.
    """

    method: str
    other: str
    other_value: float
    gain: float
    ci_low: float
    ci_high: float
    p: float
    p_adjusted: float
    comparisons: int
    n_patients: int
    detectable: float
    verdict: Verdict


@dataclass(frozen=True)
class NamedValue:
    """A value with its 95 % interval, of a site, a test set or a sequence. NaN where undefined."""

    name: str
    value: float
    ci_low: float
    ci_high: float
    n_patients: int


@dataclass(frozen=True)
class Answer:
    """One question and its answer, with the numbers that the answer is made from."""

    topic: Topic
    text: str
    tone: Tone = "plain"
    paired: tuple[PairedNumbers, ...] = ()
    values: tuple[NamedValue, ...] = ()

    @property
    def question(self) -> str:
        return QUESTIONS[self.topic]


ChosenBy = Literal["val", "inner folds", "these results", "only method", "nothing"]


@dataclass(frozen=True)
class BoardAnswers:
    """What is said of one test set by one metric. The first answer is the result.

    `method` is None where nothing has a value. `weak` says that the value is no firm evidence, and is shown so.
    `not_answered` are the questions that the study leaves open, with the reason.
    """

    cohort: str
    split: str
    title: str
    unit: str
    metric: str | None
    metric_title: str
    method: str | None
    chosen_by: ChosenBy
    methods: int
    value: float
    ci_low: float
    ci_high: float
    n_patients: int
    weak: bool
    answers: tuple[Answer, ...]
    not_answered: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """The result, every further question with its answer, and what is left open."""
        result, *rest = self.answers
        asked = (f"{answer.question} {answer.text}" for answer in rest)
        return (result.text, *asked, *filter(None, [self.left_open]))

    @property
    def left_open(self) -> str:
        return f"This study does not say {'; or '.join(self.not_answered)}." if self.not_answered else ""
