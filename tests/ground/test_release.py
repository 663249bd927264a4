"""What describes a release agrees with the package."""

import re
from pathlib import Path

import yaml

from radapt.versions import __version__

ROOT = Path(__file__).parents[2]


def test_the_changelog_begins_with_this_version() -> None:
    found = re.search(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1].rstrip(",") == __version__


def test_the_citation_names_this_version_and_licence() -> None:
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (facts["version"], facts["license"]) == (__version__, "Apache-2.0")


def test_a_container_is_given_all_that_its_setup_reads() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert sorted(" ".join(copied).split()) == sorted(kept)
    for name in kept:
        assert (ROOT / name).exists()
