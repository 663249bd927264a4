"""What a model says about one case when it also says how sure it is, and when it rather says nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radapt.printable import printable


@dataclass(frozen=True)
class CertainAnswer:
    """The answer for one case."""

    calibrated: tuple[float, ...]
    """Calibrated probability of each class, or of each finding."""
    members: tuple[str, ...]
    """The prediction set. Classes: those that may be the truth. Findings: those that are present, and with a question
    mark those whose presence is open."""
    abstained: bool
    """Whether the model gives no answer: the case is unlike the training cases, or the set is not the decided class
    alone. With several findings, whether the case is unlike the training cases, or every finding is open: both of its
    answers remain possible, neither does, or the decided one is excluded."""
    reason: str
    """Why it abstained, or what to keep in mind, in plain sentences; empty if there is nothing to say."""
    novelty: float
    """Share of training patients that are at least as far from the other training patients, a p-value; NaN without
    features."""


@dataclass(frozen=True)
class Abstention:
    """When to abstain, and what to say."""

    outputs: tuple[str, ...]
    several: bool
    coverage: float
    """1 - alpha."""
    refused: float
    """A case is refused if its p-value is less than or equal to this share of true patients."""
    too_few: str = ""
    """Why no set can leave anything out; empty if sets can."""

    def members(self, inside: np.ndarray) -> tuple[str, ...]:
        """The set of one case from (C,) bool, or from (F, 2) bool: absent and present of each finding."""
        if not self.several:
            return tuple(name for name, held in zip(self.outputs, inside, strict=True) if held)
        named = zip(self.outputs, inside, strict=True)
        return tuple(
            name if present and not absent else f"{name}?"
            for name, (absent, present) in named
            if present or not absent  # that neither fits leaves it as open as that both do
        )

    def judge(
        self, inside: np.ndarray, decided: np.ndarray, novelty: float, seen: bool, sequences: Sequence[str]
    ) -> tuple[bool, str]:
        """Whether to abstain, and the reason. `decided` is a class index, or (F,) 1 and 0; `seen`: calibration patients
        had exactly these `sequences`."""
        sentences = []
        novel = bool(novelty <= self.refused)
        if novel:
            sentences.append(
                f"The case is unlike the training cases: {_percent(novelty)} of the training patients are as far from "
                f"the others; cases below {_percent(self.refused)} are refused."
            )
        open_, text = (True, self.too_few) if self.too_few else self._open(inside, decided)
        if text:
            sentences.append(text)
        if not seen and not self.too_few:
            held = printable(" + ".join(sequences)) or "no sequence"
            sentences.append(f"No calibration patient had exactly {held}; the coverage is not assured.")
        return novel or open_, " ".join(sentences)

    def _open(self, inside: np.ndarray, decided: np.ndarray) -> tuple[bool, str]:
        """Whether the set leaves the answer open, and how to say so."""
        coverage = f"at {_percent(self.coverage)} coverage"
        if self.several:
            return self._open_findings(inside, decided, coverage)
        members, decision = self.members(inside), self.outputs[int(decided)]
        if members == (decision,):
            return False, ""
        if len(members) == 1:
            return True, f"The decision is {printable(decision)}, but only {_and(members)} remains possible {coverage}."
        if not members:
            return True, f"No class fits {coverage}."
        return True, f"{_and(members)} remain possible {coverage}."

    def _open_findings(self, inside: np.ndarray, decided: np.ndarray, coverage: str) -> tuple[bool, str]:
        undecided = [name for name, held in zip(self.outputs, inside, strict=True) if held.sum() != 1]
        excluded = [
            f"{name} ({'present' if answer else 'absent'})"
            for name, held, answer in zip(self.outputs, inside, decided, strict=True)
            if held.sum() == 1 and not held[int(answer)]
        ]
        sentences = [f"Open {coverage}: {_and(undecided)}."] if undecided else []
        if excluded:
            sentences.append(f"Decided, but excluded {coverage}: {_and(excluded)}.")
        return len(undecided) + len(excluded) == len(self.outputs), " ".join(sentences)


def _and(names: Sequence[str]) -> str:
    shown = [printable(name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _percent(share: float) -> str:
    """
    >>> _percent(0.9), _percent(0.025), _percent(0.0004)
    ('90 %', '2.5 %', '0.04 %')
    """
    return f"{100 * share:.3g} %"
