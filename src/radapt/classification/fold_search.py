"""Learning rate and epochs of a network by inner folds, then one training on all of train and val.

Every rate is trained on every fold, and after each epoch the network answers for the cases held out. The answers after
so many epochs are pooled over folds and scored; an epoch's score is averaged with its neighbours', as strengths of a
probe are (see `protocols.cross_validation`). The final training has the schedule that the folds had, and ends within it
after the epochs chosen: what is delivered is at the point of training that was scored.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from radapt.classification.rate_search import CaseSearch
from radapt.classification.task import FoldTask, TrainableModel
from radapt.durable import write_json
from radapt.errors import DataError
from radapt.parsing.json import read_json
from radapt.protocols.choice import InnerFold, InnerFolds
from radapt.protocols.cross_validation import FoldScores, pooled
from radapt.protocols.ratings import Rater
from radapt.training import DivergedError, TrainConfig, train
from radapt.training.checkpoint import load_tensors, save_tensors
from radapt.training.fit_record import Candidate, Cost, FitCases, FitRecord
from radapt.training.groups import count_parameters
from radapt.training.lr_search import CHECKPOINT_S, BestModel, Trial, search_rates

FoldSearch = Callable[[np.ndarray, np.ndarray], CaseSearch]
"""Makes the search of a training on the cases at the first indices that holds out those at the second."""


@dataclass(frozen=True)
class FoldChoice:
    """The rate and the epochs that inner folds chose, the trainings behind it, and what they answered out of fold."""

    folds: InnerFolds
    scores: FoldScores
    offers: tuple[tuple[int, int], ...]
    """(rate, epochs) of each scored candidate."""
    rates: tuple[float, ...]
    trials: tuple[tuple[Trial, ...], ...]
    """Of each rate, one for each fold."""
    chosen: int

    @property
    def rate(self) -> float:
        return self.rates[self.offers[self.chosen][0]]

    @property
    def epochs(self) -> int:
        return self.offers[self.chosen][1]

    @property
    def answers(self) -> np.ndarray:
        """(n, outputs) of `folds.answered`."""
        return self.scores.predictions(self.chosen)

    def record(self, final: BestModel[TrainableModel], notes: Sequence[str], one_standard_error: bool) -> FitRecord:
        """The record of the whole fit, whose last training is `final`."""
        rows, smooth = self.folds.rows, self.scores.smooth
        candidates = []
        for rate, trials in enumerate(self.trials):
            failed = next((one.candidate.diverged for one in trials if one.candidate.diverged), None)
            own = [number for number, (of_rate, _) in enumerate(self.offers) if of_rate == rate]
            if failed or not own:
                candidates.append(Candidate({"lr": self.rates[rate]}, diverged=failed))
                continue
            ranked = replace(smooth, value=smooth.value[own], auroc=smooth.auroc[own], log_loss=smooth.log_loss[own])
            best = self.chosen if self.chosen in own else own[ranked.best]
            val = self.scores.ratings.of(best) | self.scores.extra[best]
            steps = sum(one.candidate.steps or 0 for one in trials)
            epochs = max(one.candidate.epochs or 0 for one in trials)
            candidates.append(Candidate({"lr": self.rates[rate]}, val, self.offers[best][1], epochs, steps))
        costs = [one.cost for trials in self.trials for one in trials] + [final.cost]
        memory = [cost.peak_memory_mb for cost in costs if np.isfinite(cost.peak_memory_mb)]
        left_out = [
            f"Learning rate {one.options['lr']:g} was left out, as training diverged in a fold: {one.diverged}"
            for one in candidates
            if one.diverged
        ]
        last = f"Trained on all of train and val for {self.epochs} epochs, with the schedule of the folds."
        said = [*notes, *self.scores.notes(self.chosen), last, *final.notes, *left_out]
        return FitRecord(
            candidates=tuple(candidates),
            chosen=self.offers[self.chosen][0],
            criterion=self.scores.criterion(one_standard_error),
            cases=FitCases(len(rows), len(rows), "folds", len(rows), folds=self.folds.folds, repeats=1),
            cost=Cost(
                final.cost.trained, final.cost.parameters, max(memory, default=float("nan")),
                sum(cost.seconds for cost in costs),
            ),
            history=final.trials[final.number].history,
            notes=tuple(dict.fromkeys(said)),
        )  # fmt: skip


def choose_by_folds(
    search_of: FoldSearch,
    rates: Sequence[float],
    folds: InnerFolds,
    rater: Rater,
    labels: np.ndarray,
    *,
    one_standard_error: bool = False,
    folder: Path | None = None,
) -> FoldChoice:
    """Train at every rate on every fold and choose rate and epochs by what is answered out of fold.

    `labels` are those of the whole cohort. With a `folder`, trainings that are over are not made again after a kill.
    Raises DivergedError if training diverges at every rate, DataError where a fold has nothing to learn.
    """
    (repeat,) = folds.repeats
    found = [[_train_fold(search_of, fold, rate, folder, f"{f}-{r}") for f, fold in enumerate(repeat)]
             for r, rate in enumerate(rates)]  # fmt: skip
    answered = folds.answered
    places = [np.searchsorted(answered, fold.held_out) for fold in repeat]
    offers: list[tuple[int, int]] = []
    parts: list[list[np.ndarray]] = [[] for _ in repeat]
    paths: list[list[int]] = []
    for r, trained in enumerate(found):
        if any(one.trial.candidate.diverged for one in trained):
            continue
        epochs = sorted({epoch for one in trained for epoch in one.epochs})
        paths.append(list(range(len(offers), len(offers) + len(epochs))))
        offers += [(r, epoch) for epoch in epochs]
        for f, one in enumerate(trained):
            parts[f] += [one.after(epoch) for epoch in epochs]
    if not offers:
        first = next(one.trial.candidate.diverged for one in found[0] if one.trial.candidate.diverged)
        raise DivergedError(f"Training diverged in a fold at every learning rate. At the first: {first}")
    stacked = [np.stack(part) for part in parts]
    learned = [fold.train for fold in repeat]
    together = pooled(rater, labels, learned, stacked, places, len(answered))
    scored = np.isin(answered, folds.rows)
    scores = FoldScores(rater, folds, labels[answered[scored]], scored, (together,), paths)
    trials = tuple(tuple(one.trial for one in trained) for trained in found)
    return FoldChoice(folds, scores, tuple(offers), tuple(rates), trials, scores.choose(one_standard_error))


def train_chosen(
    search: CaseSearch, choice: FoldChoice, folder: Path | None = None, key: str = ""
) -> BestModel[TrainableModel]:
    """The training on all of train and val, which `search` is made of without any case to choose on."""
    config = search.train_config

    def until(rate: float) -> TrainConfig:
        return replace(config(rate), stop_after=choice.epochs, patience=None, score_every=None)

    return search_rates(replace(search, train_config=until), [choice.rate], folder, key)


@dataclass(frozen=True)
class _FoldTraining:
    """One rate on one fold: `answers` (looks, n, outputs) about what was held out, made after `epochs` (looks,)."""

    trial: Trial
    epochs: tuple[int, ...]
    answers: np.ndarray

    def after(self, epoch: int) -> np.ndarray:
        """(n, outputs) after an epoch; where training stopped earlier, or was not looked at, those of the look
        before."""
        look = int(np.searchsorted(self.epochs, epoch, side="right")) - 1
        return np.asarray(self.answers[max(look, 0)])


def _train_fold(search_of: FoldSearch, fold: InnerFold, rate: float, folder: Path | None, name: str) -> _FoldTraining:
    stored = None if folder is None else _read(folder, name)
    if stored is not None:
        return stored
    search = search_of(fold.train, fold.held_out)
    if len(search.cases.val) != len(fold.held_out):
        raise DataError("An inner fold has nothing to learn: no finding has both answers. Label more cases.")
    model, setup, config = search.make(), search.setup, search.config(rate)
    looks = -(-int(np.ceil(config.epochs_at_most(len(search.cases.train)))) // (config.score_every or 1)) + 1
    task = FoldTask(model, search.cases, rate, search.smoothing, looks)
    checkpoint = None if folder is None else folder / f"{name}.pt"
    before = search.frozen(model)
    try:
        result = train(
            task, config, seed=setup.seed, device=setup.device, devices=setup.devices, checkpoint=checkpoint,
            interval_s=CHECKPOINT_S, progress=setup.progress,
            label=f"{setup.label}, learning rate {rate:g}, inner fold {name.split('-')[0]}",
        )  # fmt: skip
    except DivergedError as error:
        cost = Cost(*count_parameters(search.network(model)), float("nan"), 0.0)
        return _kept(folder, name, _FoldTraining(Trial(Candidate({"lr": rate}, diverged=str(error)), cost), (), _NONE))
    if search.frozen(model) != before:
        raise RuntimeError(f"Training by {setup.label!r} changed frozen weights: this is an error in radapt.")
    answers = task.kept.numpy()
    answers = answers[np.isfinite(answers).all(axis=(1, 2))]
    every = config.score_every or result.epochs
    epochs = tuple(min((look + 1) * every, result.epochs) for look in range(len(answers)))
    candidate = Candidate({"lr": rate}, {}, result.best_epoch, result.epochs, result.steps)
    cost = Cost(*count_parameters(search.network(model)), result.peak_memory_mb, result.seconds)
    trial = Trial(candidate, cost, tuple(result.history), tuple(result.notes))
    return _kept(folder, name, _FoldTraining(trial, epochs, answers))


_NONE = np.zeros((0, 0, 0))


def _kept(folder: Path | None, name: str, trained: _FoldTraining) -> _FoldTraining:
    if folder is not None:
        save_tensors(folder / f"{name}.safetensors", {"answers": torch.from_numpy(trained.answers.copy())})
        write_json(folder / f"{name}.json", {"trial": asdict(trained.trial), "epochs": list(trained.epochs)})
        (folder / f"{name}.pt").unlink(missing_ok=True)
    return trained


def _read(folder: Path, name: str) -> _FoldTraining | None:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        stored = read_json(folder / f"{name}.json")
        answers = load_tensors(folder / f"{name}.safetensors")["answers"].numpy()
        return _FoldTraining(Trial.from_json(stored["trial"]), tuple(stored["epochs"]), answers)
    return None


def fold_folder(root: Path | None, key: str) -> Path | None:
    """Where the trainings of inner folds are kept; what another search left there is removed."""
    if root is None:
        return None
    own = root / "folds" / key
    for other in own.parent.glob("*"):
        if other != own:
            shutil.rmtree(other, ignore_errors=True)
    own.mkdir(parents=True, exist_ok=True)
    return own
