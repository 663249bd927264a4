"""Runs one cell: fits its protocol and scores it, on stored features or on images."""

from dataclasses import replace
from typing import TYPE_CHECKING

from radapt.studies.cells import Cell, PreparedCohort
from radapt.studies.ledger import Ledger
from radapt.studies.plan import Plan, Settings

if TYPE_CHECKING:
    from radapt.backbones import LazyBackbone
    from radapt.features import Features, LesionFeatures
    from radapt.features.token_pass import MakeStore
    from radapt.protocols import Protocol, Result


def features_of(
    prepared: PreparedCohort, backbone: "LazyBackbone", settings: Settings, tokens: "MakeStore | None" = None
) -> "Features | LesionFeatures":
    """The features of a cohort, extracted unless the cache holds them; on the way `tokens` are stored, too."""
    from radapt.features import LesionFeatures, extract

    cohort, recipe = prepared.cohort, prepared.recipe
    if recipe.look == "lesion":
        own = prepared.image.lesion_masks == "own"
        return LesionFeatures(cohort, backbone, recipe, settings.cache, own, progress=settings.progress)
    return extract(
        cohort, backbone, recipe=recipe, cache=settings.cache, progress=settings.progress, tokens=tokens,
        devices=settings.devices,
    )  # fmt: skip


def evaluate_cell(
    cell: Cell, features: "Features | LesionFeatures", ledger: Ledger, settings: Settings, plan: Plan
) -> "Result":
    """Fit and score a protocol that reads features."""
    from radapt.cohorts.label_draws import restrict
    from radapt.features import Pooling
    from radapt.protocols import evaluate

    draw = cell.job.draw
    if draw is not None and not features.cohort.folds:
        features = replace(features, cohort=restrict(features.cohort, draw))
    result = evaluate(
        features, _protocol(cell), seed=cell.seed, pooling=Pooling(**plan.study.pooling.model_dump()),
        resamples=plan.study.resamples, refit=draw is None, devices=settings.devices, folder=ledger.opened(cell.id),
        **plan.study.choices,
    )  # fmt: skip
    return _with_draw(result, cell)


def train_cell(cell: Cell, ledger: Ledger, settings: Settings, plan: Plan) -> "Result":
    """Train and score a protocol that reads images; the model is saved in the cell's folder."""
    from radapt.cohorts.label_draws import restrict
    from radapt.features import Pooling
    from radapt.protocols import Machine, train

    prepared, draw = cell.prepared, cell.job.draw
    # A learning curve never mixes val into its few cases.
    choices = plan.study.choices | ({} if draw is None else {"choose": "val"})
    result = train(
        prepared.cohort if draw is None or prepared.cohort.folds else restrict(prepared.cohort, draw),
        _protocol(cell),
        cell.encoder.located.lazy if cell.encoder else None,
        recipe=prepared.recipe,
        lesion_masks=prepared.image.lesion_masks,
        pooling=Pooling(**plan.study.pooling.model_dump()),
        machine=Machine(plan.device, cell.facts["dtype"], ledger.opened(cell.id), settings.progress, settings.devices),
        cache=settings.cache,
        seed=cell.seed,
        resamples=plan.study.resamples,
        **choices,
    )
    return _with_draw(result, cell)


def _protocol(cell: Cell) -> "Protocol":
    """The cell's protocol; in a learning curve on a cohort with folds, on a draw inside each of them."""
    from radapt.protocols.fewshot import OnDraw

    protocol, draw = cell.job.protocol, cell.job.draw
    if draw is None or not cell.prepared.cohort.folds:
        return protocol
    return OnDraw(protocol, draw.shots, draw.fraction, draw.repeat, cell.seed)


def _with_draw(result: "Result", cell: Cell) -> "Result":
    """The result with the number of training patients and the notes of its draw, in a learning curve."""
    from radapt.protocols.fewshot import drawn

    draw = cell.job.draw
    if draw is None or result.folds:  # every fold has a draw of its own, which its record names
        return result
    return replace(result, fits=(replace(result.fit, draw=drawn(draw)),))
