"""Imports point one way. The picture in CONTRIBUTING.md, held against the code."""

import ast
from pathlib import Path

import pytest

import radapt

SOURCE = Path(radapt.__file__).parent
GROUND = {"cohorts", "images", "backbones", "metrics", "phantom", "training", "networks"}
BELOW_PROTOCOLS = (GROUND - {"phantom"}) | {"cases", "features"}
LEARNING = BELOW_PROTOCOLS | {"protocols", "models"}
MAY_IMPORT = {
    **{room: set() for room in GROUND},
    "cases": {"cohorts", "images", "training"},
    "features": {"cases", "cohorts", "images", "backbones"},
    "models": {"images", "backbones"},
    "protocols": BELOW_PROTOCOLS | {"models"},
    "probes": LEARNING,
    "classification": LEARNING,
    "segmentation": LEARNING | {"classification"},
    "mmdino": LEARNING,
    "studies": {"protocols", "segmentation", "features", "cohorts", "images", "backbones"},
    "doctor": {"cohorts", "images"},
    "reports": {"studies", "metrics"},
}
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)


def imported_rooms(path: Path) -> set[str]:
    """The rooms a file imports when it runs or when it is type checked."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    rooms = {name.split(".")[1] for name in names if name.startswith("radapt.")}
    return {room for room in rooms if (SOURCE / room).is_dir()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_the_rooms_below_it(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0]
    if room == "cli":
        return
    assert imported_rooms(path) - {room} <= MAY_IMPORT[room]


@pytest.mark.parametrize("module", ["radapt", "radapt.cli", "radapt.cohorts", "radapt.metrics"])
def test_importing_is_quick(module: str) -> None:
    """What `radapt --help` needs loads neither torch nor plotting nor image libraries."""
    import subprocess
    import sys

    heavy = "torch", "monai", "plotly", "sklearn", "transformers", "nibabel"
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
