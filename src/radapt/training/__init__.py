"""One training loop for every network, built on Lightning Fabric: exact resume, and the same result however a batch is
split. It knows tensors and tasks, not cohorts. `Task` says what is trained, `TrainConfig` how, `train` does it."""

from radapt.training.augment import Augmentation
from radapt.training.augmentation_draws import Draws, Range
from radapt.training.config import TrainConfig
from radapt.training.groups import Group, count_parameters, parameter_groups
from radapt.training.health import Health
from radapt.training.loop import train
from radapt.training.result import DivergedError, TrainResult
from radapt.training.task import Task

__all__ = [
    "Augmentation",
    "DivergedError",
    "Draws",
    "Group",
    "Health",
    "Range",
    "Task",
    "TrainConfig",
    "TrainResult",
    "count_parameters",
    "parameter_groups",
    "train",
]
