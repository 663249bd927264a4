"""The health of a run, as its task reports it: continue, or stop and return to the last good state."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Health:
    """The health of a run at one step.

    A `good` state is kept as a fallback. `stop` gives the reason to end training and what to change; the weights and
    the rest of the training state are then reset to the last good state. A state that is neither good nor stopped is
    not kept, and training continues. `numbers` go into the records of the run, each of the `warnings` once into its
    notes.
    """

    good: bool = True
    stop: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for a good state with a reason to stop."""
        if self.good and self.stop is not None:
            raise ValueError("A state that stops training cannot be good.")
