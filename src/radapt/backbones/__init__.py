"""Backbones: encoders with their weights and weight cards. Every backbone turns images into tokens by the same call:
`load_backbone("dinov2-s").tokens(images)`. The catalog and `resolve` do not import torch; loading does."""

from typing import TYPE_CHECKING

from radapt.backbones.card import WeightCard
from radapt.backbones.catalog import CATALOG, card
from radapt.backbones.dtypes import auto_dtype, scratch_dtype
from radapt.backbones.lazy import LazyBackbone, LocatedBackbone, find_backbone
from radapt.backbones.load import load_backbone
from radapt.backbones.weights import WeightSource, fetch, identity_of, resolve

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone as Backbone

__all__ = [
    "CATALOG",
    "LazyBackbone",
    "LocatedBackbone",
    "WeightCard",
    "WeightSource",
    "auto_dtype",
    "card",
    "fetch",
    "find_backbone",
    "identity_of",
    "load_backbone",
    "resolve",
    "scratch_dtype",
]
