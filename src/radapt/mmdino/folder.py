"""An adapted encoder as a folder that any protocol takes for a backbone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from radapt.backbones.adapted import save_adapted
from radapt.backbones.card import WeightCard
from radapt.backbones.multimodal import MultiModalViT
from radapt.networks.adapters_merge import merged_state


def save_backbone(
    folder: Path,
    network: MultiModalViT,
    card: WeightCard,
    *,
    cohort: str,
    size: int,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write `network` into `folder` so that `radapt.load_backbone(folder)` gives it back; adapters are merged.

    `card` is that of the backbone it was adapted from. What was learned on, `cohort`, is added to the data sets it
    has seen, so that a later test on them can be told from one that is new; `size` is the side of the crops in pixels.
    `facts` are JSON-like, for the record.
    """
    seen = tuple(dict.fromkeys([*card.pretraining, cohort]))
    family = card.family if card.family.endswith(", adapted") else f"{card.family}, adapted"
    state = merged_state(network)
    count = sum(tensor.numel() for tensor in state.values())
    changed = replace(card, family=family, pretraining=seen, native_size=size, parameters=count)
    save_adapted(folder, network, changed, facts, state)
