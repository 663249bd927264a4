"""One protocol on the features of one cohort through one backbone."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.fold_groups import AUTO
from radapt.cohorts.folds import hold_out
from radapt.cohorts.label_draws import Draw
from radapt.errors import UsageError, suggest
from radapt.features import Features, LesionFeatures, Pooling
from radapt.protocols.choice import ChoiceRules, Choose, InnerScores
from radapt.protocols.decisions import Rule
from radapt.protocols.fewshot import FewShot, draw_folder, score_draws
from radapt.protocols.fit import fit
from radapt.protocols.fitted import Fitted
from radapt.protocols.fold_store import FoldStore, fold_key, fold_model
from radapt.protocols.folds import as_one_test_set, naming, run_folds
from radapt.protocols.holdout import blank_test_labels, check_learnable
from radapt.protocols.own_estimator import OwnEstimator, refuse_other
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.registry import make
from radapt.protocols.save_model import MODEL_FOLDER, save_model
from radapt.protocols.scoring import Result


def evaluate(
    features: Features | LesionFeatures,
    protocol: "str | Protocol | Any" = "linear",
    /,
    *,
    seed: int = 0,
    pooling: Pooling | None = None,
    resamples: int = 2000,
    refit: bool = True,
    devices: int = 1,
    folder: Path | str | None = None,
    choose: Choose | Literal["default"] = "auto",
    select_by: str | None = None,
    decision: Rule = "auto",
    one_standard_error: bool = False,
    inner_folds: str = AUTO,
    inner_scores: InnerScores = "chosen",
    **options: Any,
) -> Result:
    """Fit `protocol` on train, choose on val or by inner folds of train and val, and test once.

    `protocol` is a name, a protocol, or a classifier with scikit-learn's `fit` and `predict_proba` (see `OwnEstimator`,
    whose `blocks` and `patch_mean` may be given). `features` are what `extract` gives, or `LesionFeatures`, which are
    made anew for every fold. `options` are the protocol's own. `seed` decides every draw: the same call gives the same
    result. Intervals are bootstrapped by patient, and two calls with one seed resample the same patients, so that they
    can be paired. `choose`, `select_by`, `decision`, `one_standard_error`, `inner_folds` and `inner_scores` say how
    choices are made (see `ChoiceRules`). Without `refit` choices are made on val, and what was chosen is not fitted
    again with the cohort's val. `devices` processes share the training of a network, which of the protocols on features
    only `mil` is. The model is written to `folder/model`, where `radapt.load_model` finds it.

    In a cohort with folds every labelled patient is tested once, by a model fitted on the other folds, and the result
    is of all of them (see `Result`). The models are written to `folder/model/fold-<f>`, and finished folds to
    `folder/folds`, from where the same call takes them.

    With `fewshot` the result holds every draw, identified by the columns shots, fraction and repeat, each chosen on val
    (see `FewShot`); see `learning_curve` for their means.

    Raises UsageError for an unknown protocol or option, DataError if train has too little to learn from or no test
    set has a labelled case.
    """
    if isinstance(features, Cohort | Path | str):
        raise UsageError(
            f"evaluate reads features and was given a {type(features).__name__}: give it radapt.extract(cohort, "
            "backbone). Protocols that read images take a cohort: radapt.train(cohort, protocol)."
        )
    if choose == "default":  # of `fewshot` alone, whose option has this name
        options, choose = {**options, "choose": "default"}, "auto"
    if isinstance(protocol, Protocol) and options:
        raise UsageError(f"Options {', '.join(options)} were given beside a ready protocol; set them when making it.")
    if isinstance(protocol, Protocol):
        ready = protocol
    else:
        ready = make(protocol, **options) if isinstance(protocol, str) else _own(protocol, options)
    if ready.reads != "features":
        raise UsageError(f"Protocol {ready.name!r} trains on images, not on features; use radapt.train.")
    place = None if folder is None else Path(folder)
    rules = ChoiceRules(choose, select_by, decision, one_standard_error, inner_folds, inner_scores)
    if isinstance(ready, FewShot):

        def one(draw: Draw, cohort: Cohort, base: Protocol) -> Result:
            limited = replace(features, cohort=cohort)
            return evaluate(
                limited, base, seed=seed, pooling=pooling, resamples=resamples, refit=False, devices=devices,
                folder=place and place / draw_folder(draw), choose=choose, select_by=select_by, decision=decision,
                one_standard_error=one_standard_error, inner_folds=inner_folds,
            )  # fmt: skip

        return score_draws(ready, features.cohort, seed, one)
    if features.cohort.folds:
        return _evaluate_folds(features, ready, seed, pooling or Pooling(), resamples, refit, devices, place, rules)
    problem = FeatureProblem.of(_seen(features, features.cohort), pooling, refit=refit, devices=devices, rules=rules)
    ready.scorer.check(features.cohort, None)
    fitting, scoring = np.random.default_rng(seed).spawn(2)
    fitted = fit(ready, problem, fitting)
    if place is not None:
        save_model(place / MODEL_FOLDER, ready, fitted, problem)
    result = ready.scorer.score(features.cohort, ready.name, fitted, scoring, resamples, None)
    return replace(result, model=fitted.final)


def _own(estimator: Any, options: dict[str, Any]) -> OwnEstimator:
    refuse_other(estimator)
    known = OwnEstimator.known_options()[1:]
    for option in options:
        if option not in known:
            raise UsageError(f"An estimator of one's own has no option {option!r}. {suggest(option, known)}")
    return OwnEstimator(estimator, **options)


def _seen(features: Features | LesionFeatures, cohort: Cohort) -> Features:
    """The features of a variant of their cohort, such as that of a fold; those of lesions are found for it."""
    return features.on(cohort) if isinstance(features, LesionFeatures) else replace(features, cohort=cohort)


def _evaluate_folds(
    features: Features | LesionFeatures,
    protocol: Protocol,
    seed: int,
    pooling: Pooling,
    resamples: int,
    refit: bool,
    devices: int,
    place: Path | None,
    rules: ChoiceRules,
) -> Result:
    cohort = features.cohort
    protocol.scorer.check(as_one_test_set(cohort), None)

    def problem_of(plain: Cohort) -> FeatureProblem:
        return FeatureProblem.of(_seen(features, plain), pooling, refit=refit, devices=devices, rules=rules)

    def fit_fold(fold: str, plain: Cohort) -> tuple[Fitted, None]:
        problem = problem_of(plain)
        fitted = fit(protocol, problem, np.random.default_rng(seed).spawn(2)[0])
        if place is not None:
            save_model(place / MODEL_FOLDER / fold_model(fold), protocol, fitted, problem)
        return fitted, None

    for fold in cohort.folds:  # better said now than after hours
        with naming(cohort, fold):
            check_learnable(blank_test_labels(hold_out(cohort, fold)))
    stored = getattr(features, "digest", None)  # features made of arrays have none, and nothing of them is kept
    key = fold_key(protocol, cohort, seed, [stored, asdict(pooling), refit, rules.facts(cohort)])
    store = FoldStore(None if stored is None else place, key)
    return run_folds(cohort, protocol, fit_fold, store, np.random.default_rng(seed).spawn(2)[1], resamples)
