"""What a command answers a question of statistics with."""

from dataclasses import dataclass

Flat = dict[str, str | float | int | bool | None]
"""One object without nesting, as `--json` writes it."""


@dataclass(frozen=True)
class Answer:
    """Lines to print, and one flat object with the numbers."""

    text: str
    record: Flat
