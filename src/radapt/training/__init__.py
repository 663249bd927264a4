"""The one training loop, for every network: Lightning Fabric inside, exact resume, the same result however batches are
cut. It knows tensors and tasks, not cohorts. `Task` says what is trained, `Regime` how, `train` does it."""

from radapt.training.augment import Augmentation
from radapt.training.draws import Draws, Range
from radapt.training.groups import Group, count_parameters, parameter_groups
from radapt.training.health import Health
from radapt.training.loop import train
from radapt.training.regime import Regime
from radapt.training.task import Task
from radapt.training.trained import DivergedError, Trained

__all__ = [
    "Augmentation",
    "DivergedError",
    "Draws",
    "Group",
    "Health",
    "Range",
    "Regime",
    "Task",
    "Trained",
    "count_parameters",
    "parameter_groups",
    "train",
]
