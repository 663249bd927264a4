"""The protocols by name, with strict options."""

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from radapt.errors import UsageError, suggest
from radapt.plugins import Registry
from radapt.protocols.protocol import Protocol

ROOMS = ("protocols", "probes", "classification", "segmentation", "mmdino")
"""The packages of radapt whose files are searched for protocols."""

_CLASS_OR_NAME = re.compile(r'^class (?P<kind>\w+)\(|^    name: ClassVar\[str\] = "(?P<name>[^"]+)"$', re.MULTILINE)


def _own() -> dict[str, str]:
    """The module and class of each protocol, found by the `name` of its class in the source files of the rooms.

    Importing them all would load every network to learn one name, and a protocol may look up others by name.
    """
    top, homes = Path(__file__).parents[1], dict[str, str]()
    for path in (path for room in ROOMS for path in sorted((top / room).rglob("*.py"))):
        module, kind = ".".join(path.relative_to(top.parent).with_suffix("").parts), ""
        for match in _CLASS_OR_NAME.finditer(path.read_text(encoding="utf-8")):
            kind = match["kind"] or kind
            if match["name"]:
                homes[match["name"]] = f"{module}:{kind}"
    return homes


def _is_protocol(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Protocol)


PROTOCOLS: Registry[type[Protocol]] = Registry("radapt.protocols", "protocol", _own, _is_protocol)
"""The protocols in radapt's rooms, and those of other packages (see `radapt.plugins`). One is imported when it is
looked up."""


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
    if not first["loc"]:  # incompatible options, with the protocol's own message
        return first["msg"].removeprefix("Value error, ") + "."
    where = str(first["loc"][0])
    return f"option {where!r} cannot be {first['input']!r}: {first['msg']}."
