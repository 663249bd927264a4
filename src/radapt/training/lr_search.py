"""The one search for a learning rate: a training per rate from the same start, of which the best on val is kept."""

import abc
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from radapt.durable import write_json
from radapt.progress import ProgressMaker, silent
from radapt.training.checkpoint import load_tensors, save_tensors
from radapt.training.config import TrainConfig
from radapt.training.fit_record import Candidate, Cost, FitCases, FitRecord
from radapt.training.groups import count_parameters
from radapt.training.loop import train
from radapt.training.result import DivergedError, TrainResult
from radapt.training.task import Task

CHECKPOINT_S = 300.0
"""Seconds between two checkpoints: what a kill costs at most."""

NO_VAL = "no case to choose on, so the first learning rate was taken by default"

M = TypeVar("M")


@dataclass(frozen=True)
class TrainSetup:
    """What the trainings of a search share."""

    seed: int
    label: str
    """What is trained, for the progress bar and error messages: the name of a protocol."""

    device: str = "cpu"
    devices: int = 1
    progress: ProgressMaker = silent


class RateSearch(abc.ABC, Generic[M]):
    """What is trained at each rate, and how rates are compared. M is a model with all that its training needs."""

    setup: TrainSetup

    @abc.abstractmethod
    def make(self) -> M:
        """A new model. Equal from call to call."""

    @abc.abstractmethod
    def network(self, model: M) -> nn.Module:
        """All weights of the model, frozen ones included."""

    @abc.abstractmethod
    def task(self, model: M, rate: float) -> Task: ...

    @abc.abstractmethod
    def config(self, rate: float) -> TrainConfig: ...

    @abc.abstractmethod
    def evaluate(self, model: M, rate: float, trained: TrainResult) -> dict[str, float]:
        """The numbers on val that rates are compared by, of a model that was trained; empty where there is no val.

        Raises DivergedError if the model's answers are not finite.
        """

    @abc.abstractmethod
    def best(self, val: Sequence[Mapping[str, float]]) -> int:
        """Which of several `evaluate` is the best; the first where nothing is defined."""

    @abc.abstractmethod
    def state(self, model: M) -> dict[str, Tensor]:
        """Copies on the CPU of all that training changes."""

    @abc.abstractmethod
    def load(self, model: M, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""

    def frozen(self, model: M) -> str:
        """A digest of all that training must not change; '' where nothing is frozen."""
        return ""


@dataclass(frozen=True)
class Trial:
    """What came of one learning rate."""

    candidate: Candidate
    cost: Cost
    history: tuple[Mapping[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Trial":
        """The inverse of `asdict` written as JSON: null among numbers is NaN."""
        history = tuple(
            {name: float("nan") if value is None else value for name, value in entry.items()}
            for entry in stored["history"]
        )
        candidate, cost = Candidate.from_json(stored["candidate"]), Cost.from_json(stored["cost"])
        return cls(candidate, cost, history, tuple(stored["notes"]))


class TrialStore:
    """The trials that are over, and the state of the best of them so far.

    With a folder both are on disk, so that a killed search resumes behind them. A trial is written after the state
    and before an older state is removed: whenever the search is killed, the state of the best trial is there. `key`
    names all that decides the search (see `fit_key`); what another key left in the folder is removed.
    """

    def __init__(self, folder: Path | None, key: str, best: Callable[[Sequence[Trial]], int | None]) -> None:
        """Reads the trials that are whole, in order. `best` says whose state is kept, None where all diverged."""
        self._root, self._best = folder, best
        self._folder = None if folder is None else folder / key
        self._state: Mapping[str, Tensor] = {}
        self._tidy()
        found = self._read()
        place = best(found)
        self.trials = found if place is None or self._state_path(place).is_file() else []

    def checkpoint(self) -> Path | None:
        """Where the training under way is kept."""
        return None if self._folder is None else self._folder / f"{len(self.trials)}.pt"

    def add(self, trial: Trial, state: Callable[[], Mapping[str, Tensor]]) -> None:
        """The next trial is over; its `state` is asked for if it is the best so far."""
        number, older = len(self.trials), self._best(self.trials)
        is_best = self._best([*self.trials, trial]) == number
        if is_best:
            self._state = state()
        if self._folder is not None:
            if is_best:
                save_tensors(self._state_path(number), self._state)
            write_json(self._folder / f"{number}.json", asdict(trial))
            if is_best and older is not None:
                self._state_path(older).unlink(missing_ok=True)
            (self._folder / f"{number}.pt").unlink(missing_ok=True)
        self.trials.append(trial)

    def best_state(self) -> Mapping[str, Tensor]:
        """The state of the best trial; empty if there is none."""
        place = self._best(self.trials)
        if self._state or self._folder is None or place is None:
            return self._state
        return load_tensors(self._state_path(place))

    def _state_path(self, number: int) -> Path:
        return Path(str(self._folder), f"{number}.safetensors")

    def _tidy(self) -> None:
        """Remove what another search left."""
        if self._root is None or not self._root.is_dir():
            return
        for other in self._root.glob("*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink(missing_ok=True)

    def _read(self) -> list[Trial]:
        found: list[Trial] = []
        if self._folder is None:
            return found
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            while True:
                path = self._folder / f"{len(found)}.json"
                found.append(Trial.from_json(json.loads(path.read_text(encoding="utf-8"))))
        return found


@dataclass(frozen=True, eq=False)
class BestModel(Generic[M]):
    """The trained model that is best on val, with every trial. `state` is what `RateSearch.state` gave of it."""

    model: M
    number: int
    trials: Sequence[Trial]
    state: Mapping[str, Tensor]

    @property
    def winner(self) -> Candidate:
        return self.trials[self.number].candidate

    @property
    def cost(self) -> Cost:
        """Of all trials together; parameters are those of the model."""
        best = self.trials[self.number].cost
        memory = max(one.cost.peak_memory_mb for one in self.trials if one.candidate.diverged is None)
        return Cost(best.trained, best.parameters, memory, sum(one.cost.seconds for one in self.trials))

    @property
    def notes(self) -> list[str]:
        """What a reader should know about the trainings."""
        said = [note for one in self.trials for note in one.notes]
        return said + [_left_out(one.candidate) for one in self.trials if one.candidate.diverged is not None]

    def record(
        self,
        criterion: str,
        cases: FitCases,
        notes: Sequence[str],
        details: Mapping[str, Any] | None = None,
        *,
        by_default: str = NO_VAL,
    ) -> FitRecord:
        """The record of the search; `by_default` is said in place of the criterion where there was no val."""
        return FitRecord(
            candidates=tuple(one.candidate for one in self.trials),
            chosen=self.number,
            criterion=criterion if cases.val else by_default,
            cases=cases,
            cost=self.cost,
            history=self.trials[self.number].history,
            notes=tuple(dict.fromkeys([*notes, *self.notes])),
            details=details or {},
        )


def search_rates(
    search: RateSearch[M], rates: Sequence[float], folder: Path | None = None, key: str = ""
) -> BestModel[M]:
    """Train a new model at each of `rates`, one in memory at a time; the best on val wins, the first without val.

    A rate at which training diverges is left out, with the reason. Leaves the model on its device, in eval mode. With a
    `folder` and the `key` of the search (see `fit_key`), a later call resumes where a killed one was; remove the folder
    when the model is safe. Raises DivergedError if training diverges at every rate, RuntimeError if it changed frozen
    weights.
    """
    store = TrialStore(folder, key, partial(best_trial, search))
    model: M | None = None
    for rate in rates[len(store.trials) :]:
        model = None  # one model in memory at a time
        model = search.make()
        store.add(_tried(search, model, rate, store.checkpoint()), partial(search.state, model))
    best = best_trial(search, store.trials)
    if best is None:
        raise _all_diverged([one.candidate for one in store.trials])
    if model is None or store.trials[-1].candidate.diverged is not None:
        model = None
        model = search.make()
    state = store.best_state()
    search.load(model, state)
    search.network(model).to(search.setup.device).eval()
    return BestModel(model, best, tuple(store.trials), state)


def best_trial(search: RateSearch[M], trials: Sequence[Trial]) -> int | None:
    """The best on val of the trials that did not diverge; None if there is none."""
    left = [number for number, one in enumerate(trials) if one.candidate.diverged is None]
    return left[search.best([trials[number].candidate.val for number in left])] if left else None


def _tried(search: RateSearch[M], model: M, rate: float, checkpoint: Path | None) -> Trial:
    start = time.monotonic()
    try:
        return _trained(search, model, rate, checkpoint)
    except DivergedError as error:
        cost = Cost(*count_parameters(search.network(model)), float("nan"), time.monotonic() - start)
        return Trial(Candidate({"lr": rate}, diverged=str(error)), cost)


def _trained(search: RateSearch[M], model: M, rate: float, checkpoint: Path | None) -> Trial:
    setup, before = search.setup, search.frozen(model)
    result = train(
        search.task(model, rate), search.config(rate), seed=setup.seed, device=setup.device, devices=setup.devices,
        checkpoint=checkpoint, interval_s=CHECKPOINT_S, progress=setup.progress,
        label=f"{setup.label}, learning rate {rate:g}",
    )  # fmt: skip
    if search.frozen(model) != before:
        raise RuntimeError(f"Training by {setup.label!r} changed frozen weights: this is an error in radapt.")
    val = search.evaluate(model, rate, result)
    candidate = Candidate({"lr": rate}, val, result.best_epoch, result.epochs, result.steps)
    cost = Cost(*count_parameters(search.network(model)), result.peak_memory_mb, result.seconds)
    return Trial(candidate, cost, tuple(result.history), tuple(result.notes))


def _left_out(candidate: Candidate) -> str:
    return f"Learning rate {candidate.options['lr']:g} was left out, as training diverged: {candidate.diverged}"


def _all_diverged(candidates: Sequence[Candidate]) -> DivergedError:
    if len(candidates) == 1:
        return DivergedError(candidates[0].diverged)
    rates = ", ".join(f"{one.options['lr']:g}" for one in candidates)
    return DivergedError(f"Training diverged at every learning rate ({rates}). At the first: {candidates[0].diverged}")
