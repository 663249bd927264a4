"""cohort.yaml as a JSON schema, for editors."""

from typing import Any

from radapt.cohorts.cohort import KINDS

_TEXT = {"type": ["string", "number", "boolean"]}  # a class called `no`, a name like `2024`: read as written
_SEED = {"type": "integer", "minimum": 0, "default": 0}
_SHARE = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}


def cohort_schema() -> dict[str, Any]:
    """What a cohort.yaml may hold. A file that the schema accepts may still be refused for what its table holds."""
    drawn = _object({"seed": _SEED, "val": _SHARE | {"default": 0.15}, "test": _SHARE | {"default": 0.2}})
    folds = [
        _object({"folds": {"type": "integer", "minimum": 2}, "seed": _SEED}, "folds"),
        _object({"by": {"const": "site"}, "merge": {"type": "object", "additionalProperties": _TEXT}}, "by"),
        _object({"folds_column": _TEXT}, "folds_column"),
        _object({"folds_file": _TEXT}, "folds_file"),
    ]
    schema = _object(
        {
            "name": _TEXT | {"description": "Names the cohort in tables and folders; default: the folder's name."},
            "kind": {"enum": list(KINDS), "description": "Picks the default preprocessing."},
            "cases": _TEXT | {"description": "The table of cases, relative to this file.", "default": "cases.csv"},
            "classes": {
                "type": "array", "items": _TEXT, "minItems": 2, "uniqueItems": True,
                "description": "Their order gives the class index; with two, the second is positive.",
            },
            "ordered": {"type": "boolean", "default": False, "description": "The classes have an order, as grades."},
            "mask_labels": {
                "type": "object", "propertyNames": {"pattern": "^[0-9]+$"}, "additionalProperties": _TEXT,
                "description": "The numbers in the masks and what they mean.",
            },
            "split": {"anyOf": [drawn, *folds], "description": "How patients are drawn into splits, or into folds."},
            "source": {
                "type": "object", "additionalProperties": _TEXT | {"type": ["string", "number", "boolean", "null"]},
                "description": "title, licence, url, version: where the images come from.",
            },
        }
    )  # fmt: skip
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A cohort of radapt", **schema}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "additionalProperties": False, "required": list(required),
    }  # fmt: skip
