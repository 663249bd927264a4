"""How long `radapt verify` takes on a large run, and how long writing the report does, which computes part of the same.

    python benchmarks/verifying.py [--methods 20] [--cases 5000] [--keep FOLDER]

A study of kNN, tested on so many cases, two of each patient, with intervals from 2,000 resamples. All cases have one
picture, so that there is nothing to compute of it; the other methods are simulated predictions, written as a study
writes its cells. Prints seconds of the processor and seconds that passed. With `--keep` the run folder stays there and
is used again.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from radapt.reports import write_report
from radapt.reports.verification import Verification, verify_run
from radapt.studies import Ledger, Settings, read_study, run_study
from radapt.studies.recomputed import scores_again
from radapt.studies.run_digests import record_digests

TRAINED = 200


def write_run(folder: Path, methods: int, cases: int) -> Path:
    """A finished run; one that is there is left as it is."""
    run = folder / "run"
    if (run / "report.html").is_file():
        return run
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 200, (32, 32), dtype=np.uint8)).save(folder / "a.png")
    rows = []
    for number in range(TRAINED + cases):
        test, half = number >= TRAINED, number // 2
        split = "test" if test else "val" if number % 4 == 0 else "train"
        row = {"case": f"c{number}", "patient": f"p{half}" if test else f"q{number}", "split": split}
        rows.append(row | {"image": "a.png", "label": half % 2})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    (folder / "cohort.yaml").write_text("name: many\nkind: xray\ncases: cases.csv\nclasses: ['0', '1']\n")
    study = {
        "name": "many", "cohorts": ["cohort.yaml"], "protocols": ["knn"], "image": {"size": 32}, "controls": "none",
        "backbones": [{"name": "vit", "as": "timm:test_vit", "weights": "random"}], "duplicates": "allow",
        "pictures": "none",
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    run_study(read_study(folder / "study.yaml"), run, Settings(cache=folder / "cache", offline=True))
    add_methods(run, methods - 1)
    write_report(run)
    return run


def add_methods(run: Path, count: int) -> None:
    """Cells with simulated predictions, the first the worst, as if `count` other settings had been studied."""
    ledger, plan = Ledger(run), json.loads((run / "plan.json").read_text())
    (first,) = plan["cells"]
    facts = json.loads((ledger.cell(first["id"]) / "cell.json").read_text())
    cohort = json.loads(next(run.glob("cohorts/*/cohort.json")).read_text())
    table, cells = pd.read_parquet(ledger.cell(first["id"]) / "predictions.parquet"), [first]
    for number in range(count):
        names = {"id": f"{number:016x}", "label": f"knn {number}"}
        logit = np.random.default_rng(number).normal((1 + number / 20) * (table["truth"] == "1"))
        positive = 1 / (1 + np.exp(0.5 - logit))
        own = table.assign(cell=names["id"], p_1=positive, p_0=1 - positive)
        draws = np.random.default_rng(facts["seed"]).spawn(2)[1]  # those of a study
        scores = [
            scores_again(rows, cohort, draws.spawn(1)[0], facts["resamples"]).assign(split=split)
            for split, rows in own.groupby("split", sort=False)
        ]
        ledger.finish(names["id"], facts | names, own, pd.concat(scores, ignore_index=True), seconds=1.0)
        cells.append(first | names)
    ledger.write_plan((run / "study.yaml").read_text(), cells)
    ledger.write_results(cells)
    record_digests(run)


def seconds(what: Callable[[], object]) -> tuple[float, float]:
    """Of the processor, and passed."""
    start, wall = process_time(), perf_counter()
    what()
    return process_time() - start, perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=int, default=20)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            run = write_run(given.keep or Path(scratch), given.methods, given.cases)
        report = seconds(lambda: write_report(run))
        found: list[Verification] = []
        verify = seconds(lambda: found.append(verify_run(run)))
    assert not found[0].faults, found[0].text
    print(
        f"{found[0].cells} methods, {given.cases:,} test cases, {found[0].numbers:,} numbers: verified in "
        f"{verify[0]:.1f} s of the processor ({verify[1]:.1f} s passed), {verify[0] / report[0]:.1f} times as long as "
        f"writing the report ({report[0]:.1f} s)"
    )


if __name__ == "__main__":
    main()
