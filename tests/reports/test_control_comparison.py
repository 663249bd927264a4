"""What the first screen says of a control, from hand-made rows."""

import pytest

from radapt.reports.cell_scores import CellScore
from radapt.reports.control_comparison import ControlComparison, control_sentences
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.run_folder import NO_NETWORK


def row(name: str, control: str, value: float, low: float, high: float, backbone: str = NO_NETWORK) -> LeaderboardRow:
    method = Method(name, "lgg", backbone, name, None, (), control=control)
    return LeaderboardRow(method, (CellScore("c", 0, None, value, low, high, 9, 9, 0, 0),))


BEST = row("logistic", "", 0.7, 0.6, 0.8, "dino")
AGE = row("age and sex", "age-sex", 0.6, 0.5, 0.7)


def board(*controls: LeaderboardRow, split: str = "test", **more: object) -> Leaderboard:
    return Leaderboard("lgg", split, {"auroc": (BEST,)}, {}, {}, controls={"auroc": controls}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((0.03, -0.1, 0.15), "Not better than age and sex (difference in AUROC 0.03 [−0.10, 0.15], paired"),
        ((-0.2, -0.3, -0.1), "Not better than age and sex (difference in AUROC −0.20 [−0.30, −0.10], paired"),
        ((0.1, 0.0, 0.2), "Not better than age and sex (difference in AUROC 0.10 [0.00, 0.20], paired by patient)."),
        ((0.12, 0.03, 0.21), "Better than age and sex by 0.12 [0.03, 0.21] in AUROC, paired by patient."),
        ((0.12, float("nan"), float("nan")), "Whether it is better than age and sex is undefined"),
    ],
)  # fmt: skip
def test_better_means_that_the_interval_is_above_zero(numbers: tuple[float, float, float], sentence: str) -> None:
    assert ControlComparison(BEST, AGE, "auroc", *numbers).sentence.startswith(sentence)


@pytest.mark.parametrize(("low", "said"), [(0.49, False), (0.54, False), (0.56, True)])
def test_shuffled_labels_are_named_far_above_chance_only(low: float, said: bool) -> None:
    shuffled = row("shuffled labels", "shuffled-labels", 0.6, low, 0.7, "dino")
    found = control_sentences(board(shuffled), "auroc", BEST)
    assert found.startswith("dino with shuffled labels is better than chance (AUROC 0.60, ") == said
    assert bool(found) == said


def test_the_reason_is_given_where_age_and_sex_cannot_be_compared() -> None:
    skipped = ({"control": "age-sex", "reason": "none"}, {"control": "metadata", "reason": "none"})
    assert control_sentences(board(skipped_controls=skipped), "auroc", BEST) == "Not compared with age and sex: none."
    assert control_sentences(board(split="oof:fold=1", skipped_controls=skipped), "auroc", BEST) == ""
