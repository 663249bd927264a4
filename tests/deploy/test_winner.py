"""Which cell wins, on runs that are written down by hand."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from radapt.deploy.export import winner
from radapt.deploy.export.candidates import RunCell
from radapt.deploy.export.winner import choose_cell
from radapt.errors import DataError, UsageError
from radapt.studies.ledger import Ledger


class Kept(RunCell):
    """A cell that kept a model."""

    @property
    def models(self) -> tuple[Path, ...]:
        return (self.folder,)


def cell(
    label: str, scores: Mapping[str, float], *, seed: int = 0, cohort: str = "c", aim: str = "classification",
    control: str = "", few: bool = False, kept: bool = True, backbone: str = "vit", metric: str = "mcc",
) -> RunCell:  # fmt: skip
    kind = Kept if kept else RunCell
    return kind(
        f"{label}-{seed}", Path(f"/{label}"), cohort, backbone, label, seed, aim, control, few, metric, scores, {}
    )  # fmt: skip


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def call(*cells: RunCell, **asked: str):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(winner, "run_cells", lambda _: list(cells))
        return choose_cell(Path("run"), **asked)

    return call


def test_the_mean_over_seeds_decides_and_then_the_best_seed(choose) -> None:  # type: ignore[no-untyped-def]
    lucky = [cell("a", {"val": score}, seed=seed) for seed, score in enumerate((0.9, 0.1))]
    steady = [cell("b", {"val": score}, seed=seed) for seed, score in enumerate((0.6, 0.7))]
    chosen, selection = choose(*lucky, *steady)
    assert chosen.id == "b-1"
    assert "0.650 over 2 seeds, of which the best was taken; next is vit · a with 0.500" in selection.why


def test_where_a_smaller_value_is_better_the_smallest_wins(choose) -> None:  # type: ignore[no-untyped-def]
    cells = [cell(name, {"val": score}, metric="log_loss") for name, score in (("a", 0.2), ("b", 0.9))]
    assert choose(*cells)[0].label == "a"


def test_scores_of_one_source_are_compared(choose) -> None:  # type: ignore[no-untyped-def]
    """Of inner folds where all have them, else of val; a method without is left out, and counted."""
    both = [cell("a", {"val": 0.9, "inner folds": 0.1}), cell("b", {"val": 0.1, "inner folds": 0.9})]
    assert choose(*both)[0].label == "b"
    only_val = cell("c", {"val": 0.5})
    assert choose(*both, only_val)[0].label == "a"
    chosen, selection = choose(*both, cell("d", {}))
    assert chosen.label == "b"
    assert "1 finished cells have no such score and were not compared" in selection.why


def test_controls_few_labels_and_cells_without_a_model_do_not_win(choose) -> None:  # type: ignore[no-untyped-def]
    losers = (
        cell("age", {"val": 1.0}, control="metadata"),
        cell("few", {"val": 1.0}, few=True),
        cell("gone", {"val": 1.0}, kept=False),
    )
    good = cell("good", {"val": 0.1})
    assert choose(*losers, good)[0].label == "good"
    assert choose(*losers, good, method="age")[0].label == "age"
    with pytest.raises(UsageError, match="kept no model"):
        choose(*losers, good, cell="gone")


def test_a_run_whose_cells_all_failed_says_why(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write_plan("", [{"id": "one"}, {"id": "two"}])
    with pytest.raises(UsageError, match=r"No cell of .* is finished.*Run the study first"):
        choose_cell(tmp_path)
    ledger.fail("one", {}, DataError("Image x.png is damaged."))
    with pytest.raises(UsageError, match=r"1 of 2 cells of .* failed"):
        choose_cell(tmp_path)
    ledger.fail("two", {}, DataError("Image y.png is damaged."))
    says = r"All 2 cells of .* failed .* The first: Image x.png is damaged\. `radapt report .*` lists every reason"
    with pytest.raises(UsageError, match=says):
        choose_cell(tmp_path)


def test_cohorts_and_aims_do_not_compare(choose) -> None:  # type: ignore[no-untyped-def]
    cells = cell("a", {"val": 0.5}), cell("b", {"val": 0.5}, cohort="d")
    with pytest.raises(UsageError, match=r"several cohorts: c, d\. Choose one with --cohort"):
        choose(*cells)
    assert choose(*cells, cohort="d")[0].label == "b"
    mixed = cell("a", {"val": 0.5}), cell("unet", {"val": 0.9}, aim="segmentation", metric="dice")
    with pytest.raises(UsageError, match=r"classification and for segmentation.*Choose one with --method"):
        choose(*mixed)
    assert choose(*mixed, method="vit unet")[0].label == "unet"
