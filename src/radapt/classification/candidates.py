"""Training one network per learning rate and keeping the one that is best on val, kills in between or not."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from radapt.classification.task import CaseTask, LabelledCases, TrainableModel
from radapt.durable import atomic_path, write_json
from radapt.errors import UsageError
from radapt.networks import load_trained_state, trained_state
from radapt.progress import ProgressMaker
from radapt.protocols.selection import ValScores
from radapt.training import DivergedError, TrainConfig, TrainResult, count_parameters

CHECKPOINT_S = 300.0
"""Seconds between two checkpoints: what a kill costs at most."""

_ENCODER = "encoder."


@dataclass(frozen=True, eq=False)
class Training:
    """What all candidates share: cases, how networks are made and trained, and one seed for all draws."""

    cases: LabelledCases
    make: Callable[[], TrainableModel]
    regime: Callable[[float], TrainConfig]
    smoothing: float
    seed: int
    device: str
    progress: ProgressMaker
    label: str
    devices: int = 1


@dataclass(frozen=True, eq=False)
class BestModel:
    """The trained network that won, with facts of every candidate."""

    trainee: TrainableModel
    number: int
    facts: Sequence[Mapping[str, Any]]
    state: Mapping[str, Tensor]


class CandidateStore:
    """What finished candidates left behind: their facts, and the state of the best of them so far.

    With a folder both are on disk, so that a killed training goes on behind them. Facts are written after the state
    and before an older state is removed: whenever it is killed, the best candidate's state is there.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._root = folder
        self._folder = None if folder is None else folder / key
        self._state: dict[str, Tensor] = {}
        self.facts: list[dict[str, Any]] = self._read()

    def checkpoint(self) -> Path | None:
        """Where the candidate in training is kept."""
        return None if self._folder is None else self._folder / f"{len(self.facts)}.pt"

    def add(self, facts: dict[str, Any], network: nn.Module) -> None:
        """The next candidate has finished."""
        number = len(self.facts)
        is_best = best_of([*self.facts, facts]) == number
        older = best_of(self.facts)
        if is_best:
            self._state = state_of(network)
        if self._folder is not None:
            if is_best:
                save_state(self._state_path(number), self._state)
            write_json(self._folder / f"{number}.json", facts)
            if is_best and older is not None:
                self._state_path(older).unlink(missing_ok=True)
            (self._folder / f"{number}.pt").unlink(missing_ok=True)
        self.facts.append(facts)

    def best_state(self) -> Mapping[str, Tensor]:
        from safetensors.torch import load_file

        best = best_of(self.facts)
        if self._state or self._folder is None or best is None:
            return self._state
        return load_file(self._state_path(best))

    def _state_path(self, number: int) -> Path:
        return Path(str(self._folder), f"{number}.safetensors")

    def _read(self) -> list[dict[str, Any]]:
        """Facts of candidates in order, as far as they are whole; leftovers of another training are removed."""
        if self._root is None or self._folder is None:
            return []
        for other in self._root.glob("*") if self._root.is_dir() else ():
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        found: list[dict[str, Any]] = []
        with suppress(OSError, ValueError):
            while True:
                found.append(json.loads((self._folder / f"{len(found)}.json").read_text(encoding="utf-8")))
        best = best_of(found)
        return found if best is None or self._state_path(best).is_file() else []


def train_candidates(training: Training, rates: Sequence[float], kept: CandidateStore) -> BestModel:
    """Train a newly made network with each of `rates`; the best on val wins, the first where there is no val.

    A rate at which training diverges is left out. Raises DivergedError if all are, RuntimeError if training changed
    what was frozen.
    """
    trainee: TrainableModel | None = None
    for rate in rates[len(kept.facts) :]:
        trainee = None  # one network in memory at a time
        trainee = training.make()
        kept.add(_train_one(training, trainee, rate, kept.checkpoint()), trainee.network)
    best = best_of(kept.facts)
    if best is None:
        raise all_diverged([(each["lr"], each["diverged"]) for each in kept.facts])
    if trainee is None or kept.facts[-1]["diverged"]:
        trainee = training.make()
    state = kept.best_state()
    load_state(trainee.network, state)
    trainee.network.to(training.device).eval()
    return BestModel(trainee, best, kept.facts, state)


def all_diverged(reasons: Sequence[tuple[float, str]]) -> DivergedError:
    """The error for a grid of learning rates of which none is left, from (rate, reason) of each."""
    if len(reasons) == 1:
        return DivergedError(reasons[0][1])
    rates = ", ".join(f"{rate:g}" for rate, _ in reasons)
    return DivergedError(f"Training diverged at every learning rate ({rates}). At the first: {reasons[0][1]}")


def _train_one(training: Training, trainee: TrainableModel, rate: float, checkpoint: Path | None) -> dict[str, Any]:
    """Facts of one candidate; where it diverged they say why under `diverged`, '' elsewhere."""
    start = time.monotonic()
    task = CaseTask(trainee, training.cases, rate, training.smoothing)
    try:
        return _trained(training, trainee, task, checkpoint)
    except DivergedError as error:
        trained, parameters = count_parameters(trainee.network)
        nothing = TrainResult(float("nan"), 0, 0, 0, [], time.monotonic() - start, 0.0, trained, parameters, 0)
        return _facts(rate, nothing, (float("nan"), float("nan")), str(error))


def _trained(training: Training, trainee: TrainableModel, task: CaseTask, checkpoint: Path | None) -> dict[str, Any]:
    from radapt.training import train

    rate = task.lr
    before = trainee.frozen()
    trained = train(
        task, training.regime(rate), seed=training.seed, device=training.device, devices=training.devices,
        checkpoint=checkpoint, interval_s=CHECKPOINT_S, progress=training.progress,
        label=f"{training.label}, learning rate {rate:g}",
    )  # fmt: skip
    if trainee.frozen() != before:
        raise RuntimeError(f"Training by {training.label!r} changed frozen weights: this is an error in radapt.")
    if not len(task.cases.val):
        return _facts(rate, trained, (float("nan"), float("nan")))
    found = task.judged()
    return _facts(rate, trained, (float(found.auroc[0]), float(found.log_loss[0])))


def _facts(rate: float, trained: TrainResult, val: tuple[float, float], diverged: str = "") -> dict[str, Any]:
    return {
        "lr": rate,
        "val_auroc": val[0],
        "val_log_loss": val[1],
        "best_epoch": trained.best_epoch,
        "epochs": trained.epochs,
        "steps": trained.steps,
        "seconds": trained.seconds,
        "peak_memory_mb": trained.peak_memory_mb,
        "trained": trained.trained_parameters,
        "parameters": trained.parameters,
        "history": trained.history,
        "notes": list(trained.notes),
        "diverged": diverged,
    }


def best_of(facts: Sequence[Mapping[str, Any]]) -> int | None:
    """The candidate that is best on val of those that did not diverge; what JSON has as null is undefined."""
    left = [number for number, each in enumerate(facts) if not each["diverged"]]
    if not left:
        return None
    numbers = [
        [np.nan if facts[number][name] is None else facts[number][name] for number in left]
        for name in ("val_auroc", "val_log_loss")
    ]
    return left[ValScores(*np.asarray(numbers, dtype=np.float64)).best]


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Copies on the CPU of all that training changes in a network with an `encoder`: of the encoder what
    `trained_state` says, and everything outside it."""
    own = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith(_ENCODER)
    }
    return own | {_ENCODER + name: tensor.contiguous() for name, tensor in trained_state(_encoder(network)).items()}


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `state_of` gave. Raises UsageError if it is of another network."""
    inner = {name.removeprefix(_ENCODER): each for name, each in state.items() if name.startswith(_ENCODER)}
    outer = {name: each for name, each in state.items() if not name.startswith(_ENCODER)}
    current = {name: each for name, each in network.state_dict().items() if not name.startswith(_ENCODER)}
    wrong = [name for name in current.keys() | outer.keys() if _shape(current, name) != _shape(outer, name)]
    if wrong:
        raise UsageError(f"The trained weights do not fit the network: {', '.join(sorted(wrong)[:5])}.")
    load_trained_state(_encoder(network), inner)
    network.load_state_dict(outer, strict=False)


def save_state(path: Path, state: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    with atomic_path(path) as part:
        save_file(dict(state), part)


def _encoder(network: nn.Module) -> nn.Module:
    encoder = network.encoder
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"{type(network).__name__}.encoder is no module.")
    return encoder


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None
