"""YAML files read strictly: an unknown key is an error that names the line, the key and the nearest known key."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from radapt.errors import UsageError, suggest

Model = TypeVar("Model", bound=BaseModel)
_Lines = dict[tuple[Any, ...], int]


class StrictModel(BaseModel):
    """A part of a YAML file: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, value: Any) -> Any:
        if isinstance(value, dict):
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for key in value:
                if key not in known and key not in cls.model_fields:
                    hint = suggest(str(key), known)
                    raise PydanticCustomError("unknown_key", "unknown key {key}. {hint}", {"key": key, "hint": hint})
        return value


def read_yaml(path: Path, model: type[Model], what: str) -> Model:
    """Read the file `path`, which should be a `what` (say "study file"), into `model`.

    Raises UsageError naming the file and, for each fault, the line and the key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"The {what} {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The {what} {path} is not text in UTF-8 (byte {error.start}); save it as UTF-8.") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: _Lines = {}
        _collect(node, (), lines, path, what)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"The {what} {path} is not valid YAML: {_where(error)}.") from error
    if not isinstance(value, dict):
        given = "empty" if value is None else f"a {type(value).__name__}"
        raise UsageError(
            f"The {what} {path} is {given}; expected keys such as {', '.join(list(model.model_fields)[:3])}."
        )
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [_fault(item, lines) for item in error.errors()]
        raise UsageError(f"The {what} {path} has {_count(faults)}: " + " ".join(dict.fromkeys(faults))) from None


def _collect(node: yaml.Node | None, place: tuple[Any, ...], lines: _Lines, path: Path, what: str) -> None:
    """Note the line of every key and list item, and refuse a key given twice (YAML itself keeps the last)."""
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            name = yaml.safe_load(yaml.serialize(key)) if not isinstance(key, yaml.ScalarNode) else key.value
            here = (*place, name)
            line = key.start_mark.line + 1
            if here in lines:
                raise UsageError(f"The {what} {path} gives {name!r} twice: line {lines[here]} and line {line}.")
            lines[here] = line
            _collect(item, here, lines, path, what)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*place, index] = item.start_mark.line + 1
            _collect(item, (*place, index), lines, path, what)


def _fault(item: Any, lines: _Lines) -> str:
    place = tuple(item["loc"])
    key = item.get("ctx", {}).get("key")
    # A place may end in the tags of a union; the longest part that is in the file is the place the user wrote.
    while place and _as_written(place) not in lines:
        place = place[:-1]
    line = lines.get(_as_written((*place, key)) if key is not None else _as_written(place))
    message = _expected(item)
    name = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in place)  # lists count from 1
    where = f"line {line}" if line else "the file"
    if item["type"] == "missing":
        return f"{where}: {'.'.join(str(part) for part in item['loc'])!r} is missing."
    given = "" if key is not None or isinstance(item["input"], dict) else f" (given: {item['input']!r})"
    return f"{where}{f', {name!r}' if name else ''}: {message.rstrip('.')}{given}."


def _expected(item: Any) -> str:
    """What should have stood there, in the words of someone who writes YAML rather than Python."""
    limits = item.get("ctx", {})
    said = {
        "too_short": "at least {min_length} must be given",
        "string_too_short": "some text must be given",
        "string_type": "text was expected",
        "string_pattern_mismatch": "letters, digits, spaces and . _ - were expected, a letter or digit first",
        "int_type": "a whole number was expected",
        "int_parsing": "a whole number was expected",
        "int_from_float": "a whole number was expected",
        "bool_type": "true or false was expected",
        "bool_parsing": "true or false was expected",
        "list_type": "a list was expected",
        "dict_type": "keys with values were expected",
        "model_type": "keys with values were expected",
        "model_attributes_type": "keys with values were expected",
        "greater_than": "a number above {gt} was expected",
        "greater_than_equal": "a number from {ge} up was expected",
        "literal_error": "{expected} was expected",
    }
    known = said.get(item["type"])
    return known.format(**limits) if known else str(item["msg"]).removeprefix("Value error, ")


def _as_written(place: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(part if isinstance(part, int) else str(part) for part in place)


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _count(faults: list[str]) -> str:
    return "a fault" if len(faults) == 1 else f"{len(faults)} faults"
