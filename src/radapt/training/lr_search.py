"""Learning-rate search: one run per rate from the same initial weights; the best on val is kept."""

import abc
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
from radapt.parsing.json import read_json
from radapt.progress import ProgressMaker, silent
from radapt.training.checkpoint import load_tensors, save_tensors
from radapt.training.config import TrainConfig
from radapt.training.fit_record import Candidate, Cost, FitCases, FitRecord
from radapt.training.groups import count_parameters
from radapt.training.loop import train
from radapt.training.result import DivergedError, TrainResult
from radapt.training.task import Task

CHECKPOINT_S = 300.0
"""Seconds between two checkpoints: the most that an interruption costs."""

NO_VAL = "no case to choose on, so the first learning rate was taken by default"

M = TypeVar("M")


@dataclass(frozen=True)
class TrainSetup:
    """The settings that all runs of a search share."""

    seed: int
    label: str
    """The name of the protocol, for the progress bar and error messages."""

    device: str = "cpu"
    devices: int = 1
    progress: ProgressMaker = silent


class RateSearch(abc.ABC, Generic[M]):
    """Defines the run at each rate and how rates are compared. M is a model with everything its training needs."""

    setup: TrainSetup

    @abc.abstractmethod
    def make(self) -> M:
        """A new model, equal in every call."""

    @abc.abstractmethod
    def network(self, model: M) -> nn.Module:
        """The module with all weights of the model, frozen ones included."""

    @abc.abstractmethod
    def task(self, model: M, rate: float) -> Task: ...

    @abc.abstractmethod
    def config(self, rate: float) -> TrainConfig: ...

    @abc.abstractmethod
    def evaluate(self, model: M, rate: float, trained: TrainResult) -> dict[str, float]:
        """The validation scores of a trained model, by which rates are compared; empty without val.

        Raises DivergedError if the model's predictions are not finite.
        """

    @abc.abstractmethod
    def best(self, val: Sequence[Mapping[str, float]]) -> int:
        """The index of the best among several results of `evaluate`; the first if no score is defined."""

    @abc.abstractmethod
    def state(self, model: M) -> dict[str, Tensor]:
        """Copies on the CPU of everything that training changes."""

    @abc.abstractmethod
    def load(self, model: M, state: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""

    def frozen(self, model: M) -> str:
        """A digest of the frozen weights; '' if nothing is frozen."""
        return ""


@dataclass(frozen=True)
class Trial:
    """The result of one learning rate."""

    candidate: Candidate
    cost: Cost
    history: tuple[Mapping[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Trial":
        """The inverse of `asdict` written as JSON: null becomes NaN."""
        history = tuple(
            {name: float("nan") if value is None else value for name, value in entry.items()}
            for entry in stored["history"]
        )
        candidate, cost = Candidate.from_json(stored["candidate"]), Cost.from_json(stored["cost"])
        return cls(candidate, cost, history, tuple(stored["notes"]))


class TrialStore:
    """The finished trials, and the state of the best of them.

    With a folder both are on disk, so that an interrupted search resumes after them. A trial is written after its state
    and before an older state is removed: the state of the best trial is there whenever the search is interrupted.
    `key` identifies everything that decides the search (see `fit_key`); files of other keys in the folder are removed.
    """

    def __init__(self, folder: Path | None, key: str, best: Callable[[Sequence[Trial]], int | None]) -> None:
        """Reads the complete trials, in order. `best` returns the trial whose state is kept, None if all diverged."""
        self._root, self._best = folder, best
        self._folder = None if folder is None else folder / key
        self._state: Mapping[str, Tensor] = {}
        self._tidy()
        trials = self._read()
        winner = best(trials)
        self.trials = trials if winner is None or self._state_path(winner).is_file() else []

    def checkpoint(self) -> Path | None:
        """The checkpoint file of the current run."""
        return None if self._folder is None else self._folder / f"{len(self.trials)}.pt"

    def add(self, trial: Trial, state: Callable[[], Mapping[str, Tensor]]) -> None:
        """Add a finished trial; `state` is called if it is the best so far."""
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
        winner = self._best(self.trials)
        if self._state or self._folder is None or winner is None:
            return self._state
        return load_tensors(self._state_path(winner))

    def _state_path(self, number: int) -> Path:
        return Path(str(self._folder), f"{number}.safetensors")

    def _tidy(self) -> None:
        """Remove the files of other searches."""
        if self._root is None or not self._root.is_dir():
            return
        for other in self._root.glob("*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink(missing_ok=True)

    def _read(self) -> list[Trial]:
        trials: list[Trial] = []
        if self._folder is None:
            return trials
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            while True:
                path = self._folder / f"{len(trials)}.json"
                trials.append(Trial.from_json(read_json(path)))
        return trials


@dataclass(frozen=True, eq=False)
class BestModel(Generic[M]):
    """The trained model with the best validation score, and every trial. `state` is its `RateSearch.state`."""

    model: M
    number: int
    trials: Sequence[Trial]
    state: Mapping[str, Tensor]

    @property
    def winner(self) -> Candidate:
        return self.trials[self.number].candidate

    @property
    def cost(self) -> Cost:
        """The summed time of all trials, their highest memory, and the parameters of the model."""
        best = self.trials[self.number].cost
        memory = max(trial.cost.peak_memory_mb for trial in self.trials if trial.candidate.diverged is None)
        return Cost(best.trained, best.parameters, memory, sum(trial.cost.seconds for trial in self.trials))

    @property
    def notes(self) -> list[str]:
        """Notes on all trials for a reader, including rates that were left out."""
        notes = [note for trial in self.trials for note in trial.notes]
        return notes + [_left_out(trial.candidate) for trial in self.trials if trial.candidate.diverged is not None]

    def record(
        self,
        criterion: str,
        cases: FitCases,
        notes: Sequence[str],
        details: Mapping[str, Any] | None = None,
        *,
        by_default: str = NO_VAL,
    ) -> FitRecord:
        """The record of the search; `by_default` replaces the criterion if there was no val."""
        return FitRecord(
            candidates=tuple(trial.candidate for trial in self.trials),
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
    """Train a new model at each of `rates`, one in memory at a time; the best on val wins, without val the first.

    A rate at which training diverges is left out, with the reason in the notes. The model ends on its device, in eval
    mode. With a `folder` and the `key` of the search (see `fit_key`), a later call resumes an interrupted one; remove
    the folder once the model is saved. Raises DivergedError if training diverges at every rate, RuntimeError if it
    changed frozen weights.
    """
    store = TrialStore(folder, key, partial(best_trial, search))
    model: M | None = None
    for rate in rates[len(store.trials) :]:
        model = None  # one model in memory at a time
        model = search.make()
        store.add(_tried(search, model, rate, store.checkpoint()), partial(search.state, model))
    best = best_trial(search, store.trials)
    if best is None:
        raise _all_diverged([trial.candidate for trial in store.trials])
    if model is None or store.trials[-1].candidate.diverged is not None:
        model = None
        model = search.make()
    state = store.best_state()
    search.load(model, state)
    search.network(model).to(search.setup.device).eval()
    return BestModel(model, best, tuple(store.trials), state)


def best_trial(search: RateSearch[M], trials: Sequence[Trial]) -> int | None:
    """The index of the best trial on val among those that did not diverge; None if there is none."""
    left = [number for number, trial in enumerate(trials) if trial.candidate.diverged is None]
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
    rates = ", ".join(f"{candidate.options['lr']:g}" for candidate in candidates)
    return DivergedError(f"Training diverged at every learning rate ({rates}). At the first: {candidates[0].diverged}")
