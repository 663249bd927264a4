"""Files with several volumes: `file.nii.gz::channels[k]` is the k-th."""

import numpy as np

from radapt.errors import DataError
from radapt.locations import Location

CHANNELS = "channels"


def check_channel(location: Location, what: str) -> None:
    """Raise DataError for a location inside the file that is no `::channels[k]`."""
    if location.array is not None and (location.array != CHANNELS or location.index is None):
        raise DataError(
            f"{location} is not understood; for one volume of a 4D {what} write {location.path}::{CHANNELS}[0]."
        )


def one_volume(raw: np.ndarray, location: Location) -> np.ndarray:
    """The volume (X, Y, Z) that `location` means of `raw`, whose axes after the third, if any, count volumes.

    Missing axes have one plane. Raises DataError if several volumes are there and none is named, or one that is not.
    """
    shape = raw.shape
    while raw.ndim > 3 and raw.shape[-1] == 1 and location.index is None:
        raw = raw[..., 0]
    while raw.ndim < 3:
        raw = raw[..., None]
    if location.index is None and raw.ndim > 3:
        raise DataError(
            f"{location.path} has size {shape}: {raw[0, 0, 0].size} volumes in one file. Choose one by writing "
            f"{location.path}::{CHANNELS}[0], or split it into one file per modality."
        )
    if location.index is None:
        return raw
    raw = raw.reshape(*raw.shape[:3], -1, order="F")
    if location.index >= raw.shape[3]:
        raise DataError(f"{location} does not exist: the file holds {raw.shape[3]} volumes, counted from 0.")
    return raw[..., location.index]
