"""What is trained: a module, its samples, its loss and the number on val that says how good it is."""

import abc
from typing import Any

import numpy as np
from torch import Tensor, nn

from radapt.training.groups import Group, parameter_groups


class Task(abc.ABC):
    """All that the training loop needs to know. A sample is whatever the task says: a case, a slice, a patch.

    `module` holds every weight, the frozen ones with `requires_grad` False; `train` moves it to its device and
    leaves it there, in eval mode, with the weights that were best on val. `size` is the number of training samples.

    With several devices a task is pickled and sent to each process.
    """

    module: nn.Module
    size: int

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

    def name(self, index: int) -> str:
        """What a person calls the sample at `index`, for messages: a case."""
        return f"sample {index}"

    def groups(self) -> list[Group]:
        """The trained parameters with their learning rates and weight decay."""
        return parameter_groups(self.module)

    def train_mode(self) -> None:
        """Put the module into training mode; override it to keep frozen parts in eval mode."""
        self.module.train()
