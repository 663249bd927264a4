"""The run folder: a cell counts as done only once everything about it is written."""

from pathlib import Path

import pandas as pd
import pytest

import radapt.studies.ledger as ledger_module
from radapt.studies.ledger import Ledger

TABLE = pd.DataFrame({"case": ["c0"], "p_ill": [0.25]})


def finish(ledger: Ledger) -> None:
    ledger.finish("a", {"id": "a"}, TABLE, TABLE, 1.0)


@pytest.mark.parametrize("writer", ["write_json", "write_parquet"])
@pytest.mark.parametrize("written", [0, 1])
def test_a_cell_that_is_run_again_and_stopped_is_not_done(
    writer: str, written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files of before still stand there, so that only the order of writing tells that they are old."""
    ledger = Ledger(tmp_path)
    finish(ledger)
    assert ledger.is_done("a")
    left, write = [written], getattr(ledger_module, writer)

    def stopped(path: Path, content: object) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(ledger_module, writer, stopped)
    with pytest.raises(KeyboardInterrupt):
        finish(ledger)
    assert not ledger.is_done("a")
    monkeypatch.undo()
    finish(ledger)
    assert ledger.is_done("a")
