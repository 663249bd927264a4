"""The documentation as a site: it builds without network, every link leads somewhere, and pages ask for nothing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("material", reason="mkdocs-material is not installed")

ROOT = Path(__file__).parents[2]
_LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?(https?:)?//", re.IGNORECASE)


def test_every_page_is_in_the_navigation() -> None:
    """Quicker than a build, which refuses a page that is not."""
    config = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")]
    assert [page for page in pages if not re.search(rf": {re.escape(page)}$", config, re.MULTILINE)] == []


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """mkdocs without a way out: a proxy that nothing listens at."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(out)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}, check=False
    )


@pytest.mark.slow
def test_the_site_asks_nothing_of_other_machines(tmp_path: Path) -> None:
    done = build(ROOT / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "contract.html", "CONTRIBUTING.html", "examples/index.html"} <= set(pages)
    assert [name for name, text in pages.items() if _LOADED.search(text)] == []
    assert (tmp_path / "site" / "studies" / "segmentation-ladder.yaml").is_file()
    assert 'href="contract.html#subsets-of-sequences"' in pages["sequences.html"]
    assert 'href="studies/segmentation-ladder.yaml"' in pages["index.html"]
    assert "study|cohort" in pages["contract.html"]
    assert 'id="radapt.cohorts.load_cohort"' in pages["reference.html"]


@pytest.mark.slow
def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    for name in ("docs", "examples", "studies", "design"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for path in (*ROOT.glob("*.md"), ROOT / "mkdocs.yml"):
        shutil.copy(path, tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    page = tmp_path / "docs" / "glossary.md"
    page.write_text(page.read_text() + "\n[gone](gone.md) and [moved](contract.md#moved)\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "gone.md" in done.stderr
    assert "contract.md#moved" in done.stderr
