"""What is trained: a module, its samples, its loss and the number on val that says how good it is."""

import abc
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radapt.training.groups import Group, parameter_groups
from radapt.training.health import Health


class Task(abc.ABC):
    """All that the training loop needs to know. A sample is whatever the task says: a case, a slice, a patch.

    `module` holds every weight, the frozen ones with `requires_grad` False; `train` moves it to its device and
    leaves it there, in eval mode, with the weights that were best on val. `size` is the number of training samples.

    With several devices a task is pickled and sent to each process; what comes back is what training changes.

    A step is `before_step`, `load` and `loss` for each part of the batch, the optimiser, `after_step`, and now and then
    `check`. What else than weights changes from step to step (a teacher, a centre, sums for the records) belongs
    into `state`.
    """

    module: nn.Module
    size: int
    check_every: int | None = None
    """Steps between two calls of `check`, which is also asked before the first step and after the last. None: never."""

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """int64 (n,): the samples of one epoch, in the order they are seen; every epoch has as many.

        A permutation of all samples by default; override it to see some of them more often.
        """
        return rng.permutation(self.size)

    @abc.abstractmethod
    def load(self, indices: np.ndarray, seeds: np.ndarray) -> Any:
        """The samples at `indices` int64 (b,) as CPU tensors in a dict, list, tuple or dataclass, or as one tensor.

        Runs in a thread while the batch before it is learned. What is drawn here comes from `seeds` uint64 (b,),
        one per sample, and not from the random state of torch or NumPy.
        """

    @abc.abstractmethod
    def loss(self, batch: Any, seeds: np.ndarray) -> Tensor:
        """(): the mean loss over the samples of a batch, which is what `load` gave, on the device.

        Runs under autocast where the regime says bfloat16. Augmentation of the batch belongs here, from `seeds`
        uint64 (b,). It has to be a plain mean over samples for results not to depend on how batches are cut.
        """

    @abc.abstractmethod
    def score(self) -> float:
        """How good the module is on val: higher is better, NaN where that is undefined.

        The module is in eval mode, without gradients and under autocast where the regime says bfloat16: cast what
        leaves torch with `.float()`. With several devices only the first process is asked.
        """

    def before_step(self, step: int, total: int) -> None:  # noqa: B027 -- may be left out
        """Set what depends on the step, from 0 to total − 1: temperatures, momenta.

        Where memory ran out in the middle of a batch it is called again for the same step. What `loss` gathered for
        `after_step` is to be forgotten here. No talk with other processes: they may not be called again.
        """

    def after_step(self, step: int, total: int) -> None:  # noqa: B027 -- may be left out
        """Once after the optimiser's step, in every process: a teacher follows, a centre moves.

        Gradients are still there. Processes have equal weights, and saw different samples: what is learned from
        samples has to be summed over them here, where all of them come once a step. In `loss` and `before_step` a
        process must not wait for another, which may have fewer parts, or runs out of memory and tries again.
        """

    def state(self) -> dict[str, Tensor]:
        """Tensors by name, live and not copied, that training changes beside trained parameters and buffers.

        They go into checkpoints, come back with the best weights, and are those of the last good state when training
        stops for its health. Parameters of `module` without `requires_grad` that change (a teacher's) have to be
        among them. Names and shapes stay the same throughout a training.
        """
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` once gave, copied to the CPU; names and shapes are those of now."""
        with torch.no_grad():
            for name, each in self.state().items():
                each.copy_(tensors[name])

    def check(self, step: int, total: int) -> Health:
        """How training fares after so many steps; only asked if there is `check_every`.

        The module is in eval mode, without gradients and under autocast where the regime says bfloat16. With several
        devices only the first process is asked, for all.
        """
        return Health()

    def records(self) -> dict[str, float]:
        """More numbers for the entry of an epoch that is over, the same ones every time: parts of the loss.

        Every process is asked, and the first one's answer is kept. Sums over the epoch start again here.
        """
        return {}

    def name(self, index: int) -> str:
        """What a person calls the sample at `index`, for messages: a case."""
        return f"sample {index}"

    def groups(self) -> list[Group]:
        """The trained parameters with their learning rates and weight decay."""
        return parameter_groups(self.module)

    def train_mode(self) -> None:
        """Put the module into training mode; override it to keep frozen parts in eval mode."""
        self.module.train()
