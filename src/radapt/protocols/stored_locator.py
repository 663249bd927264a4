"""The lesion locator of a model that looks at lesions, as a file of its model folder."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from radapt.errors import UsageError
from radapt.features.lesions.locator import LesionLocator
from radapt.models.state import ModelState
from radapt.parsing.json import parse_json

LOCATOR = "locator.safetensors"


def with_locator(state: ModelState, locator: LesionLocator) -> ModelState:
    """The state with one more file, that of its locator."""

    def attach(folder: Path) -> tuple[str, ...]:
        from safetensors.numpy import save_file

        facts = {"threshold": repr(locator.threshold), "own_masks": json.dumps(locator.own_masks)}
        save_file({name: np.ascontiguousarray(own) for name, own in locator.weights.items()}, folder / LOCATOR, facts)
        return (LOCATOR, *(state.attach(folder) if state.attach else ()))

    return replace(state, attach=attach)


def read_locator(folder: Path) -> LesionLocator:
    """The locator in a model folder. Raises UsageError if it is missing or cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / LOCATOR, "numpy") as file:
            facts = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return LesionLocator(weights, float(facts["threshold"]), bool(parse_json(facts["own_masks"])))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UsageError(f"{folder / LOCATOR} cannot be read ({error}). Copy the whole folder again.") from error
