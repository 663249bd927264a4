"""The package in `examples/`, as if it were installed beside radapt."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from radapt.backbones import CATALOG
from radapt.cohorts.layouts import LAYOUTS
from radapt.metrics.registry import METRICS
from radapt.networks.decoders.registry import DECODERS
from radapt.plugins import Registry
from radapt.protocols import PROTOCOLS

EXAMPLES = Path(__file__).parents[2] / "examples"
REGISTRIES: dict[str, Registry] = {
    "radapt.backbones": CATALOG, "radapt.layouts": LAYOUTS, "radapt.protocols": PROTOCOLS, "radapt.metrics": METRICS,
    "radapt.decoders": DECODERS,
}  # fmt: skip


@pytest.fixture(scope="session")
def entry_points() -> dict[str, dict[str, str]]:
    """The entry points that `examples/pyproject.toml` declares: group → name → value."""
    declared = tomllib.loads((EXAMPLES / "pyproject.toml").read_text(encoding="utf-8"))
    points: dict[str, dict[str, str]] = declared["project"]["entry-points"]
    return points


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, entry_points: dict[str, dict[str, str]]
) -> Iterator[dict[str, Registry]]:
    """Every registry, by its group, with the examples on the path and their metadata beside them."""
    info = tmp_path_factory.mktemp("site") / "radapt_examples-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: radapt-examples\nVersion: 1.0\n")
    sections = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in entry_points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(sections))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(info.parent)
        patch.syspath_prepend(EXAMPLES)
        _forget()
        yield REGISTRIES
    _forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "radapt_examples"]:
        del sys.modules[name]


def _forget() -> None:
    for registry in REGISTRIES.values():
        registry.forget()
