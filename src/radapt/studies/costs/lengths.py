"""How long a protocol trains, and the same protocol with a shorter training."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radapt.protocols import Protocol
    from radapt.studies.cells import Cell


@dataclass(frozen=True)
class Length:
    """The epochs of a training, or its steps if it counts those alone (`by_steps`)."""

    value: float
    by_steps: bool = False


def settled(cell: "Cell") -> "Protocol":
    """The protocol of a cell, with what it decides by the weights of its encoder and the cohort decided."""
    protocol: Any = cell.job.protocol
    if cell.encoder is None or not hasattr(protocol, "settled"):
        return cell.job.protocol
    located = cell.encoder.located
    found: Protocol = protocol.settled(located.source, cell.prepared.cohort, located.lazy.modalities)
    return found


def length_of(protocol: "Protocol", train: int) -> Length | None:
    """The length of a training on `train` cases, early stopping aside; None for a protocol that is not shortened:
    one that reads features, which takes seconds, or has no epochs."""
    if protocol.reads == "features":
        return None
    options: Any = getattr(protocol, "options", protocol)
    if hasattr(options, "fusion") and options.stores_tokens and options.trained == "fusion":
        return Length(options.fusion.epochs)
    epochs, steps = getattr(options, "epochs", None), getattr(options, "steps", None)
    if epochs is None:
        return None if steps is None else Length(steps, by_steps=True)
    if steps is None:
        return Length(epochs)
    return Length(min(epochs, steps / max(1, -(-train // max(1, options.batch)))))


def shortened(protocol: "Protocol", length: int) -> "Protocol":
    """The protocol with a training of that length."""
    options: Any = getattr(protocol, "options", None)
    changed: Any = protocol
    if options is None:
        return replace(changed, **{"epochs" if hasattr(protocol, "epochs") else "steps": length})
    if options.trained == "fusion":
        return replace(changed, options=replace(options, fusion=replace(options.fusion, epochs=length)))
    return replace(changed, options=replace(options, epochs=length))
