"""One protocol that trains on images, on one cohort: adapting a backbone, or a network from scratch."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.backbones.reference import BackboneReference
from radapt.cachedir import cache_folder
from radapt.cohorts.cohort import Cohort
from radapt.cohorts.label_draws import Draw
from radapt.errors import UsageError
from radapt.features import Pooling
from radapt.images import Recipe
from radapt.protocols.fewshot import FewShot, draw_folder, score_draws
from radapt.protocols.image_problem import ImageProblem, Machine
from radapt.protocols.protocol import Protocol
from radapt.protocols.registry import make
from radapt.protocols.save_model import MODEL_FOLDER, save_model
from radapt.protocols.scoring import Result


def train(
    cohort: Cohort,
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
    pooling: Pooling | None = None,
    machine: Machine | None = None,
    cache: Path | str | None = None,
    seed: int = 0,
    resamples: int = 2000,
    **options: Any,
) -> Result:
    """Train `protocol` on train, choose on val, and test once.

    `backbone` is what `load_backbone` or `find_backbone` gives; it is not changed, every training starts from a copy.
    Protocols that train a network from scratch take none. `recipe` overrides `size`, `axis`, `every`, `count` and
    `neighbours`. `options` are the protocol's own, and `seed` decides every draw. With `fewshot` every draw is trained,
    in a folder of its own (see `evaluate`).

    Raises UsageError for an unknown protocol or option, and where protocol, cohort and backbone do not go together;
    DataError if there is too little to learn from or to evaluate on.
    """
    if isinstance(protocol, Protocol) and options:
        raise UsageError(f"Options {', '.join(options)} were given beside a ready protocol; set them when making it.")
    ready = protocol if isinstance(protocol, Protocol) else make(protocol, **options)
    _check_fits(ready, backbone)
    recipe = recipe or Recipe.for_kind(
        cohort.kind, size=size, axis=axis, every=every, count=count, neighbours=neighbours
    )
    lazy = _copied(backbone) if isinstance(backbone, Backbone) else backbone
    if isinstance(ready, FewShot):

        def one(draw: Draw, limited: Cohort) -> Result:
            own = machine and replace(machine, folder=machine.folder and machine.folder / draw_folder(draw))
            return train(
                limited, ready.base, lazy, recipe=recipe, pooling=pooling, machine=own, cache=cache, seed=seed,
                resamples=resamples,
            )  # fmt: skip

        return score_draws(ready, cohort, seed, one)
    problem = ImageProblem.of(cohort, ready.aim, recipe, cache_folder(cache), lazy, pooling, machine)
    fitting, scoring = np.random.default_rng(seed).spawn(2)
    ready.scorer.check(cohort, problem)
    fitted = ready.fit(problem, fitting)
    if problem.machine.folder is not None:
        reference = None if backbone is None else BackboneReference.of(backbone)
        save_model(problem.machine.folder / MODEL_FOLDER, ready, fitted, problem, reference)
    result = ready.scorer.score(cohort, ready.name, fitted, scoring, resamples, problem)
    if problem.machine.checkpoints is not None:
        shutil.rmtree(problem.machine.checkpoints, ignore_errors=True)
    return result


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
