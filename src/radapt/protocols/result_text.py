"""A result in a few lines, and its scores as a table for notebooks."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from radapt.errors import counted
from radapt.metrics.registry import in_order
from radapt.notebook import table_html
from radapt.training.fit_record import FitRecord

_HEADLINE = ("auroc", "mcc", "dice", "hd95_mm")
_OF_MASKS = ("dice", "iou", "nsd", "hd95_mm", "assd_mm")
_MOST = 5


def result_text(protocol: str, predictions: pd.DataFrame, scores: pd.DataFrame, fits: Sequence[FitRecord]) -> str:
    """The protocol, the leading numbers of each test set, and how the model was chosen: at most eight lines."""
    lines = [f"Result of {protocol!r}: {counted(len(predictions), 'prediction')}"]
    splits = _splits(scores)
    for split in splits[:_MOST]:
        rows = scores[(scores["split"] == split) & scores["metric"].isin(_HEADLINE)]
        shown = [f"{row['metric']} {_number(row)}" for _, row in rows.iterrows()]
        patients = int(rows["n_patients"].max()) if len(rows) else 0
        chosen_on = "; optimistic, chosen on" if split == "val" else ""
        lines.append(f"  {split}: {', '.join(shown)}; {counted(patients, 'patient')}{chosen_on}")
    if len(splits) > _MOST:
        lines.append(f"  … {len(splits) - _MOST} more test sets")
    if len(fits) == 1:
        options = ", ".join(f"{name}={value}" for name, value in fits[0].winner.options.items())
        lines.append(f"  model: {options[:200] or 'defaults'}, one of {len(fits[0].candidates)}")
    else:
        lines.append(f"  models: {len(fits)}")
    return "\n".join(lines)


def scores_html(scores: pd.DataFrame) -> str:
    """A row for each metric of the whole task and a column for each test set, with 95 % intervals."""
    splits = _splits(scores)[:_MOST]
    cells = {(row["split"], row["metric"]): _number(row) for _, row in scores.iterrows()}
    metrics = [*(metric.name for metric in in_order()), *_OF_MASKS]
    rows = [
        [metric, *(cells.get((split, metric), "") for split in splits)]
        for metric in metrics
        if any((split, metric) in cells for split in splits)
    ]
    return table_html(["", *splits], rows)


def _splits(scores: pd.DataFrame) -> list[str]:
    """Test sets first, val last, without those of single folds and sites."""
    names = [str(name) for name in scores["split"].unique() if ":" not in str(name)]
    return sorted(names, key=lambda name: name == "val")


def _number(row: Any) -> str:
    if row["value"] != row["value"]:
        return "undefined"
    interval = f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]" if row["ci_low"] == row["ci_low"] else ""
    return f"{row['value']:.2f}{interval}"
