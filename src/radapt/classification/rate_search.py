"""The search for the learning rate of a network on cases: rates are compared by the study's metric on val."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from radapt.classification.task import CaseTask, LabelledCases, TrainableModel
from radapt.networks.adapters.encoder_network import load_state, state_of
from radapt.protocols.ratings import Ratings
from radapt.training import TrainConfig, TrainResult
from radapt.training.lr_search import RateSearch, TrainSetup


@dataclass(frozen=True, eq=False)
class CaseSearch(RateSearch[TrainableModel]):
    """Networks on the same cases, each from a new start that is equal for all."""

    setup: TrainSetup
    cases: LabelledCases
    new_model: Callable[[], TrainableModel]
    train_config: Callable[[float], TrainConfig]
    smoothing: float = 0.0

    def make(self) -> TrainableModel:
        return self.new_model()

    def network(self, model: TrainableModel) -> nn.Module:
        return model.network

    def task(self, model: TrainableModel, rate: float) -> CaseTask:
        return CaseTask(model, self.cases, rate, self.smoothing)

    def config(self, rate: float) -> TrainConfig:
        return self.train_config(rate)

    def evaluate(self, model: TrainableModel, rate: float, trained: TrainResult) -> dict[str, float]:
        return self.task(model, rate).evaluate().of(0) if len(self.cases.val) else {}

    def best(self, val: Sequence[Mapping[str, float]]) -> int:
        return Ratings.from_numbers(self.cases.rater.metric, val).best

    def state(self, model: TrainableModel) -> dict[str, Tensor]:
        return state_of(model.network)

    def load(self, model: TrainableModel, state: Mapping[str, Tensor]) -> None:
        load_state(model.network, state)

    def frozen(self, model: TrainableModel) -> str:
        return model.frozen()
