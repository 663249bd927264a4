"""Cards for encoders outside the catalog: any timm model, any repository in the hub's layout."""

from typing import Any

from torch import nn

from radapt.backbones.card import WeightCard
from radapt.errors import UsageError


def timm_card(model: str) -> WeightCard:
    raise UsageError(f"timm:{model} is not available yet.")


def hf_card(repo: str, *, offline: bool = False) -> WeightCard:
    raise UsageError(f"hf:{repo} is not available yet.")


def transformers_module(options: dict[str, Any]) -> nn.Module:
    raise NotImplementedError
