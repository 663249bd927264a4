"""Every path that the pages for contributors name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", *sorted((ROOT / "design").glob("*.md"))]
LONGEST = 60
_PATH = re.compile(r"`([\w./-]+(?:/|\.py|\.md|\.toml))`|\]\(([^)#:]+)\)")


def paths_in(page: Path) -> list[str]:
    """What stands in backquotes and ends like a file or a folder, and the targets of links."""
    return [quoted or linked for quoted, linked in _PATH.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_named_path_is_there(page: Path) -> None:
    starts = ROOT, ROOT / "src" / "radapt", page.parent
    assert [path for path in paths_in(page) if not any((start / path).exists() for start in starts)] == []


def test_paths_are_found_in_the_text() -> None:
    assert len(paths_in(ROOT / "docs" / "architecture.md")) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_a_page(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST
