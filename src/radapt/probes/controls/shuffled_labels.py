"""A probe that learns from labels shuffled between patients: what it reaches is chance, or something leaks."""

from collections.abc import Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass as checked

from radapt.cohorts.cohort import CHOOSING_SPLITS, Case, Cohort
from radapt.errors import UsageError
from radapt.models.folder import SavedModel
from radapt.protocols.delegating import Wrapping
from radapt.protocols.final_decision import with_decision
from radapt.protocols.fitted import Fitted, TrainedModel
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.registry import make

if TYPE_CHECKING:
    from radapt.backbones import Backbone


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ShuffledLabels(Wrapping):
    """`protocol`, with its own `options`, fitted on the labels of other patients of the same split.

    Train and val are shuffled each by itself, by patient, so that the frequencies of the labels stay; the cases that
    are tested keep theirs. What it reaches far above chance shows that something tells the labels that should not.
    """

    name: ClassVar[str] = "shuffled-labels"
    control: ClassVar[bool] = True

    protocol: str = "logistic"
    options: dict[str, Any] = field(default_factory=dict)

    @model_validator(mode="after")
    def _checked(self) -> "ShuffledLabels":
        if self.protocol in (self.name, "fewshot") or self.base.reads != "features":
            raise UsageError(
                f"Protocol {self.name!r} shuffles the labels of a probe of stored features, such as logistic; "
                f"{self.protocol!r} is none."
            )
        return self

    @property
    def base(self) -> Protocol:  # type: ignore[override]
        """The protocol that is fitted."""
        return make(self.protocol, **self.options)

    def _with(self, base: Protocol) -> "ShuffledLabels":
        return replace(self, protocol=base.name, options=base.settings)

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted:
        shuffling, fitting = rng.spawn(2)
        cohort = shuffled(problem.cohort, shuffling)
        blind = replace(problem, features=replace(problem.features, cohort=cohort))
        # The decision is fixed here, from the labels that it learned from: outside only the true ones are known.
        return with_decision(self.base.fit(blind, fitting), self.base, blind)

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedModel:
        return self.base.restore(saved, backbone)


def shuffled(cohort: Cohort, rng: np.random.Generator) -> Cohort:
    """The cohort in which the labels of patients are permuted, among the labelled ones of train and those of val.

    The cases of a patient take those of the drawn patient in turn. Other splits and unlabelled cases are unchanged.
    """
    cases = list(cohort.cases)
    for split in CHOOSING_SPLITS:
        owned: dict[str, list[int]] = {}
        for at, case in enumerate(cases):
            if case.split == split and _labelled(case):
                owned.setdefault(case.patient, []).append(at)
        patients = list(owned)
        for patient, number in zip(patients, rng.permutation(len(patients)), strict=True):
            donors = [cohort.cases[at] for at in owned[patients[number]]]
            for at, case in zip(owned[patient], _relabelled(cohort, owned[patient], donors), strict=True):
                cases[at] = case
    return replace(cohort, cases=tuple(cases))


def _relabelled(cohort: Cohort, rows: Sequence[int], donors: Sequence[Case]) -> list[Case]:
    pairs = [(cohort.cases[at], donors[number % len(donors)]) for number, at in enumerate(rows)]
    return [replace(case, label=donor.label, findings=donor.findings) for case, donor in pairs]


def _labelled(case: Case) -> bool:
    return case.label is not None or any(finding is not None for finding in case.findings)
