"""The study file as a JSON schema, for editors."""

from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from radapt.backbones.catalog import CATALOG
from radapt.protocols.registry import PROTOCOLS
from radapt.studies.study import Study

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> dict[str, Any]:
    """What a study.yaml may hold: every key, and every protocol that is installed with its options.

    A file that the schema accepts may still be refused, for what a schema cannot say: names that are given twice, a
    backbone of no catalog.
    """
    schema = Study.model_json_schema(by_alias=True)
    properties, definitions = schema["properties"], schema["$defs"]
    known = {"type": "string", "examples": list(CATALOG)}
    properties["backbones"]["items"] = {"anyOf": [known, {"$ref": "#/$defs/BackboneEntry"}]}
    properties["protocols"]["items"] = {"$ref": "#/$defs/Protocol"}
    listed = {"type": "array", "items": {"$ref": "#/$defs/Protocol"}}
    properties["controls"]["anyOf"] = [{"enum": ["auto", "none"]}, listed]
    definitions.pop("ProtocolEntry", None)
    definitions["Protocol"] = {"anyOf": [{"enum": list(PROTOCOLS)}, _with_options(definitions)]}
    return {"$schema": DIALECT, **schema, "title": "A study of radapt"}


def _with_options(definitions: dict[str, Any]) -> dict[str, Any]:
    """One protocol with options and a title: `{knn: {k: [5, 20]}, title: …}`."""
    named = {}
    for name in PROTOCOLS:
        own = _options(name)
        definitions.update(own.pop("$defs", {}))
        named[name] = {"anyOf": [own, {"type": "null"}]}
    return {
        "type": "object",
        "properties": named | {"title": {"type": "string", "minLength": 1}},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in named],
    }


def _options(name: str) -> dict[str, Any]:
    """The options of a protocol; where its class is none that pydantic checks, their names."""
    kind = PROTOCOLS[name]
    options = kind.known_options()
    try:
        schema = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
    except PydanticUserError:
        schema = {"type": "object", "properties": {}}
    properties = {option: _loose(schema.get("properties", {}).get(option, {})) for option in options}
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if documented := (kind.__doc__ or "").strip():
        found["description"] = documented.split("\n\n")[0]
    return found | {key: schema[key] for key in ("$defs",) if key in schema}


def _loose(option: dict[str, Any]) -> dict[str, Any]:
    """One value stands for a list of one, as in the file."""
    if option.get("type") == "array" and isinstance(option.get("items"), dict):
        loose = {"anyOf": [option, option["items"]]}
        return loose | {key: option[key] for key in ("default", "description", "title") if key in option}
    return option
