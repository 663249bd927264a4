"""Which cases a report wants pictures of."""

from dataclasses import dataclass

FOLDER = "case_pictures"
"""In the run folder; inside it a folder for each cell whose predictions are shown."""


@dataclass(frozen=True)
class WantedPictures:
    """The `cases` of a cohort to draw, most wanted first, for the predictions of one cell.

    `outlined` are further cells of the same cohort, best first, whose masks are outlined on the same slices. The first
    `volumes` of the cases that have a volume are kept as volumes too, with the masks of `cell`.
    """

    cell: str
    cases: tuple[str, ...]
    outlined: tuple[str, ...] = ()
    volumes: int = 0
