"""A training task: a module, its samples, its loss and its validation score."""

import abc
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radapt.training.groups import Group, parameter_groups
from radapt.training.health import Health


class Task(abc.ABC):
    """What the training loop trains. The task defines a sample: a case, a slice, a patch.

    `module` holds every weight, the frozen ones with `requires_grad` False; `train` moves it to its device and
    leaves it there, in eval mode, with the weights of the best validation score. `size` is the number of training
    samples. With several devices the task is pickled and sent to each process; what training changes is sent back.

    A step calls `before_step`, `load` and `loss` for each micro-batch, the optimiser, `after_step`, and every
    `check_every` steps `check`. Tensors other than weights that change from step to step (a teacher, a centre, sums
    for the records) belong in `state`.
    """

    module: nn.Module
    size: int
    check_every: int | None = None
    """Steps between two calls of `check`, also called before the first step and after the last. None: never."""

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """int64 (n,): the samples of one epoch, in order; every epoch has the same number.

        A permutation of all samples by default; override it to draw some of them more often.
        """
        return rng.permutation(self.size)

    @abc.abstractmethod
    def load(self, indices: np.ndarray, seeds: np.ndarray) -> Any:
        """The samples at `indices` int64 (b,) as CPU tensors in a dict, list, tuple or dataclass, or as one tensor.

        Runs in a thread while the network trains on the previous batch. Draw random numbers from `seeds` uint64 (b,),
        one per sample, not from the random state of torch or NumPy.
        """

    @abc.abstractmethod
    def loss(self, batch: Any, seeds: np.ndarray) -> Tensor:
        """(): the mean loss over the samples of a batch from `load`, on the device.

        Runs under autocast if the `TrainConfig` has bfloat16. Augment the batch here, from `seeds` uint64 (b,). The
        loss must be a plain mean over samples, or results depend on how batches are split.
        """

    @abc.abstractmethod
    def score(self) -> float:
        """The validation score of the module: higher is better, NaN if undefined.

        The module is in eval mode, without gradients and under autocast if the `TrainConfig` has bfloat16: cast
        what leaves torch with `.float()`. With several devices only the first process calls it.
        """

    def before_step(self, step: int, total: int) -> None:  # noqa: B027 -- may be left out
        """Set what depends on the step, from 0 to total − 1: temperatures, momenta.

        If memory runs out within a batch, it is called again for the same step: reset here what `loss` gathered for
        `after_step`. Do not communicate with other processes, which may not be called again.
        """

    def after_step(self, step: int, total: int) -> None:  # noqa: B027 -- may be left out
        """Called once after the optimiser's step, in every process: update a teacher or a centre.

        Gradients are still available. Processes have equal weights and different samples: sum statistics of samples
        over processes here, which every process calls once a step. In `loss` and `before_step` a process must not
        wait for another, which may have fewer micro-batches, or run out of memory and retry.
        """

    def state(self) -> dict[str, Tensor]:
        """Tensors by name, not copied, that training changes besides trained parameters and buffers.

        They are stored in checkpoints and restored with the best weights, and with the last good state when a health
        check stops training. Include parameters of `module` without `requires_grad` that change (a teacher's). Names
        and shapes stay the same throughout a run.
        """
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Load earlier values of `state`, copied to the CPU; names and shapes are the current ones."""
        with torch.no_grad():
            for name, tensor in self.state().items():
                tensor.copy_(tensors[name])

    def check(self, step: int, total: int) -> Health:
        """The health of the run after `step` steps; called only if `check_every` is set.

        The module is in eval mode, without gradients and under autocast if the `TrainConfig` has bfloat16. With several
        devices only the first process calls it, for all.
        """
        return Health()

    def records(self) -> dict[str, float]:
        """More numbers for the history of a finished epoch, with the same names every time: terms of the loss.

        Every process calls it, and the values of the first are kept. Reset sums over the epoch here.
        """
        return {}

    def name(self, index: int) -> str:
        """The name of the sample at `index` for messages, such as its case."""
        return f"sample {index}"

    def groups(self) -> list[Group]:
        """The trained parameters with their learning rates and weight decay."""
        return parameter_groups(self.module)

    def train_mode(self) -> None:
        """Put the module into training mode; override it to keep frozen layers in eval mode."""
        self.module.train()
