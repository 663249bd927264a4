"""The cases that the report of a run wants pictures of."""

from collections.abc import Sequence
from pathlib import Path

from radapt.reports.case_browser.rows import CaseRow, class_rows, finding_rows, in_turn, mask_rows
from radapt.reports.classification_curves import ClassificationPredictions, best_predictions
from radapt.reports.leaderboard import Leaderboard, leaderboards
from radapt.reports.run_folder import Run, read_run
from radapt.reports.segmentation_cases import SegmentationPredictions, best_segmentations
from radapt.studies.case_pictures.wanted import WantedPictures

MOST_PICTURED = 24
"""Cases of a cohort and aim, over all its test sets: mistakes of every kind in turn, then others."""

MOST_METHODS = 4
"""With a list of cases, and outlines of their masks, per test set, best first."""

Predictions = ClassificationPredictions | SegmentationPredictions


def wanted_pictures(run: Path) -> list[WantedPictures]:
    """For each cohort and aim, the cases of the best method, from all test sets, with the masks of every method that
    has a list; none where the study keeps images out. Raises as `read_run` does."""
    read = read_run(run)
    if not read.images:
        return []
    groups: dict[tuple[str, str], list[Leaderboard]] = {}
    for board in leaderboards(read):
        if not (board.is_selection_split or board.is_part):
            groups.setdefault((board.cohort, board.aim), []).append(board)
    wanted = [_of_boards(read, boards) for boards in groups.values()]
    return [one for one in wanted if one is not None]


def _of_boards(run: Run, boards: Sequence[Leaderboard]) -> WantedPictures | None:
    listed = [models for board in boards if (models := best_of(run, board)[:MOST_METHODS])]
    if not listed:
        return None
    lists = [in_turn(rows_of(models[0]), MOST_PICTURED) for models in listed]
    cases = [own[place].case for place in range(MOST_PICTURED) for own in lists if place < len(own)]
    drawn, *others = dict.fromkeys(model.cell.id for models in listed for model in models)
    outlined = tuple(others) if boards[0].aim == "segmentation" else ()
    return WantedPictures(drawn, tuple(dict.fromkeys(cases))[:MOST_PICTURED], outlined, run.volumes)


def best_of(run: Run, board: Leaderboard) -> Sequence[Predictions]:
    """The predictions of the best methods of a leaderboard, best first."""
    return best_segmentations(board) if board.aim == "segmentation" else best_predictions(run, board)


def rows_of(model: Predictions) -> list[CaseRow]:
    """The rows of any predictions."""
    if isinstance(model, SegmentationPredictions):
        return mask_rows(model)
    return finding_rows(model) if model.multilabel else class_rows(model)
