"""How a cohort is divided into folds, as cohort.yaml says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from radapt.errors import UsageError


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
        """How patients came into their folds, to follow "out of fold"."""
        if self.count is not None:
            return f"in {self.count} folds drawn by patient, seed {self.seed}"
        if self.by_site:
            joined = ", ".join(f"{site} with {other}" for site, other in self.merge.items())
            return f"by hospital ({joined})" if joined else "by hospital"
        return f"in the folds of column {self.column!r}" if self.file is None else f"in the folds of {self.file}"


def parse_folds(text: str, seed: int) -> FoldRule:
    """The rule that one word names: a number, `site`, `column:NAME` or `file:PATH`. Raises UsageError for another."""
    kind, _, name = text.partition(":")
    if text.isdecimal() and int(text) >= 2:
        return FoldRule(count=int(text), seed=seed)
    if text == "site":
        return FoldRule(by_site=True)
    if kind == "column" and name:
        return FoldRule(column=name)
    if kind == "file" and name:
        return FoldRule(file=name)
    raise UsageError(f"--folds {text}: expected a number from 2 up, site, column:NAME or file:PATH.")
