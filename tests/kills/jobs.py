"""Commands that are killed, and what must be the same at their end as without a kill."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from toy_adaptation import QUICK
from toy_kill import numbers
from toy_study import write_cohort, write_study

STUDY = {
    "backbones": [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}],
    "protocols": ["linear", {"lora": {"epochs": 2, "lr": [1e-3], "rank": 2, "slices_per_case": 2}}],
    "seeds": [0],
    "resamples": 100,
}


@dataclass(frozen=True)
class Job:
    """`words` is the command for a folder, `ended` the digests of what it leaves there."""

    name: str
    words: Callable[[Path], list[str]]
    ended: Callable[[Path], Mapping[str, str]]


def jobs(root: Path) -> list[Job]:
    """A run with training, an extraction and an adaptation, on a tiny cohort under `root`."""
    cohort = write_cohort(root / "discs", patients=18)
    study = write_study(root, [cohort], **STUDY)
    vit = ["--backbone", "timm:test_vit", "--weights", "random", "--size", "32", "--offline"]
    options = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]

    def run(folder: Path) -> list[str]:
        return ["run", str(study), "--out", str(folder / "out"), "--cache", str(folder / "cache"), "--offline"]

    def embed(folder: Path) -> list[str]:
        return ["embed", str(cohort), *vit, "--out", str(folder / "out"), "--cache", str(folder / "cache")]

    def adapt(folder: Path) -> list[str]:
        more = ["--device", "cpu", "--precision", "float32", "--resamples", "100"]
        return [
            "adapt",
            str(cohort),
            *vit,
            *options,
            *more,
            "--out",
            str(folder / "out"),
            "--cache",
            str(folder / "cache"),
        ]

    return [Job("run", run, _of_run), Job("embed", embed, _of_features), Job("adapt", adapt, _of_weights)]


def _of_run(folder: Path) -> dict[str, str]:
    """The results without their times, the predictions of every cell, and its weights."""
    found = {"results": _digest(numbers(folder / "out").to_json(orient="split", double_precision=15).encode())}
    for path in sorted((folder / "out" / "cells").rglob("*")):
        if path.name == "predictions.parquet":
            table = pd.read_parquet(path)
            found[_named(path, folder)] = _digest(table.to_json(orient="split", double_precision=15).encode())
        elif path.suffix == ".safetensors":
            found[_named(path, folder)] = _digest(path.read_bytes())
    return found


def _of_features(folder: Path) -> dict[str, str]:
    return {name: _digest((folder / "out" / name).read_bytes()) for name in ("features.npy", "cases.parquet")}


def _of_weights(folder: Path) -> dict[str, str]:
    paths = sorted((folder / "out").rglob("*.safetensors"))
    return {_named(path, folder): _digest(path.read_bytes()) for path in paths}


def _named(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()
