"""The documentation as a site: it builds without network, every link leads somewhere, and pages ask for nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from radapt.versions import __version__

pytest.importorskip("material", reason="mkdocs-material is not installed")

ROOT = Path(__file__).parents[2]
_LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?(https?:)?//", re.IGNORECASE)


def copy_of_the_pages(folder: Path) -> None:
    """Everything that the site is built from, to be changed."""
    for name in ("docs", "examples", "studies", "design"):
        shutil.copytree(ROOT / name, folder / name)
    for path in (*ROOT.glob("*.md"), ROOT / "mkdocs.yml", ROOT / "Makefile"):
        shutil.copy(path, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))


def test_every_page_is_in_the_navigation() -> None:
    """Quicker than a build, which refuses a page that is not."""
    config = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")]
    assert [page for page in pages if not re.search(rf": {re.escape(page)}$", config, re.MULTILINE)] == []


def without_network(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A command without a way out: a proxy that nothing listens at."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    env = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env, check=False)


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return without_network(sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(out))


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
    assert f"<title>radapt {__version__}</title>" in pages["index.html"]
    assert 'id="radapt.cohorts.load_cohort"' in pages["reference.html"]


@pytest.mark.slow
def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    copy_of_the_pages(tmp_path)
    page = tmp_path / "docs" / "glossary.md"
    page.write_text(page.read_text() + "\n[gone](gone.md) and [moved](contract.md#moved)\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "gone.md" in done.stderr
    assert "contract.md#moved" in done.stderr


@pytest.mark.slow
def test_a_release_leaves_the_site_of_the_version_before(tmp_path: Path) -> None:
    pytest.importorskip("mike", reason="mike is not installed")
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    site.mkdir()
    copy_of_the_pages(source)
    without_network("git", "init", "--quiet", folder=source)
    for name, value in (("user.name", "a"), ("user.email", "a@example.org")):
        without_network("git", "config", name, value, folder=source)
    without_network("git", "commit", "--quiet", "--allow-empty", "-m", "Begin", folder=source)
    interpreter = f"BIN={Path(sys.executable).parent}"
    for version in ("7.1.0", "7.2.0"):
        (source / "src/radapt/versions.py").write_text(f'__version__ = "{version}"\n')
        # The environment is this one, so that nothing is installed.
        done = without_network("make", "docs-release", interpreter, "--old-file=.venv/.ready", folder=source)
        assert done.returncode == 0, done.stderr
    without_network("git", f"--work-tree={site}", "checkout", "gh-pages", "--", ".", folder=source)
    listed = json.loads((site / "versions.json").read_text())
    assert [(each["version"], each["aliases"]) for each in listed] == [("7.2.0", ["latest"]), ("7.1.0", [])]
    for version in ("7.1.0", "7.2.0"):
        assert f"<title>radapt {version}</title>" in (site / version / "index.html").read_text()
        assert '"provider":"mike"' in (site / version / "contract.html").read_text().replace(" ", "")
    assert "../7.2.0/contract.html" in (site / "latest" / "contract.html").read_text()
    assert "latest/" in (site / "index.html").read_text()
    assert [str(path) for path in site.rglob("*.html") if _LOADED.search(path.read_text())] == []
    assert not list(source.glob("mike-mkdocs*"))
