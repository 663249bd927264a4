"""A certainty as a JSON record. Training features stay in the file that holds them, and come along to read it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from radapt.deploy.certainty.calibration import Calibration
from radapt.deploy.certainty.certainty import Certainty
from radapt.deploy.certainty.conformal import ConformalSets
from radapt.deploy.certainty.novelty import Novelty
from radapt.durable import plain
from radapt.errors import RadaptError, UsageError

FORMAT = 1
_KEYS = frozenset(
    ("format", "outputs", "several", "sequences", "calibrations", "sets", "novelty", "refused", "notes")
)  # fmt: skip


def certainty_record(certainty: Certainty) -> dict[str, Any]:
    """What `read_certainty` reads, JSON-like."""
    record = {
        "format": FORMAT,
        "outputs": certainty.outputs,
        "several": certainty.several,
        "sequences": certainty.sequences,
        "calibrations": [each.to_json() for each in certainty.calibrations],
        "sets": [each.to_json() for each in certainty.sets],
        "novelty": None if certainty.novelty is None else certainty.novelty.to_json(),
        "refused": certainty.refused,
        "notes": certainty.notes,
    }
    return dict(plain(record))


def read_certainty(record: Mapping[str, Any], features: np.ndarray | None = None) -> Certainty:
    """The certainty of a record; `features` (N, M, D) are those of the training cases that `fit_novelty` was given.

    Raises UsageError for a record of another format, that was changed, or that does not fit the features.
    """
    try:
        if record.get("format") != FORMAT:
            raise ValueError(f"format {record.get('format')!r} where {FORMAT} is read")
        if different := sorted(_KEYS.symmetric_difference(record)):
            raise ValueError(f"{different[0]!r} is missing or unknown")
        return _certainty(record, features)
    except (RadaptError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"The record of a model's certainty cannot be read ({error}). Copy the whole model folder again, or export "
            "it again."
        ) from error


def _certainty(record: Mapping[str, Any], features: np.ndarray | None) -> Certainty:
    outputs, sequences, several = tuple(record["outputs"]), tuple(record["sequences"]), record["several"]
    calibrations = tuple(Calibration.from_json(each) for each in record["calibrations"])
    sets = tuple(ConformalSets.from_json(each) for each in record["sets"])
    columns = 2 if several else len(outputs)
    if not len(calibrations) == len(sets) == (len(outputs) if several else 1):
        raise ValueError(f"{len(calibrations)} calibrations and {len(sets)} sets of {len(outputs)} outputs")
    if any(len(one.bias) != columns for one in calibrations) or any(one.classes != columns for one in sets):
        raise ValueError("calibrations or sets of another number of classes")
    if any(one.sequences != sequences for one in sets):
        raise ValueError("sets of other sequences")
    if not 0 < record["refused"] < 1:
        raise ValueError(f"refused is {record['refused']!r}")
    novelty = None
    if record["novelty"] is not None:
        if features is None:
            raise ValueError("the features of the training cases are missing")
        novelty = Novelty.from_json(record["novelty"], features)
    return Certainty(
        outputs, bool(several), sequences, calibrations, sets, novelty, float(record["refused"]), tuple(record["notes"])
    )
