"""The output folder of `radapt adapt`: the adapted backbone, its classifier, and its test scores.

request.json            the request; the folder resumes this one only
hours.json              with --hours: what was chosen, with the estimates of all candidates
checkpoints/            during the training
backbone.json, backbone.safetensors     (see `radapt.mmdino.folder`); a fusion has none
model.json, model.safetensors           (see `radapt.models.folder`)
predictions.parquet, scores.parquet, subsets.parquet, shapley.parquet
adapt.json              the record of the training, for the report
done.json               written last; without it the folder is not finished
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from radapt.backbones.reference import BackboneReference
from radapt.cohorts.case_table import cohort_digest
from radapt.cohorts.cohort import Cohort
from radapt.cohorts.folds import all_train
from radapt.digests import ByteDigests
from radapt.durable import remove_partial_files, write_json, write_parquet
from radapt.errors import UsageError, unwritable
from radapt.images import Recipe, SliceCache
from radapt.mmdino.adapt import Adapted, adapt
from radapt.mmdino.adapt_facts import FACTS, adaptation_facts
from radapt.mmdino.folder import AdaptedModel, save_adaptation
from radapt.mmdino.fusion.fit_fusion import Fusion, fit_fusion
from radapt.mmdino.protocol import MmDino
from radapt.mmdino.time_budget.estimate import TimePlan
from radapt.mmdino.time_budget.plan import PLAN, write_plan
from radapt.parsing.json import read_json
from radapt.protocols.fitted import Fitted, Model
from radapt.protocols.holdout import TASKS, blank_test_labels, labelled
from radapt.protocols.image_problem import ImageProblem, Machine
from radapt.protocols.save_model import save_model
from radapt.protocols.scoring import Result, score_fitted
from radapt.protocols.train import train
from radapt.training.fit_record import FitRecord
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.backbones import LocatedBackbone

REQUEST, DONE = "request.json", "done.json"


@dataclass(frozen=True, eq=False)
class Request:
    """A request to adapt an encoder to a cohort with given options."""

    cohort: Cohort
    found: "LocatedBackbone"
    protocol: MmDino
    recipe: Recipe
    seed: int = 0
    resamples: int = 2000
    plan: TimePlan | None = None
    """What was chosen for a stated time; the options of the protocol follow it."""

    def facts(self, cache: Path, precision: str) -> dict[str, Any]:
        """Everything that decides the results, as values that JSON can hold."""
        lazy = self.found.lazy
        asked = {
            "radapt": __version__,
            "cohort": cohort_digest(self.cohort, ByteDigests(cache), masks=True),
            "backbone": [self.found.card.architecture, lazy.identity],
            "options": self.protocol.options.plain(),
            "images": [self.recipe.describe(), self.recipe.digest],
            "precision": precision,
            "seed": self.seed,
            "resamples": self.resamples,
        }
        return dict(json.loads(json.dumps(asked)))


@dataclass(frozen=True)
class Ended:
    """A finished adaptation: whether it was finished `already` when requested, and `notes` for the reader."""

    folder: Path
    already: bool
    notes: tuple[str, ...]


def adapt_into(folder: Path, request: Request, machine: Machine, cache: Path) -> Ended:
    """Fill `folder` as `request` says. A killed process resumes with the same call and ends with the same numbers; a
    finished folder is left unchanged. `machine.folder` is ignored.

    On a cohort with folds an adaptation to the other folds answers for each, and these answers are scored; the
    backbone and classifier of `folder` are then adapted to all patients.

    A cohort without labels gives a backbone alone; one without a labelled case outside train and val is answered for,
    but not scored. Raises UsageError for a folder that holds anything else, and while another process fills it.
    """
    with _held(folder):
        _open(folder, request.facts(cache, machine.precision))
        if request.plan is not None:
            write_plan(folder, request.plan)
        if (folder / DONE).is_file():
            return Ended(folder, True, _notes(folder))
        lazy, source = request.found.lazy, request.found.source
        delivered = replace(request, cohort=all_train(request.cohort)) if request.cohort.folds else request
        protocol = request.protocol.settled(source, delivered.cohort, lazy.modalities)
        delivered = replace(delivered, protocol=protocol)
        folds = bool(request.cohort.folds) and request.cohort.task in TASKS
        scored = _out_of_fold(folder, replace(request, protocol=protocol), machine, cache) if folds else None
        make = _fused if protocol.options.stores_tokens else _encoder
        made, model = make(folder, delivered, machine, cache)
        if scored is None and model is not None:
            scored = _scored(delivered, model, made.record)
        facts = adaptation_facts(
            made, delivered.cohort, preset=protocol.preset, backbone=lazy.name, weights=source.identity,
            machine=machine, seed=request.seed,
        )  # fmt: skip
        about = _fold_notes(request.cohort) if folds else unscored(delivered.cohort, model)
        chosen = [] if request.plan is None else [request.plan.note]
        facts["notes"] = [*chosen, *facts["notes"], *about]
        if scored is not None:
            write_parquet(folder / "predictions.parquet", scored.predictions)
            write_parquet(folder / "scores.parquet", scored.scores)
            if scored.subsets is not None:
                scored.subsets.write(folder)
        write_json(folder / FACTS, facts)
        write_json(folder / DONE, {"radapt": __version__, "seconds": made.trained.seconds})
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return Ended(folder, False, tuple(facts["notes"]))


def _encoder(folder: Path, request: Request, machine: Machine, cache: Path) -> tuple[Adapted, Model | None]:
    """An adapted encoder, saved as a backbone with its classifier."""
    adapted = _adapted(folder, request, machine, cache)
    save_adaptation(folder, adapted, precision=machine.precision)
    return adapted, None if adapted.answer is None else AdaptedModel.of(adapted, request.cohort, SliceCache(cache))


def _fused(folder: Path, request: Request, machine: Machine, cache: Path) -> tuple[Fusion, Model | None]:
    """A fusion, saved as a model folder that refers to its encoder."""
    if machine.devices > 1:
        raise UsageError("What is trained on stored tokens is trained by one process; leave out --devices.")
    cohort, lazy, slices = blank_test_labels(request.cohort), request.found.lazy, SliceCache(cache)
    fusion = fit_fusion(
        cohort, lazy.load_as("float32"), request.protocol.options, recipe=request.recipe, cache=slices,
        seed=request.seed, precision=machine.precision, checkpoint=folder / "checkpoints" / "training.pt",
        progress=machine.progress,
    )  # fmt: skip
    model = fusion.model.of(request.cohort, slices, machine.progress)
    problem = ImageProblem(cohort, "classification", request.recipe, slices, machine=machine)
    save_model(folder, request.protocol, Fitted(model, model, fusion.record), problem, BackboneReference.of(lazy))
    return fusion, model


def unscored(cohort: Cohort, model: Model | None) -> list[str]:
    """Why nothing can be scored, if so."""
    if model is None:
        return ["Without a classifier nothing was scored; fit a protocol on the backbone."]
    if not _tested(cohort):
        return ["No case outside train and val has a label, so nothing was scored."]
    return []


def _out_of_fold(folder: Path, request: Request, machine: Machine, cache: Path) -> Result:
    """Answers for every labelled patient by an adaptation to the other folds, in `folds/` and `model/fold-<f>`."""
    return train(
        request.cohort, request.protocol, request.found.lazy, recipe=request.recipe, cache=cache, seed=request.seed,
        machine=replace(machine, folder=folder), resamples=request.resamples,
    )  # fmt: skip


def _fold_notes(cohort: Cohort) -> list[str]:
    how = "" if cohort.fold_rule is None else f", {cohort.fold_rule.words}"
    return [
        f"Scores are out of fold{how}: every labelled patient was tested once, by an adaptation to the other folds.",
        "The delivered model was then adapted to all patients; the scores are those of the folds' models, not its own.",
    ]


def _adapted(folder: Path, request: Request, machine: Machine, cache: Path) -> Adapted:
    return adapt(
        blank_test_labels(request.cohort), request.found.lazy, request.protocol.options, recipe=request.recipe,
        seed=request.seed, device=machine.device, devices=machine.devices, precision=machine.precision,
        checkpoint=folder / "checkpoints" / "training.pt", cache=cache, progress=machine.progress,
    )  # fmt: skip


def _scored(request: Request, model: Model, record: FitRecord) -> Result | None:
    """Answers for all cases outside train, with scores; those of subsets where there is a labelled test set."""
    cohort = request.cohort
    if not (cohort.splits != "train").any():
        return None
    if not _tested(cohort):
        model = _Whole(model)
    fitted = Fitted(model, model, record)
    return score_fitted(cohort, request.protocol.name, fitted, np.random.default_rng(request.seed), request.resamples)


@dataclass(frozen=True, eq=False)
class _Whole(Model):
    """A model that predicts from all sequences of a case only, and not from subsets."""

    model: Model

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict(rows)


def _tested(cohort: Cohort) -> bool:
    if cohort.task not in TASKS:
        return False
    return bool((labelled(cohort.labels) & ~np.isin(cohort.splits, ("train", "val"))).any())


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock the folder for this process; the lock ends with the process, even if it is killed."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; an adaptation needs a folder. Give another one with --out.")
    fresh = not folder.exists()
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        if not fresh:
            _refuse_other(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UsageError(f"Another process is adapting into {folder}. Wait for it, or give another --out.") from error
    except OSError as error:
        raise unwritable(f"The folder {folder}", error) from error
    try:
        remove_partial_files(folder, ".")
        yield
    finally:
        lock.release()


def _refuse_other(folder: Path) -> None:
    mine = [each.name for each in sorted(folder.iterdir()) if not each.name.startswith(".")]
    if mine and REQUEST not in mine:
        raise UsageError(
            f"{folder} holds something else ({', '.join(mine[:3])}{' …' if len(mine) > 3 else ''}), which is left "
            "alone. Give a new folder with --out."
        )


def _open(folder: Path, asked: dict[str, Any]) -> None:
    """Write the request, or check that the folder holds the same one.

    An unfinished run may be restarted with other options while the folder holds no result of it, such as after an image
    that could not be read.
    """
    path = folder / REQUEST
    if not path.is_file() or not any(_come_of_it(folder)):
        write_json(path, asked)
        return
    before = _read(path)
    changed = [said for name in asked if (said := _difference(name, before.get(name), asked[name]))]
    if changed:
        raise UsageError(
            f"{folder} holds another adaptation: {'; '.join(changed)}. Request the same again, or give another --out."
        )


def _come_of_it(folder: Path) -> Iterator[Path]:
    """The files that an adaptation has written to the folder, checkpoints included."""
    return (each for each in folder.rglob("*") if each.is_file() and each.name not in (REQUEST, PLAN, ".lock"))


def _difference(name: str, before: Any, now: Any) -> str:
    """The difference in a few words; '' if there is none."""
    if before == now:
        return ""
    if name == "options" and isinstance(before, dict):
        parts = [f"{key} was {before.get(key)!r} and is {now[key]!r}" for key in now if before.get(key) != now[key]]
        return "; ".join(parts)
    if name == "images":
        return f"images were prepared differently ({before[0] if before else before}; now {now[0]})"
    if name in ("cohort", "backbone"):
        return f"the {name} was another one"
    return f"{name} was {before!r} and is {now!r}"


def _notes(folder: Path) -> tuple[str, ...]:
    return tuple(map(str, _read(folder / FACTS).get("notes") or ()))


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}). Give another folder with --out.") from error
