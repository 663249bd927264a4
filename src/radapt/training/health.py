"""What a task says of its own health while it is trained: go on, or stop and go back to the last good state."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Health:
    """How a training fares.

    A state that is `good` is kept, to come back to. `stop` says why training should end now, and what to change; the
    weights and all else that training changes then become those of the last good state. A state that is neither is
    not worth going back to, and not bad enough to stop. `numbers` are kept in the records of the training, `warnings`
    in its notes, each once.
    """

    good: bool = True
    stop: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for a state that is good and a reason to stop."""
        if self.good and self.stop is not None:
            raise ValueError("A state in which training has to stop cannot be good.")
