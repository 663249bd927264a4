"""YAML files read strictly: an unknown key is an error that names the line, the key and the nearest known key."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from radapt.errors import UsageError, suggest
from radapt.parsing.yaml import compose_yaml, construct_yaml

Model = TypeVar("Model", bound=BaseModel)
_Lines = dict[tuple[Any, ...], int]


class StrictModel(BaseModel):
    """A section of a YAML file: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, value: Any) -> Any:
        if isinstance(value, dict):
            names = [field.alias or name for name, field in cls.model_fields.items()]
            for key in value:
                if key not in names and key not in cls.model_fields:
                    hint = suggest(str(key), names)
                    raise PydanticCustomError("unknown_key", "unknown key {key}. {hint}", {"key": key, "hint": hint})
        return value


def read_yaml(path: Path, model: type[Model], what: str) -> Model:
    """Read the file `path`, a `what` such as "study file", into `model`.

    Raises a UsageError that names the file and, for each error, the line and the key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"The {what} {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The {what} {path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    try:
        node = compose_yaml(text)
        lines: _Lines = {}
        _collect(node, (), lines, path, what)
        value = construct_yaml(node)
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


def _collect(node: yaml.Node | None, key_path: tuple[Any, ...], lines: _Lines, path: Path, what: str) -> None:
    """Record the line of every key and list item, and refuse a repeated key (YAML itself keeps the last)."""
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"The {what} {path}, line {line}: a key is a list or a mapping; keys must be text.")
            name = key.value
            child_path = (*key_path, name)
            if child_path in lines:
                raise UsageError(f"The {what} {path} gives {name!r} twice: line {lines[child_path]} and line {line}.")
            lines[child_path] = line
            _collect(item, child_path, lines, path, what)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*key_path, index] = item.start_mark.line + 1
            _collect(item, (*key_path, index), lines, path, what)


def _fault(item: Any, lines: _Lines) -> str:
    key_path = tuple(item["loc"])
    key = item.get("ctx", {}).get("key")
    # The path may end in tags of a union; its longest prefix in the file is what the user wrote.
    while key_path and _as_written(key_path) not in lines:
        key_path = key_path[:-1]
    line = lines.get(_as_written((*key_path, key)) if key is not None else _as_written(key_path))
    message = _expected(item)
    name = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in key_path)  # lists count from 1
    where = f"line {line}" if line else "the file"
    if item["type"] == "missing":
        return f"{where}: {'.'.join(str(part) for part in item['loc'])!r} is missing."
    given = "" if key is not None or isinstance(item["input"], dict) else f" (given: {item['input']!r})"
    return f"{where}{f', {name!r}' if name else ''}: {message.rstrip('.')}{given}."


def _expected(item: Any) -> str:
    """The expected value, in the words of YAML rather than Python."""
    limits = item.get("ctx", {})
    messages = {
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
    message = messages.get(item["type"])
    return message.format(**limits) if message else str(item["msg"]).removeprefix("Value error, ")


def _as_written(key_path: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(part if isinstance(part, int) else str(part) for part in key_path)


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem


def _count(faults: list[str]) -> str:
    return "an error" if len(faults) == 1 else f"{len(faults)} errors"
