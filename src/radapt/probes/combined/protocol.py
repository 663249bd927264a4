"""`combined`: the mean of what another protocol answers to the images and of what columns of the table say."""

from dataclasses import field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as checked

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.metadata import age_and_sex
from radapt.errors import UsageError
from radapt.models.folder import SavedModel
from radapt.probes.combined.model import TrainedCombined, combined_model, image_part, restore_combined
from radapt.probes.controls.fit_table import fit_table
from radapt.probes.controls.metadata import columns_of, read_metadata
from radapt.probes.controls.table_model import TABLE_C, TableFamily, TableModel
from radapt.protocols.delegating import Wrapping
from radapt.protocols.fitted import Fitted, Model
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.registry import make
from radapt.protocols.targets import ClassWeight
from radapt.training.fit_record import Cost, FitRecord

if TYPE_CHECKING:
    from radapt.backbones import Backbone


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Combined(Wrapping):
    """The mean of the probabilities of two models: `protocol`, with its own `options`, on the images, and an
    L2-regularised logistic regression on `columns` of the table, by default age and sex.

    Each is fitted and chosen on its own, as it is without the other. No weight is fitted: with few patients equal
    weights are hard to beat (Clemen, International Journal of Forecasting 1989). A case without any known value in the
    columns has the answer to its images; one with some has the training median of missing numbers, and no category.
    `class_weight` is that of both models; C is of the table, whose columns are read as by `metadata`.
    """

    name: ClassVar[str] = "combined"
    uses_metadata: ClassVar[bool] = True

    protocol: str = "logistic"
    options: dict[str, Any] = field(default_factory=dict)
    columns: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    C: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = TABLE_C
    class_weight: ClassWeight = "none"

    @model_validator(mode="after")
    def _checked(self) -> "Combined":
        if "class_weight" in self.options:
            raise UsageError(
                f"class_weight is that of both models and is written beside options: {{{self.name}: {{protocol: "
                f"{self.protocol}, class_weight: {self.options['class_weight']}}}}}."
            )
        base = self if self.protocol == self.name else self.base
        if base is self or base.aim != "classification" or base.control or base.name == "fewshot":
            raise UsageError(
                f"Protocol {self.name!r} joins a protocol that classifies images with the table, such as logistic; "
                f"{self.protocol!r} is none. A learning curve is {{fewshot: {{protocol: {self.name}}}}}."
            )
        return self

    @property
    def base(self) -> Protocol[Any]:  # type: ignore[override]
        """The protocol that answers to the images."""
        weighed = {} if self.class_weight == "none" else {"class_weight": self.class_weight}
        return make(self.protocol, **self.options, **weighed)

    def _with(self, base: Protocol[Any]) -> "Combined":
        return replace(self, options={key: value for key, value in base.settings.items() if key != "class_weight"})

    def fit(self, problem: FeatureProblem | ImageProblem, rng: np.random.Generator) -> Fitted:
        """Raises UsageError for a cohort without the columns, and what the protocol raises."""
        cohort, base = problem.cohort, self.base
        columns, notes = columns_of(cohort, self._columns(cohort))
        images = base.fit(problem, rng)  # before anything else is drawn: as it is fitted on its own
        family = TableFamily(self.C, self.class_weight)
        table = fit_table(problem, columns, read_metadata, family, rng.spawn(1)[0], notes=notes)
        known = cast(TableModel, table.final).known(len(cohort))
        final = combined_model(images.final, table.final, known)
        before: Model = combined_model(images.before_refit, table.before_refit, known)
        if isinstance(images.before_refit, OutOfFold) and isinstance(table.before_refit, OutOfFold):
            kept = images.before_refit
            before = replace(kept, final=final, probabilities=before.predict(kept.rows))
        record = _record(images.record, table.record, base)
        return Fitted(final, before, _scored(record, before, problem, self.class_weight))

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedCombined:
        base = self.base
        return restore_combined(saved, base.restore(image_part(saved, base.name, base.settings), backbone))

    def _columns(self, cohort: Cohort) -> tuple[str, ...]:
        found = self.columns or tuple(name for name in age_and_sex(cohort) if name is not None)
        if not found:
            raise UsageError(
                f"Cohort {cohort.name!r} has no column of age or sex to combine images with. Name others: "
                f"{{{self.name}: {{protocol: {self.protocol}, columns: […]}}}}."
            )
        return found


def _record(images: FitRecord, table: FitRecord, base: Protocol[Any]) -> FitRecord:
    """The record of the fit to the images, with what is to be known of the table."""
    strength = table.winner.options["C"]
    said = f"The mean of the probabilities of {base.name} and of the table (C = {strength:g})."
    return replace(
        images,
        cost=Cost.total([images.cost, table.cost]),
        notes=tuple(dict.fromkeys((said, *images.notes, *table.notes))),
        notes_before_refit=tuple(dict.fromkeys((*images.notes_before_refit, *table.notes_before_refit))),
    )


def _scored(
    record: FitRecord, before: Model, problem: FeatureProblem | ImageProblem, class_weight: ClassWeight
) -> FitRecord:
    """The record in which the chosen candidate has the scores of both models together, for the cases that both were
    chosen on; without scores where nothing was chosen on."""
    rows = _chosen_on(record, before, problem)
    scores: dict[str, float] = {}
    if len(rows):
        labels, learned = problem.cohort.labels, problem.rows("train")
        found = problem.rater(class_weight).rate(labels[rows], before.predict(rows)[None], labels[learned])
        scores = found.of(0)
    candidates = list(record.candidates)
    candidates[record.chosen] = replace(record.winner, val=scores)
    return replace(record, candidates=tuple(candidates))


def _chosen_on(record: FitRecord, before: Model, problem: FeatureProblem | ImageProblem) -> np.ndarray:
    if isinstance(before, OutOfFold):
        return before.learned
    return problem.rows("val") if record.cases.val_source == "cohort" else np.empty(0, dtype=np.int64)
