"""What the candidates of each option reached in inner folds, as Markdown tables, read from run folders.

    python benchmarks/defaults.py RUN...

RUN is a folder that `radapt run` wrote. A candidate's score is the one it was chosen by: of cases of train and val
that it did not learn from, never of test cases. For each value of an option the best candidate with that value counts,
and its mean over the outer folds, if there are any. Only pretrained encoders and choices by inner folds are shown. Runs
with several `images` are compared by the best candidate of each.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

METRICS = {"MCC": "mcc", "AUROC": "auroc"}
"""The first word of a criterion, and the name of its scores in the record."""


@dataclass(frozen=True)
class Tried:
    """One candidate of one fit: its options, and its score on cases that it did not learn from."""

    protocol: str
    on: str
    image: str
    fit: str
    metric: str
    options: Mapping[str, str]
    score: float


def read_tried(run: Path) -> Iterator[Tried]:
    """The candidates of all fits of a run folder that were compared by inner folds."""
    for path in sorted(run.glob("cells/*/cell.json")):
        facts = json.loads(path.read_text("utf-8"))
        encoder = facts["backbone"]
        if (
            facts.get("control")
            or facts["aim"] != "classification"
            or encoder == "none"
            or encoder.startswith("random")
        ):
            continue
        fits = facts.get("folds") or {"": facts["fit"]}
        for name, fit in fits.items():
            word = fit["criterion"].split()[0]
            if word in METRICS and "inner folds" in fit["criterion"]:
                for candidate in fit["candidates"]:
                    yield _tried(facts, f"{path.parent.name}-{name}", METRICS[word], candidate)


def _tried(facts: Mapping[str, Any], fit: str, metric: str, candidate: Mapping[str, Any]) -> Tried:
    options = {name: str(value) for name, value in candidate["options"].items()}
    on = f"{facts['cohort']}, {facts['backbone']}"
    return Tried(facts["protocol"], on, facts["image"]["name"] or "", fit, metric, options, candidate["val"][metric])


def best_by(tried: Iterable[Tried], column: str | None) -> dict[tuple[str, str], dict[str, float]]:
    """{(cohort and encoder, metric): {value of an option: score}}; without a `column` by image setting instead."""
    best: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for each in tried:
        value = each.image if column is None else each.options.get(column)
        if value is not None and np.isfinite(each.score):
            of_fit = best[each.on, each.metric, value]
            of_fit[each.fit] = max(each.score, of_fit.get(each.fit, -np.inf))
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for (on, metric, value), of_fits in best.items():
        found[on, metric][value] = float(np.mean(list(of_fits.values())))
    return found


def table(title: str, scores: Mapping[tuple[str, str], Mapping[str, float]]) -> list[str]:
    """A row for each cohort and encoder, a column for each value that most of them have tried; none for an option
    without alternatives."""
    counts = Counter(value for row in scores.values() for value in row)
    values = [value for value, count in counts.items() if count > len(scores) / 2]
    if len(values) < 2:
        return []
    lines = [title, "", f"| | metric | {' | '.join(values)} |", "|---|---|" + "---|" * len(values)]
    for (on, metric), row in sorted(scores.items()):
        numbers = [f"{row[value]:.3f}" if value in row else "" for value in values]
        top = max(range(len(values)), key=lambda place: row.get(values[place], -np.inf))
        numbers[top] = f"**{numbers[top]}**"
        lines.append(f"| {on} | {metric} | {' | '.join(numbers)} |")
    return [*lines, ""]


def tables(tried: Sequence[Tried]) -> list[str]:
    """All tables, by protocol and option, then by image setting."""
    lines = []
    for protocol in dict.fromkeys(each.protocol for each in tried):
        plain = [each for each in tried if each.protocol == protocol and not each.image]
        for option in dict.fromkeys(name for each in plain for name in each.options):
            lines += table(f"`{protocol}`, `{option}`:", best_by(plain, option))
        several = [each for each in tried if each.protocol == protocol and each.image]
        for on in dict.fromkeys(each.on for each in several):
            lines += table(f"`{protocol}`, images:", best_by([each for each in several if each.on == on], None))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a folder of `radapt run`")
    asked = parser.parse_args(arguments)
    print("\n".join(tables([each for run in asked.runs for each in read_tried(run)])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
