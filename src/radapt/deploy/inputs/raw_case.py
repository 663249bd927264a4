"""A case as its source names it, before its series are recognised as sequences of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from radapt.deploy.sequences import Series
from radapt.locations import Location


@dataclass(frozen=True)
class RawCase:
    """A study of one patient. `label` is in words, findings joined with `;`; None without one. `problem` says why it
    cannot be used."""

    case: str
    patient: str
    series: tuple[Series, ...] = ()
    label: str | None = None
    mask: Location | None = None
    site: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawInput:
    """The cases of one input, and what was assumed about it."""

    cases: tuple[RawCase, ...]
    notes: tuple[str, ...] = ()
