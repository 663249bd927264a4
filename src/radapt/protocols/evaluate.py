"""One protocol on the features of one cohort through one backbone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.label_draws import Draw
from radapt.errors import UsageError
from radapt.features import Features, Pooling
from radapt.protocols.fewshot import FewShot, draw_folder, score_draws
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.protocols.registry import make
from radapt.protocols.save_model import MODEL_FOLDER, save_model
from radapt.protocols.scoring import Result


def evaluate(
    features: Features,
    protocol: str | Protocol = "linear",
    /,
    *,
    seed: int = 0,
    pooling: Pooling | None = None,
    resamples: int = 2000,
    refit: bool = True,
    devices: int = 1,
    folder: Path | str | None = None,
    **options: Any,
) -> Result:
    """Fit `protocol` on train, choose on val, and test once.

    `options` are the protocol's own. `seed` decides every draw: the same call gives the same result. Intervals are
    bootstrapped by patient, and two calls with one seed resample the same patients, so that they can be paired.
    Without `refit` what was chosen on the cohort's val is not fitted again with val. `devices` processes share the
    training of a network, which of the protocols on features only `mil` is. The model is written to `folder/model`,
    where `radapt.load_model` finds it.

    With `fewshot` the result holds every draw, told apart by the columns shots, fraction and repeat; see
    `learning_curve` for their means.

    Raises UsageError for an unknown protocol or option, DataError if train has too little to learn from or no test
    set has a labelled case.
    """
    if isinstance(protocol, Protocol) and options:
        raise UsageError(f"Options {', '.join(options)} were given beside a ready protocol; set them when making it.")
    ready = protocol if isinstance(protocol, Protocol) else make(protocol, **options)
    if ready.reads != "features":
        raise UsageError(f"Protocol {ready.name!r} trains on images, not on features; use radapt.train.")
    place = None if folder is None else Path(folder)
    if isinstance(ready, FewShot):

        def one(draw: Draw, cohort: Cohort) -> Result:
            limited = replace(features, cohort=cohort)
            return evaluate(
                limited, ready.base, seed=seed, pooling=pooling, resamples=resamples, refit=False, devices=devices,
                folder=place and place / draw_folder(draw),
            )  # fmt: skip

        return score_draws(ready, features.cohort, seed, one)
    problem = FeatureProblem.of(features, pooling, refit=refit, devices=devices)
    ready.scorer.check(features.cohort, None)
    fitting, scoring = np.random.default_rng(seed).spawn(2)
    fitted = ready.fit(problem, fitting)
    if place is not None:
        save_model(place / MODEL_FOLDER, ready, fitted, problem)
    return ready.scorer.score(features.cohort, ready.name, fitted, scoring, resamples, None)
