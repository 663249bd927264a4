"""A backbone that is known before it is loaded: with all features stored, no weights need be in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.backbones.adapted import adapted_folder, read_adapted
from radapt.backbones.card import WeightCard
from radapt.backbones.catalog import CATALOG, card
from radapt.backbones.dtypes import auto_dtype
from radapt.backbones.load import load_backbone
from radapt.backbones.weights import WeightSource, fetch, identity_of, resolve
from radapt.errors import UsageError

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone


def _unknown(dtype: str) -> "Backbone":
    raise UsageError(f"This backbone cannot be loaded again in {dtype}; find it with `find_backbone`.")


@dataclass(frozen=True)
class LazyBackbone:
    """A backbone known by its identity (`identity_of`) and loaded only if something must be computed.

    With `settled=False` the identity may change on loading, as when weights are yet to be fetched; it is then
    loaded at once.
    """

    name: str
    identity: str
    dtype: str
    load: Callable[[], "Backbone"]
    settled: bool = True
    load_as: Callable[[str], "Backbone"] = field(default=_unknown, repr=False)
    """Loads anew in another number format: training keeps its weights in float32 whatever features are made in."""
    modalities: tuple[str, ...] = ()
    """Those of an adapted backbone, which are encoded together; see `Backbone.joint`."""
    card: WeightCard | None = None
    source: WeightSource | None = None
    """The origin of its weights; a model trained on it stores card and source."""


@dataclass(frozen=True)
class LocatedBackbone:
    """An encoder with its card, the source of its weights and its number format, not yet loaded."""

    card: WeightCard
    source: WeightSource
    device: str
    lazy: LazyBackbone


def find_backbone(
    name: str,
    weights: str | Path | None = None,
    *,
    seed: int = 0,
    dtype: str = "auto",
    device: str = "cpu",
    offline: bool = False,
    download: bool = True,
) -> LocatedBackbone:
    """What `load_backbone` with the same arguments would load, each `load()` anew.

    With `download` weights of the hub are fetched if they are not here, so that their identity is final. Raises
    UsageError for an unknown name, and for weights that are not there or cannot be fetched.
    """
    folder, modalities = adapted_folder(name, weights, CATALOG, None), tuple[str, ...]()
    if folder is not None:
        adapted = read_adapted(folder, None if weights is None else name)
        known, source, modalities = adapted.card, adapted.source, adapted.modalities
    else:
        known = card(name, offline=offline)
        source = resolve(known, weights, seed=seed, offline=offline)
        if download:
            source = fetch(known, source, offline=offline)
    number = auto_dtype(device) if dtype == "auto" else dtype

    def load(dtype: str = number) -> "Backbone":
        return load_backbone(name, weights, seed=seed, dtype=dtype, device=device, offline=offline)

    shown = known.name if folder is not None else name
    lazy = LazyBackbone(
        shown, identity_of(known, source), number, load, source.available, load, modalities, known, source
    )
    return LocatedBackbone(known, source, device, lazy)
