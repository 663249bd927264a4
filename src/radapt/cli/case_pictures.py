"""Pictures of the cases that the report of a run shows, drawn when the run ends."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from radapt.studies import Outcome


def draw_case_pictures(outcome: "Outcome", cache: Path) -> None:
    """Draw the pictures that the report of the run wants into its folder, from the slices in `cache`."""
    from radapt.reports.case_browser.wanted import wanted_pictures
    from radapt.studies.case_pictures.write import write_case_pictures

    write_case_pictures(outcome.folder, outcome.cells, wanted_pictures(outcome.folder), cache)
