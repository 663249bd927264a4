"""MkDocs hooks: the version in the name of the site, and pages and files that lie outside docs/, with links that fit.

The pages are written to be read in the repository, where a link is relative to the page itself. In the site the README
is the first page, and everything else of the repository keeps its path.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = (*sorted(path.name for path in ROOT.glob("*.md")), "examples/README.md")
FILES = ("studies/*.yaml", "examples/*.ipynb")
_TABLE_CODE = re.compile(r"(?<=^\|).*$", re.MULTILINE)
"""A row of a table. In code, GitHub needs a bar with a backslash, which Python-Markdown would show."""
_VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?(\))")


def place_of(path: str) -> str:
    """Where a file of the repository lies in the site: `docs/` is its root, and the README its first page."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def path_of(place: str) -> str:
    """The inverse of `place_of`."""
    if place == "index.md":
        return "README.md"
    return place if place in PAGES or place.startswith("design/") else f"docs/{place}"


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Add the version to the name, which stands above every page and in its title."""
    found = _VERSION.search((ROOT / "src/radapt/versions.py").read_text("utf-8"))
    assert found is not None
    config.site_name = f"{config.site_name} {found[1]}"
    return config


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add what lies outside docs/."""
    outside = [ROOT / name for name in PAGES]
    outside += [path for pattern in (*FILES, "design/*.md") for path in sorted(ROOT.glob(pattern))]
    for path in outside:
        place = place_of(path.relative_to(ROOT).as_posix())
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links of the repository as links of the site."""
    here = path_of(page.file.src_uri)

    def moved(found: re.Match[str]) -> str:
        start, target, anchor, end = found.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        if not (ROOT / path).exists():
            return found[0]
        own = posixpath.relpath(place_of(path), posixpath.dirname(page.file.src_uri) or ".")
        return f"{start}{own}{anchor or ''}{end}"

    return _LINK.sub(moved, _TABLE_CODE.sub(lambda found: found[0].replace("\\|", "|"), markdown))
