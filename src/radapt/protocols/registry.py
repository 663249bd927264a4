"""The protocols by name, with strict options."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from radapt.errors import UsageError, suggest
from radapt.protocols.protocol import Protocol

_HOMES = {
    "knn": "probes.knn:Knn",
    "fewshot": "protocols.fewshot:FewShot",
    "linear": "probes.linear:Linear",
    "logistic": "probes.logistic:Logistic",
    "mil": "classification.mil:Mil",
    "finetune": "classification.finetune:Finetune",
    "partial": "classification.finetune:Partial",
    "bitfit": "classification.finetune:Bitfit",
    "norm": "classification.finetune:Norm",
    "lora": "classification.finetune:Lora",
    "dora": "classification.finetune:Dora",
    "ia3": "classification.finetune:Ia3",
    "mmdino": "mmdino.protocol:MmDino",
    "scratch": "classification.scratch:Scratch",
    "segment": "segmentation.encoder_decoder.protocol:Segment",
    "unet": "segmentation.unet.protocol:UNetProtocol",
    "transunet": "segmentation.transunet.protocol:TransUNetProtocol",
}
"""Where each protocol stands, below `radapt`. It is imported when it is asked for: some make others."""


class _Protocols(Mapping[str, type[Protocol]]):
    """The class of each protocol, by name."""

    def __getitem__(self, name: str) -> type[Protocol]:
        module, _, kind = _HOMES[name].partition(":")
        found: type[Protocol] = getattr(import_module(f"radapt.{module}"), kind)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


PROTOCOLS: Mapping[str, type[Protocol]] = _Protocols()


def make(name: str, /, **options: Any) -> Protocol:
    """The protocol `name` with its options set.

    Raises UsageError for an unknown name or option, or a value outside an option's range.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"Unknown protocol {name!r}. {suggest(name, PROTOCOLS)}")
    kind = PROTOCOLS[name]
    known = kind.known_options()
    for option in options:
        if option not in known:
            raise UsageError(
                f"Protocol {name!r} has no option {option!r}. {suggest(option, known, kind.renamed_options)}"
            )
    try:
        return kind.of(**options)
    except ValidationError as error:
        raise UsageError(f"Protocol {name!r}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:  # options that do not go together, in the protocol's own words
        return first["msg"].removeprefix("Value error, ") + "."
    where = str(first["loc"][0])
    return f"option {where!r} cannot be {first['input']!r}: {first['msg']}."
