"""How well `radapt run --plan` foresees a run: the plan of a study, then the study itself, in a cache of its own.

Prints what was planned and what was taken for each cell and each extraction, and the share of cells that were foreseen
within a factor of 1.5 or a second. With --cpu both are processor time, for a machine that others use as well.

    python benchmarks/plan.py STUDY [--cpu]
"""

import argparse
import tempfile
import time
from pathlib import Path

from radapt.parsing.json import read_json
from radapt.studies import Ledger, Settings, estimate, plan_study, read_study, run_study
from radapt.studies.costs.text import duration

FACTOR, SHORT = 1.5, 1.0
"""A cell counts as foreseen within this factor, or within so many seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--cpu", action="store_true")
    given = parser.parse_args()
    if given.cpu:
        time.perf_counter = time.process_time
    study = read_study(given.study)
    with tempfile.TemporaryDirectory() as folder:
        ledger, settings = Ledger(Path(folder, "run")), Settings(cache=Path(folder, "cache"), offline=True)
        begun = time.perf_counter()
        costs = estimate(plan_study(study, settings), ledger, settings)
        planning = time.perf_counter() - begun
        begun = time.perf_counter()
        outcome = run_study(study, ledger.folder, settings)
        whole = time.perf_counter() - begun
        good = known = 0
        for cost in costs:
            for cell in cost.cells:
                planned, taken = cost.unfinished[cell.id], _seconds(ledger, cell.id)
                known += 1
                if planned is None or taken is None:
                    print(f"{cell.title}: planned {planned}, taken {taken}")
                    continue
                ratio = taken / planned.seconds
                good += 1 / FACTOR <= ratio <= FACTOR or abs(taken - planned.seconds) < SHORT
                print(f"{cell.title}: planned {planned.seconds:.2f} s, taken {taken:.2f} s, ratio {ratio:.2f}")
        total = sum(cost.seconds for cost in costs)
        encoding = sum(cost.encoding.seconds for cost in costs if cost.encoding)
        cells = sum(_seconds(ledger, cell.id) or 0.0 for cost in costs for cell in cost.cells)
        print(f"outside cells: planned {encoding:.1f} s, taken {whole - cells:.1f} s")
        print(f"all: planned {total:.1f} s, taken {whole:.1f} s, ratio {whole / total:.2f}")
        print(f"{good} of {known} cells within a factor of {FACTOR} or {SHORT:g} s; planning took {duration(planning)}")
        if outcome.failures:
            print(outcome.reasons())


def _seconds(ledger: Ledger, cell: str) -> float | None:
    return float(read_json(ledger.cell(cell) / "done.json")["seconds"]) if ledger.is_done(cell) else None


if __name__ == "__main__":
    main()
