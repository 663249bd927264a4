"""One protocol that trains on images, on one cohort: adapting a backbone, or a network from scratch."""

import copy
import shutil
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.backbones.reference import BackboneReference
from radapt.cachedir import cache_folder
from radapt.cohorts.case_table import cohort_digest
from radapt.cohorts.cohort import Cohort
from radapt.cohorts.fold_groups import AUTO
from radapt.cohorts.folds import OUT_OF_FOLD, hold_out
from radapt.cohorts.label_draws import Draw
from radapt.cohorts.loading import as_cohort
from radapt.digests import ByteDigests
from radapt.errors import UsageError
from radapt.features import LesionFeatures, Pooling, check_lesion_masks
from radapt.images import Recipe
from radapt.protocols.choice import ChoiceRules, Choose, InnerScores
from radapt.protocols.decisions import Rule
from radapt.protocols.fewshot import FewShot, draw_folder, score_draws
from radapt.protocols.fit import fit
from radapt.protocols.fitted import Fitted, Model
from radapt.protocols.fold_store import FoldStore, fold_key, fold_model
from radapt.protocols.folds import as_one_test_set, naming, run_folds
from radapt.protocols.holdout import masked
from radapt.protocols.image_problem import ImageProblem, Machine
from radapt.protocols.protocol import Protocol
from radapt.protocols.registry import make
from radapt.protocols.save_model import MODEL_FOLDER, save_model
from radapt.protocols.scoring import Result


def train(
    cohort: Cohort | Path | str,
    protocol: str | Protocol,
    /,
    backbone: Backbone | LazyBackbone | None = None,
    *,
    recipe: Recipe | None = None,
    size: int | tuple[int, int] = 224,
    axis: str = "axial",
    every: int = 1,
    count: int | None = None,
    neighbours: int = 0,
    look: str | None = None,
    lesion_masks: Literal["training", "own"] = "training",
    pooling: Pooling | None = None,
    machine: Machine | None = None,
    cache: Path | str | None = None,
    seed: int = 0,
    resamples: int = 2000,
    choose: Choose | Literal["default"] = "auto",
    select_by: str | None = None,
    decision: Rule = "auto",
    one_standard_error: bool = False,
    inner_folds: str = AUTO,
    inner_scores: InnerScores = "chosen",
    **options: Any,
) -> Result:
    """Train `protocol` on train, choose on val or by inner folds of train and val, and test once.

    `cohort` is what `load_cohort` gives, or the path of its cohort.yaml. `backbone` is what `load_backbone` or
    `find_backbone` gives; it is not changed, every training starts from a copy. Protocols that train a network from
    scratch take none. `recipe` overrides `size`, `axis`, `every`, `count`,
    `neighbours` and `look` (None: the default of the kind; see `Recipe`). Protocols that need whole planes read them
    whatever the look. With look `lesion` places are found by the masks of training cases, or with `lesion_masks` own by
    a case's own mask where it has one (see `LesionFeatures`). `options` are the protocol's own, and `seed` decides
    every draw. `choose`, `select_by`, `decision`, `one_standard_error`, `inner_folds` and `inner_scores` say how
    choices are made (see `ChoiceRules`). With `fewshot` every draw is trained, in a folder of its own; in a cohort with
    folds a model for every fold (see `evaluate`).

    Raises UsageError for an unknown protocol or option, and where protocol, cohort and backbone do not go together;
    DataError if there is too little to learn from or to evaluate on.
    """
    cohort = as_cohort(cohort)
    if backbone is not None and not hasattr(backbone, "identity"):
        raise UsageError(f"The backbone is {backbone!r}; expected the result of radapt.load_backbone(NAME).")
    if choose == "default":  # of `fewshot` alone, whose option has this name
        options, choose = {**options, "choose": "default"}, "auto"
    if isinstance(protocol, Protocol) and options:
        raise UsageError(f"Options {', '.join(options)} were given beside a ready protocol; set them when making it.")
    ready = protocol if isinstance(protocol, Protocol) else make(protocol, **options)
    _check_fits(ready, backbone)
    rules = ChoiceRules(choose, select_by, decision, one_standard_error, inner_folds, inner_scores)
    recipe = recipe or Recipe.for_kind(
        cohort.kind, size=size, axis=axis, every=every, count=count, neighbours=neighbours, look=look
    )
    lazy = _copied(backbone) if isinstance(backbone, Backbone) else backbone
    if isinstance(ready, FewShot):

        def one(draw: Draw, limited: Cohort, base: Protocol) -> Result:
            own = machine and replace(machine, folder=machine.folder and machine.folder / draw_folder(draw))
            return train(
                limited, base, lazy, recipe=recipe, pooling=pooling, machine=own, cache=cache, seed=seed,
                resamples=resamples, lesion_masks=lesion_masks, choose="val", select_by=select_by,
                decision=decision, one_standard_error=one_standard_error, inner_folds=inner_folds,
            )  # fmt: skip

        return score_draws(ready, cohort, seed, one)
    recipe = ready.recipe_read(recipe)
    machine, pooling, cache = machine or Machine(), pooling or Pooling(), cache_folder(cache)
    reference = None if backbone is None else BackboneReference.of(backbone)
    lesions = None
    if recipe.look == "lesion" and lazy is not None:
        check_lesion_masks(cohort)
        lesions = LesionFeatures(cohort, lazy, recipe, cache, lesion_masks == "own", progress=machine.progress)
    if cohort.folds:
        folds = _Folds(cohort, ready, lazy, reference, recipe, pooling, machine, cache, seed, rules, lesions)
        return folds.run(resamples)
    problem = ImageProblem.of(cohort, ready.aim, recipe, cache, lazy, pooling, machine, rules, lesions)
    fitting, scoring = np.random.default_rng(seed).spawn(2)
    ready.scorer.check(cohort, problem)
    fitted = fit(ready, problem, fitting)
    if problem.machine.folder is not None:
        save_model(problem.machine.folder / MODEL_FOLDER, ready, fitted, problem, reference)
    result = ready.scorer.score(cohort, ready.name, fitted, scoring, resamples, problem)
    if isinstance(fitted.final, Model) and recipe.look != "lesion":  # looking for lesions takes more than the model
        result = replace(result, model=fitted.final, slices=problem.slices)
    if problem.machine.checkpoints is not None:
        shutil.rmtree(problem.machine.checkpoints, ignore_errors=True)
    return result


@dataclass(frozen=True)
class _Folds:
    """The training of one model per fold. That of a fold, its checkpoints included, is in `folds/<fold>` of the
    machine's folder; label maps are written to `masks` as without folds."""

    cohort: Cohort
    protocol: Protocol
    backbone: LazyBackbone | None
    reference: BackboneReference | None
    recipe: Recipe
    pooling: Pooling
    machine: Machine
    cache: Path
    seed: int
    rules: ChoiceRules
    lesions: LesionFeatures | None

    def run(self, resamples: int) -> Result:
        self.protocol.scorer.check(as_one_test_set(self.cohort), None)
        for fold in self.cohort.folds:  # better said now than after hours
            with naming(self.cohort, fold):
                self._problem(hold_out(self.cohort, fold), None)
        store, scoring = self._store(), np.random.default_rng(self.seed).spawn(2)[1]
        return run_folds(self.cohort, self.protocol, partial(self._fit, store), store, scoring, resamples)

    def _fit(self, store: FoldStore, fold: str, plain: Cohort) -> tuple[Fitted, ImageProblem]:
        problem = self._problem(plain, store.place(fold))
        tested = plain.select(plain.splits == OUT_OF_FOLD)
        if self.protocol.aim == "segmentation" and masked(tested).any():
            self.protocol.scorer.check(plain, problem)
        fitted = fit(self.protocol, problem, np.random.default_rng(self.seed).spawn(2)[0])
        if self.machine.folder is not None:
            folder = self.machine.folder / MODEL_FOLDER / fold_model(fold)
            save_model(folder, self.protocol, fitted, problem, self.reference)
        return fitted, replace(problem, machine=self.machine)

    def _problem(self, plain: Cohort, folder: Path | None) -> ImageProblem:
        machine = replace(self.machine, folder=folder)
        aim = self.protocol.aim
        return ImageProblem.of(
            plain, aim, self.recipe, self.cache, self.backbone, self.pooling, machine, self.rules, self.lesions
        )

    def _store(self) -> FoldStore:
        if self.machine.folder is None:
            return FoldStore(None, "")
        pixels = cohort_digest(self.cohort, ByteDigests(self.cache), masks=True)
        identity = None if self.backbone is None else self.backbone.identity
        data = [pixels, self.recipe.digest, identity, asdict(self.pooling), self.machine.precision]
        data += [self.rules.facts(self.cohort)]
        data += [] if self.lesions is None else [self.lesions.digest]
        return FoldStore(self.machine.folder, fold_key(self.protocol, self.cohort, self.seed, data))


def _check_fits(protocol: Protocol, backbone: object) -> None:
    if protocol.aim != protocol.scorer.aim:
        raise UsageError(
            f"Protocol {protocol.name!r} is for {protocol.aim}, but its scorer is for {protocol.scorer.aim}; give the "
            f"class a scorer for {protocol.aim}."
        )
    if protocol.reads != "images":
        raise UsageError(f"Protocol {protocol.name!r} reads features; use radapt.extract and radapt.evaluate.")
    if protocol.uses_backbone and backbone is None:
        raise UsageError(f"Protocol {protocol.name!r} adapts a backbone; give one, such as load_backbone('dinov2-s').")
    if not protocol.uses_backbone and backbone is not None:
        raise UsageError(f"Protocol {protocol.name!r} trains a network of its own; it takes no backbone.")


def _copied(backbone: Backbone) -> LazyBackbone:
    def load(dtype: str = "float32") -> Backbone:
        fresh = copy.deepcopy(backbone)
        fresh.module.to(getattr(torch, dtype))
        return fresh

    return LazyBackbone(backbone.name, backbone.identity, str(backbone.dtype), load, load_as=load)
