"""Possible shortcuts: columns of the table that can be read from an encoder's features and predict the label."""

from dataclasses import dataclass

import pandas as pd

from radapt.reports.formatting import interval, shown
from radapt.reports.run_folder import Facts, Run, read_parquet


@dataclass(frozen=True)
class ShortcutRow:
    """A column of the table and the features of a backbone; AUROCs as in `radapt.probes.shortcuts.Shortcut`."""

    backbone: str
    column: str
    n_patients: int
    readable: float
    readable_low: float
    readable_high: float
    label: float
    label_low: float
    label_high: float
    strongest: str
    strongest_value: float
    strongest_low: float
    strongest_high: float
    p_holm: float
    is_shortcut: bool

    @property
    def warning(self) -> str:
        """What a reader must know; '' where it is no shortcut."""
        if not self.is_shortcut:
            return ""
        return (
            f"Possible shortcut: {self.column} can be read from the features of {self.backbone} among patients with "
            f"the same label (AUROC {shown(self.readable, 2)}, {interval(self.readable_low, self.readable_high, 2)}), "
            f"and {self.column} alone predicts {self.strongest} (AUROC {shown(self.strongest_value, 2)}, "
            f"{interval(self.strongest_low, self.strongest_high, 2)})."
        )


def shortcut_rows(run: Run, facts: Facts) -> tuple[ShortcutRow, ...]:
    """Every column and backbone of a cohort; empty where none was searched."""
    files = sorted((run.path / "cohorts" / str(facts.get("folder", "")) / "shortcuts").glob("*.parquet"))
    tables = [read_parquet(file) for file in files]
    if not tables:
        return ()
    table = pd.concat(tables, ignore_index=True)[list(ShortcutRow.__dataclass_fields__)]
    return tuple(ShortcutRow(**{str(name): value for name, value in row.items()}) for row in table.to_dict("records"))
