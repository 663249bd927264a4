"""What the header of a DICOM series says about its sequence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SeriesFacts:
    """Times in milliseconds, the b-value in s/mm²; None where the header is silent.

    `contrast` is whether a contrast agent is named, `modality` the DICOM word (`MR`, `CT`).
    """

    description: str = ""
    modality: str = ""
    number: int = 0
    n_images: int = 1
    echo_time: float | None = None
    repetition_time: float | None = None
    inversion_time: float | None = None
    b_value: float | None = None
    contrast: bool = False
