"""Every encoder radapt knows by name: the cards in `backbones/cards/`, and those of other packages."""

from radapt.backbones.card import WeightCard
from radapt.errors import UsageError, suggest
from radapt.plugins import Registry, declared


def _own() -> dict[str, WeightCard]:
    cards = [card for name in ("CARD", "CARDS") for card in declared("radapt.backbones.cards", name, WeightCard)]
    return {card.name: card for card in cards}


CATALOG: Registry[WeightCard] = Registry(
    "radapt.backbones", "backbone", _own, lambda thing: isinstance(thing, WeightCard)
)
"""The weight card of each name (see `radapt.plugins`)."""


def card(name: str, *, offline: bool = False) -> WeightCard:
    """The card of a catalog name, of `timm:<model>` or of `hf:<repository or folder>`.

    An `hf:` card is read from the repository's `config.json`, which is fetched unless it is in the cache already
    (never with `offline`). An unknown name is a UsageError that names the nearest known one.
    """
    if name in CATALOG:
        return CATALOG[name]
    origin, _, rest = name.partition(":")
    if rest and origin == "timm":
        from radapt.backbones.others import timm_card

        return timm_card(rest)
    if rest and origin == "hf":
        from radapt.backbones.huggingface import hf_card

        return hf_card(rest, offline=offline)
    known = [*CATALOG, "timm:<model>", "hf:<repository>"]
    raise UsageError(f"Unknown backbone {name!r}. {suggest(name, known)}")
