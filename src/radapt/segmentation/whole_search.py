"""Training a network from scratch, as a search over a single learning rate, so that it resumes like any other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor, nn

from radapt.segmentation.criterion import best_dice
from radapt.training import Task, TrainConfig, TrainResult
from radapt.training.lr_search import RateSearch, TrainSetup

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class WholeSearch(RateSearch[N], Generic[N]):
    """Networks that are trained as a whole, compared by the Dice of their task; not compared without val."""

    setup: TrainSetup
    new_network: Callable[[], N]
    new_task: Callable[[N], Task]
    train_config: TrainConfig
    chooses: bool

    def make(self) -> N:
        return self.new_network()

    def network(self, model: N) -> nn.Module:
        return model

    def task(self, model: N, rate: float) -> Task:
        return self.new_task(model)

    def config(self, rate: float) -> TrainConfig:
        return self.train_config

    def evaluate(self, model: N, rate: float, trained: TrainResult) -> dict[str, float]:
        return {"dice": trained.score} if self.chooses else {}

    def best(self, val: Sequence[Mapping[str, float]]) -> int:
        return best_dice(val)

    def state(self, model: N) -> dict[str, Tensor]:
        return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()}

    def load(self, model: N, state: Mapping[str, Tensor]) -> None:
        model.load_state_dict(dict(state))
