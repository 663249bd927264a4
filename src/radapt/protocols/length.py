"""How long a training lasts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Length:
    """The epochs of a training, or its steps if it counts those alone (`by_steps`)."""

    value: float
    by_steps: bool = False

    @classmethod
    def within(cls, epochs: int, steps: int | None, batch: int, samples: int) -> "Length":
        """So many epochs over `samples`, or as many as `steps` of `batch` samples make up, if these are fewer."""
        return cls(epochs if steps is None else min(epochs, steps / max(1, -(-samples // batch))))
