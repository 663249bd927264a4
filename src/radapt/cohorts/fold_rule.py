"""How a cohort is divided into folds, as cohort.yaml says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FoldRule:
    """How a cohort is divided into folds: exactly one of `count`, `by_site`, `column` and `file`.

    `count` folds are drawn from `seed`. `merge` maps a site to the site whose fold it joins. `file` is a list of folds
    as nnU-Net writes it, relative to the cohort file.
    """

    count: int | None = None
    by_site: bool = False
    column: str | None = None
    file: str | None = None
    merge: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """The rule as `split:` of cohort.yaml writes it."""
        if self.count is not None:
            return {"folds": self.count, "seed": self.seed}
        if self.by_site:
            return {"by": "site", **({"merge": dict(self.merge)} if self.merge else {})}
        return {"folds_column": self.column} if self.file is None else {"folds_file": self.file}

    @property
    def words(self) -> str:
        """How patients came into their folds, in a few words."""
        if self.count is not None:
            return f"{self.count} folds drawn by patient, seed {self.seed}"
        if self.by_site:
            return "each hospital left out in turn"
        return f"folds of the column {self.column!r}" if self.file is None else f"folds of the file {self.file}"
