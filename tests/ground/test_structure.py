"""Imports point one way, between rooms and between the files of a room. The picture in CONTRIBUTING.md, held against
the code."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import radapt

SOURCE = Path(radapt.__file__).parent
CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"

LEVELS = (
    ("cli",),
    ("reports", "deploy", "doctor"),
    ("studies",),
    ("probes", "classification", "segmentation", "mmdino"),
    ("protocols",),
    ("features", "models"),
    ("cases",),
    ("cohorts", "images", "backbones", "networks", "training", "metrics", "phantom"),
    ("runtimes", "trackers"),
    ("parsing", "remote"),
)
"""A room may import the rooms of the levels below its own, and none beside it."""

NARROWER = {
    "reports": {"studies", "metrics"},  # of run folders, which are files
    "doctor": {"cases", "cohorts", "images", "metrics", "studies"},  # run folders are verified
    "studies": {
        *("protocols", "features", "cases", "cohorts", "images", "backbones", "segmentation"),
        *("probes", "trackers", "runtimes"),
    },
    "features": {"cases", "cohorts", "images", "backbones", "runtimes"},
    "models": {"images", "backbones", "training", "runtimes"},  # of training the fit record
    "cases": {"cohorts", "images", "training"},
}
"""Rooms that need, and may use, less than all levels below, the last one apart."""

LARGEST_SHARE = 0.15
"""Of the lines of `src`, in one room."""

MAY_IMPORT_LATE = {
    "cli": "`radapt --help` must not wait for torch",
    "studies": "reading a study file and planning must not wait for torch",
    "doctor": "reading image files is only needed once a case is read",
    "backbones": "the catalog and `resolve` need no torch, and few encoders need transformers",
    "training/loop.py": "Lightning Fabric is needed once a training starts",
}
"""Rooms, folders and files in which a function may import from radapt, and why."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    """Every file by its dotted name; a package by that of its folder."""
    named = {".".join(path.relative_to(SOURCE.parent).with_suffix("").parts): path for path in SOURCE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


@cache
def imported(path: Path) -> set[str]:
    """The dotted names that a file imports from, when it runs or when it is type checked."""
    names = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {member if member in modules() else node.module for member in members}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name in modules()}


def room_of(name: str) -> str | None:
    """The room of a module; None for a file directly in `radapt`."""
    part = name.split(".")[1] if "." in name else ""
    return part if (SOURCE / part).is_dir() and part else None


ROOM_FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)
ROOMS = sorted({path.relative_to(SOURCE).parts[0] for path in ROOM_FILES})


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    level = next(number for number, rooms in enumerate(LEVELS) if room in rooms)
    lower = LEVELS[level + 1 :]
    below = NARROWER.get(room, {other for rooms in lower for other in rooms}) | set(*lower[-1:]) | {room}
    files = [path for path in ROOM_FILES if path.relative_to(SOURCE).parts[0] == room]
    above = {path: {other for name in imported(path) if (other := room_of(name))} - below for path in files}
    assert {str(path.relative_to(SOURCE)): rooms for path, rooms in above.items() if rooms} == {}


def test_the_picture_in_contributing_is_this_one() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    picture = text[text.index("    cli →") :].partition("\n\n")[0]
    drawn = [{room.strip() for room in level.split("|")} for level in picture.replace("\n", " ").split("→")]
    assert drawn == [set(level) for level in LEVELS]
    assert sorted(room for level in LEVELS for room in level) == ROOMS


def test_files_do_not_import_each_other_in_a_circle() -> None:
    assert cycles() == []


def cycles() -> list[list[str]]:
    """Groups of files that reach each other through imports, by Tarjan's algorithm."""
    graph = {name: imported(path) - {name} for name, path in modules().items()}
    index, low, stack, found = dict[str, int](), dict[str, int](), list[str](), list[list[str]]()

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            place = stack.index(name)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_no_room_is_a_house() -> None:
    lines = {room: _lines((SOURCE / room).rglob("*.py")) for room in ROOMS}
    whole = _lines(SOURCE.rglob("*.py"))
    assert {room: count / whole for room, count in lines.items() if count > LARGEST_SHARE * whole} == {}


def _lines(paths: Iterator[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def test_functions_import_only_where_there_is_a_reason() -> None:
    late = {path for path in ROOM_FILES if any(_imports_radapt(node) for node in _inside_functions(path))}
    allowed = {path for path in late for place in MAY_IMPORT_LATE if path.is_relative_to(SOURCE / place)}
    assert sorted(str(path.relative_to(SOURCE)) for path in late - allowed) == []
    unused = [place for place in MAY_IMPORT_LATE if not any(path.is_relative_to(SOURCE / place) for path in late)]
    assert unused == []


def _inside_functions(path: Path) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ast.walk(node)
        else:
            waiting += ast.iter_child_nodes(node)


def _imports_radapt(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "radapt"


@pytest.mark.parametrize(
    "module", [f"radapt{room}" for room in ("", ".cli", ".cohorts", ".metrics", ".reports", ".backbones")]
)
def test_importing_is_quick(module: str) -> None:
    """What `radapt --help`, `scan`, `report` and `backbones` need loads nothing that takes long."""
    heavy = "torch", "monai", "sklearn", "transformers", "nibabel", "scipy.stats", "scipy.spatial"
    listed = "; list(radapt.backbones.CATALOG)" if module == "radapt.backbones" else ""
    code = f"import sys, {module}{listed}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
