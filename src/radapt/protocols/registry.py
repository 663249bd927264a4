"""The protocols by name, with strict options."""

from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from radapt.errors import UsageError, suggest
from radapt.protocols.fewshot import FewShot
from radapt.protocols.finetune import Bitfit, Dora, Finetune, Ia3, Lora, Norm, Partial
from radapt.protocols.knn import Knn
from radapt.protocols.linear import Linear
from radapt.protocols.logistic import Logistic
from radapt.protocols.mil import Mil
from radapt.protocols.protocol import Protocol
from radapt.protocols.scratch import Scratch
from radapt.protocols.segmentation.segment import Segment
from radapt.protocols.segmentation.transunet import TransUNetProtocol
from radapt.protocols.segmentation.unet import UNetProtocol

PROTOCOLS: dict[str, type[Protocol]] = {
    kind.name: kind
    for kind in (
        Knn,
        FewShot,
        Linear,
        Logistic,
        Mil,
        Finetune,
        Partial,
        Bitfit,
        Norm,
        Lora,
        Dora,
        Ia3,
        Scratch,
        Segment,
        UNetProtocol,
        TransUNetProtocol,
    )
}


def make(name: str, /, **options: Any) -> Protocol:
    """The protocol `name` with its options set.

    Raises UsageError for an unknown name or option, or a value outside an option's range.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"Unknown protocol {name!r}. {suggest(name, PROTOCOLS)}")
    kind = PROTOCOLS[name]
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise UsageError(f"Protocol {name!r} has no option {option!r}. {suggest(option, known)}")
    try:
        return kind(**options)
    except ValidationError as error:
        raise UsageError(f"Protocol {name!r}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:  # options that do not go together, in the protocol's own words
        return first["msg"].removeprefix("Value error, ") + "."
    where = str(first["loc"][0])
    return f"option {where!r} cannot be {first['input']!r}: {first['msg']}."
