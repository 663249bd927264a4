"""Which cases a report wants pictures of."""

from dataclasses import dataclass

FOLDER = "case_pictures"
"""In the run folder; inside it a folder for each cell whose predictions are shown."""


@dataclass(frozen=True)
class WantedPictures:
    """The `cases` of a cohort to draw, most wanted first, for the predictions of one cell.

    The first `volumes` of them that have a volume are kept as volumes too.
    """

    cell: str
    cases: tuple[str, ...]
    volumes: int = 0
