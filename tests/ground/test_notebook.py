"""What a notebook shows: objects as small tables in which nothing of the data is run, and a bar for long work."""

import sys
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from radapt import progress as shown
from radapt.deploy.prediction import CasePrediction, Predictions
from radapt.notebook import described_html, in_notebook, table_html
from radapt.protocols.result_text import result_text, scores_html
from radapt.training.fit_record import FitRecord

HOSTILE = "<script>alert(1)</script>"


def test_nothing_of_the_data_is_run() -> None:
    pages = [
        described_html(f"{HOSTILE}\n  {HOSTILE}: {HOSTILE}\n  {HOSTILE}"),
        table_html([HOSTILE], [[HOSTILE, HOSTILE]]),
        Predictions((CasePrediction(HOSTILE, {HOSTILE: 1.0}, HOSTILE, reason=HOSTILE),), (HOSTILE,))._repr_html_(),
    ]
    assert [page for page in pages if "<script" in page] == []
    assert pages[0].count("&lt;script&gt;") == 4


def test_predictions_are_few_lines() -> None:
    cases = tuple(CasePrediction(f"c{at}", {"ill": at / 40}, "ill", failed=at > 37) for at in range(40))
    found = Predictions(cases, ("ill",), tuple("abcdefgh"))
    assert repr(found).splitlines()[:2] == [
        "Predictions for 40 cases; the rows are in table",
        "  failed: 2, the first c38",
    ]
    assert len(repr(found).splitlines()) < 10
    assert found._repr_html_().count("<tr>") == 1 + 10 + len(repr(found).splitlines()) - 1
    assert "30 more" in found._repr_html_()


def scores(*splits: str) -> pd.DataFrame:
    rows = [
        {"split": split, "metric": metric, "value": value, "ci_low": 0.5, "ci_high": 0.875, "n_patients": 7}
        for split in splits
        for metric, value in (("auroc", 0.75), ("auroc:ill", 0.75), ("mcc", float("nan")), ("ece", 0.25))
    ]
    return pd.DataFrame(rows)


def test_a_result_is_few_lines_with_val_last() -> None:
    names = ["val", *(f"test{at}" for at in range(9)), "oof:site=a"]
    text = result_text("knn", pd.DataFrame({"case": range(5)}), scores(*names), [FitRecord.unchosen({"k": 5}, train=3)])
    assert text.splitlines()[1] == "  test0: auroc 0.75 [0.50, 0.88], mcc undefined; 7 patients"
    assert text.splitlines()[-2:] == ["  … 5 more test sets", "  model: k=5, one of 1"]
    assert len(text.splitlines()) < 10
    page = scores_html(scores("val", "test"))
    assert page.startswith("<table><tr><th></th><th>test</th><th>val</th></tr><tr><th>auroc</th>")
    assert "auroc:ill" not in page


def test_a_fit_record_is_few_lines() -> None:
    record = FitRecord.unchosen({"C": 1.0}, train=12, trained=1300, seconds=2.0)
    assert repr(record).splitlines()[0] == "FitRecord: C=1.0"
    assert "1,300 trained numbers" in repr(record)
    assert len(repr(record).splitlines()) < 10


def test_a_kernel_has_a_bar_that_is_drawn_over_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_notebook()
    ipython = pytest.importorskip("IPython", reason="IPython is not installed")
    monkeypatch.setattr(ipython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    assert in_notebook()
    drawn: list[str] = []

    def display(page: Any, display_id: bool) -> SimpleNamespace:
        drawn.append(page.data)
        return SimpleNamespace(update=lambda page: drawn.append(page.data))

    monkeypatch.setattr(sys.modules["IPython.display"], "display", display)
    monkeypatch.setattr(shown, "_QUIET_S", 0.0)
    with shown.progress(4, HOSTILE, "cases") as advance:
        for _ in range(4):
            advance(1)
    assert 'value="1" max="4"' in drawn[0]
    assert 'value="4" max="4"' in drawn[-1]
    assert "4 of 4 cases" in drawn[-1]
    assert HOSTILE not in drawn[-1]
    monkeypatch.setattr(shown, "_QUIET_S", 10.0)
    drawn.clear()
    with shown.progress(4, "quick", "cases") as advance:
        advance(4)
    assert drawn == []
