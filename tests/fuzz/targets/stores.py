"""Caches and run folders: damage costs time, and never becomes a number."""

import atexit
import contextlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fuzz.target import Target, memory_folder
from radapt import sealed
from radapt.images import Recipe, SliceCache
from radapt.locations import Location
from toy_study import write_cohort

RECIPE = Recipe.for_kind("other", size=16)


@cache
def _root(process: int) -> Path:
    folder = memory_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _slices() -> tuple[Path, Location]:
    folder = _root(os.getpid()) / "slices"
    if not folder.exists():
        folder.mkdir(parents=True)
        np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 255, (3, 20, 20), dtype=np.uint8))
        SliceCache(folder / "cache").planes(Location(folder / "x.npy"), RECIPE)
    return folder, Location(folder / "x.npy")


def _entry() -> Path:
    return next((_slices()[0] / "cache" / "slices").rglob("*.npy"))


def sliced(content: bytes, folder: Path) -> Any:
    _fresh(_entry(), content)
    root, location = _slices()
    return np.array(SliceCache(root / "cache").planes(location, RECIPE))


@cache
def _features() -> tuple[Any, Any, Path, dict[Path, bytes]]:
    import radapt

    folder = _root(os.getpid()) / "features"
    cohort = radapt.load_cohort(write_cohort(folder / "c", patients=2))
    backbone = radapt.load_backbone("timm:test_vit", weights="random")
    np.array(radapt.extract(cohort, backbone, size=32, cache=folder / "cache").pooled())
    files = {path: path.read_bytes() for path in (folder / "cache").rglob("*") if path.is_file()}
    return cohort, backbone, folder / "cache", files


def features(pattern: str) -> Callable[[bytes, Path], Any]:
    def read(content: bytes, folder: Path) -> Any:
        import radapt

        cohort, backbone, cache_folder, files = _features()
        for path in [path for path in cache_folder.rglob("*") if path.is_file() and path not in files]:
            path.unlink()
        for path, whole in files.items():
            if not path.name.startswith("digests.sqlite") and (not path.exists() or path.read_bytes() != whole):
                _fresh(path, whole)
        _fresh(_one(files, pattern), content)
        if "pooled" not in pattern:
            for pooled in cache_folder.glob("features/*/pooled"):
                shutil.rmtree(pooled)
        return np.array(radapt.extract(cohort, backbone, size=32, cache=cache_folder).pooled())

    return read


def _one(files: dict[Path, bytes], pattern: str) -> Path:
    return next(path for path in sorted(files) if path.match(pattern))


def _fresh(path: Path, content: bytes) -> None:
    """Write `content`, and forget that this process verified the file: a clock may not tick between two inputs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sealed._verified.clear()


@cache
def _run() -> tuple[Path, list[dict[str, Any]], pd.DataFrame]:
    """A finished run of one cell: its folder, its plan and its results."""
    from radapt.durable import write_json
    from radapt.studies.ledger import Ledger

    ledger, rng = Ledger(_root(os.getpid()) / "run"), np.random.default_rng(0)
    plan: list[dict[str, Any]] = [{"id": f"{1:016x}", "cohort": "toy", "backbone": "b", "label": "linear", "seed": 0}]
    ledger.write_plan("name: s\n", plan)
    write_json(ledger.folder / "environment.json", {"radapt": "0", "python": "3"})
    for cell in plan:
        cases = [f"c{row}" for row in range(6)]
        table = {
            "cell": cell["id"],
            "case": cases,
            "patient": cases,
            "site": "a",
            "split": "test",
            "truth": ["x", "y"] * 3,
            "p_x": rng.random(6),
        }
        scores = {"split": "test", "metric": ["auroc", "mcc"], "value": rng.random(2), "ci_low": 0.1, "ci_high": 0.9}
        counts = dict.fromkeys(("n_patients", "n_scored", "n_unscored", "n_undefined"), 6)
        ledger.finish(
            cell["id"], {**cell, "shots": None, "repeat": None}, pd.DataFrame(table), pd.DataFrame(scores | counts), 1.5
        )
    return ledger.folder, plan, ledger.results(plan)


def run_file(pattern: str) -> tuple[Callable[[], list[bytes]], Callable[[bytes, Path], Any]]:
    @cache
    def path() -> Path:
        return sorted(_run()[0].glob(pattern))[0]

    def read(content: bytes, folder: Path) -> Any:
        from radapt.errors import RadaptError
        from radapt.reports.run_folder import read_run
        from radapt.studies.ledger import Ledger

        root, plan, expected = _run()
        before = path().read_bytes()
        path().write_bytes(content)
        try:
            with contextlib.suppress(RadaptError):
                for cell in read_run(root).cells:
                    assert cell.predictions is None or len(cell.predictions)
            if not pattern.startswith("cells"):
                return "results do not come from this file"
            found = Ledger(root).results(plan).reset_index(drop=True)
            whole = found.equals(expected) or found.empty
            return "as written, or the cell is run again" if whole else ("other", found)
        finally:
            path().write_bytes(before)

    return lambda: [path().read_bytes()], read


RUN_FILES = ("done.json", "cell.json", "scores.parquet", "predictions.parquet")
"""Files of a finished cell, all with a digest."""


def _run_targets() -> list[Target]:
    made = []
    for pattern in (*(f"cells/*/{name}" for name in RUN_FILES), "plan.json", "environment.json"):
        seeds, read = run_file(pattern)
        name, text = f"run {pattern.split('/')[-1]}", pattern.endswith("json")
        made.append(Target(name, seeds, read, checked=pattern.startswith("cells"), text=text, slow=True))
    return made


FEATURE_FILES = {
    "slices": "slices/*/*.npy",
    "pooled": "pooled/*.npy",
    "rows": "*.f32",
    "index": "*.jsonl",
    "config": "config.json",
}


def _cache_seeds(pattern: str) -> Callable[[], list[bytes]]:
    return lambda: [_features()[3][_one(_features()[3], pattern)]]


TARGETS = [
    Target("slice cache", lambda: [_entry().read_bytes()], sliced, checked=True),
    *(
        Target(
            f"features {name}",
            _cache_seeds(pattern),
            features(pattern),
            checked=True,
            slow=True,
            text=name in ("index", "config"),
        )
        for name, pattern in FEATURE_FILES.items()
    ),
    *_run_targets(),
]
