"""Small run folders in the format that `radapt run` writes."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from radapt.durable import write_json, write_parquet, write_text
from radapt.metrics import score, summarise
from radapt.metrics.segmentation import NUMBERS
from radapt.reports import write_report
from radapt.studies.ledger import cost_columns

VERSIONS = {"radapt": "0.1.0", "python": "3.11.9", "torch": "2.11.0", "started": "2026-01-02T03:04:05+0000"}


@dataclass
class ToyCohort:
    """Patients with one case each, and predictions of a given skill."""

    name: str = "toy"
    outputs: tuple[str, ...] = ("benign", "malignant")
    multilabel: bool = False
    tests: tuple[str, ...] = ("test",)
    patients: int = 40  # per split
    modalities: tuple[str, ...] = ("t1", "flair")
    missing_every: int = 5  # every so many cases lack the last modality; 0: none
    one_class: tuple[str, ...] = ()  # splits where every case is of the first class
    source: dict[str, str] = field(default_factory=lambda: {"title": "Toy cases", "licence": "CC0-1.0"})
    case_prefix: str = "case"
    mask_labels: dict[str, str] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "val", *self.tests)

    @property
    def task(self) -> str:
        if not self.outputs:
            return "segmentation"
        return "multilabel" if self.multilabel else "binary" if len(self.outputs) == 2 else "multiclass"

    def truth(self, split: str) -> np.ndarray:
        rng = np.random.default_rng([self.splits.index(split), len(self.outputs)])
        if self.multilabel:
            truth = (rng.random((self.patients, len(self.outputs))) < 0.3).astype(float)
            truth[rng.random(truth.shape) < 0.1] = np.nan
            truth[:, -1] = 0 if split in self.one_class else truth[:, -1]
            return truth
        if not self.outputs:
            return np.full(self.patients, -1)
        if split in self.one_class:
            return np.zeros(self.patients, dtype=int)
        truth = rng.integers(0, len(self.outputs), self.patients)
        truth[: len(self.outputs)] = np.arange(len(self.outputs))
        truth[-2:] = -1  # two unlabelled cases
        return truth

    def probabilities(self, split: str, skill: float, seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, int(skill * 100), self.splits.index(split)])
        truth = self.truth(split)
        noise = rng.normal(size=(self.patients, len(self.outputs)))
        if self.multilabel:
            return 1 / (1 + np.exp(-(noise + skill * (np.nan_to_num(truth, nan=0.5) * 2 - 1))))
        logits = noise + skill * 2 * (truth[:, None] == np.arange(len(self.outputs)))
        weights = np.exp(logits)
        return weights / weights.sum(1, keepdims=True)

    def ids(self, split: str) -> list[str]:
        return [f"{self.case_prefix}-{split}-{index:03d}" for index in range(self.patients)]


class ToyRun:
    """A run folder, written file by file."""

    def __init__(self, path: Path, name: str = "toy study") -> None:
        self.path = path
        self.cells: list[str] = []
        self.scores: list[pd.DataFrame] = []
        write_text(path / "study.yaml", yaml.safe_dump({"name": name, "seeds": [0]}))
        write_json(path / "environment.json", VERSIONS)

    def cohort(self, toy: ToyCohort) -> "ToyRun":
        place = self.path / "cohorts" / toy.name.replace("<", "-").replace(">", "-").replace("/", "-")
        tables = []
        for split in toy.splits:
            has = np.ones((toy.patients, len(toy.modalities)), dtype=bool)
            if toy.missing_every:
                has[:: toy.missing_every, -1] = False
            table = pd.DataFrame({"case": toy.ids(split), "patient": toy.ids(split), "site": "A", "split": split})
            for index, modality in enumerate(toy.modalities):
                table[f"has:{modality}"] = has[:, index]
            tables.append(table)
        cases = pd.concat(tables, ignore_index=True)
        facts = {
            "name": toy.name,
            "kind": "mri",
            "task": toy.task,
            "outputs": toy.outputs,
            "mask_labels": toy.mask_labels,
            "ordered": False,
            "modalities": toy.modalities,
            "n_cases": len(cases),
            "n_patients": len(cases),
            "digest": "c0ffee" * 5,
            "split_seed": 0,
            "source": toy.source,
            "recipe": "MRI: percentiles 1 to 99 inside the foreground, 224 px.",
            "splits": {split: self._split_facts(toy, split, cases) for split in toy.splits},
            "sites": {"A": len(cases)},
            "slices_per_image": {"min": 20, "median": 24, "max": 30},
        }
        write_json(place / "cohort.json", facts)
        write_parquet(place / "cases.parquet", cases)
        return self

    @staticmethod
    def _split_facts(toy: ToyCohort, split: str, cases: pd.DataFrame) -> dict[str, Any]:
        truth, own = toy.truth(split), cases[cases["split"] == split]
        hits = (
            truth
            if toy.multilabel
            else np.where(truth[:, None] < 0, np.nan, truth[:, None] == np.arange(len(toy.outputs)))
        )
        return {
            "cases": len(own),
            "patients": len(own),
            "labelled": int((~np.isnan(hits)).any(axis=1).sum()),
            "outputs": {
                name: {
                    "positive": int((hits[:, i] == 1).sum()),
                    "negative": int((hits[:, i] == 0).sum()),
                    "unknown": int(np.isnan(hits[:, i]).sum()),
                }
                for i, name in enumerate(toy.outputs)
            },
            "masked": len(own) if toy.mask_labels else 0,
            "missing": {modality: int((~own[f"has:{modality}"]).sum()) for modality in toy.modalities},
        }

    def backbone(self, name: str, kind: str = "file", **more: Any) -> "ToyRun":
        card = {"name": name, "family": "ViT", "source": "toy", "licence": "Apache-2.0", "pretraining": ["LVD-142M"]}
        identity = "random:0" if kind == "random" else "0123456789abcdef" * 2
        facts = {**card, "parameters": 22_056_576, "width": 384, "source_kind": kind, "identity": identity, **more}
        write_json(self.path / "backbones" / f"{len(list(self.path.glob('backbones/*')))}.json", facts)
        return self

    def cell(
        self, toy: ToyCohort, backbone: str, label: str = "linear", *, seed: int = 0, skill: float = 1.0,
        state: str = "done", reason: str = "", **facts: Any,
    ) -> str:  # fmt: skip
        """Write one cell and return its id."""
        id_ = f"{len(self.cells):016x}"
        self.cells.append(id_)
        folder = self.path / "cells" / id_
        cell = {
            **{"id": id_, "cohort": toy.name, "backbone": backbone, "protocol": label, "options": {}, "label": label},
            **{"shots": None, "repeat": None, "seed": seed, "image": {"size": 224}, "pooling": {"slices": "mean"}},
            **{"resamples": 100, "cohort_digest": "c0ffee" * 5, "weights": "random:0", "recipe": "beef" * 8},
            **{"fit": {"candidates": [{"options": {"k": 20}, "val": {"auroc": 0.8125}}], "chosen": 0}},
            **facts,
        }
        write_json(folder / "cell.json", cell)
        if state == "failed":
            write_json(folder / "failed.json", {"reason": reason, "error": "DataError", "finished": "2026-01-02"})
        if state == "done":
            self._finish(folder, toy, cell, skill)
        return id_

    def segmentation(
        self, toy: ToyCohort, backbone: str, label: str = "segment", *, seed: int = 0, skill: float = 0.8,
        labels: tuple[str, ...] = ("core", "rim"), **facts: Any,
    ) -> str:  # fmt: skip
        """Write one finished segmentation cell: every seventh case is missed, every fifth lacks the last label, and
        every second of those has a false alarm."""
        id_ = self.cell(toy, backbone, label, seed=seed, state="waiting", aim="segmentation", **facts)
        folder, rng, rows = self.path / "cells" / id_, np.random.default_rng([seed, int(100 * skill)]), []
        for split in toy.splits[1:]:
            for index, case in enumerate(toy.ids(split)):
                for name in labels:
                    lacks = name == labels[-1] and index % 5 == 0
                    outcome = ("false_alarm" if index % 2 else "empty") if lacks else "both"
                    outcome = "missed" if outcome == "both" and index % 7 == 3 else outcome
                    outcome = "unlabelled" if index == toy.patients - 1 else outcome
                    rows.append(self._segmented(case, split, name, outcome, skill, rng))
        table = pd.DataFrame(rows)
        scores = [
            summarise(own, labels=labels, rng=np.random.default_rng(0), resamples=100).assign(split=split)
            for split, own in table.groupby("split", sort=False)
        ]
        self._write(folder, table.assign(cell=id_), pd.concat(scores, ignore_index=True))
        (folder / "overlays").mkdir()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "overlays" / "0.png")
        entry = {"case": toy.ids("test")[3 % toy.patients], "rank": "worst", "dice": 0.0, "plane": 4, "image": "0.png"}
        write_json(folder / "overlays" / "overlays.json", [entry, entry | {"image": "../../../lost.png"}])
        return id_

    @staticmethod
    def _segmented(
        case: str, split: str, label: str, outcome: str, skill: float, rng: np.random.Generator
    ) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(NUMBERS, float("nan"))
        if outcome in ("missed", "false_alarm"):
            row |= {"dice": 0.0, "iou": 0.0, "nsd": 0.0, "hd95_mm": 300.0, "assd_mm": 300.0}
        if outcome == "both":
            dice = float(np.clip(rng.normal(skill, 0.08), 0.01, 1))
            row |= {"dice": dice, "iou": dice / (2 - dice), "nsd": dice**0.5, "hd95_mm": 10 * (1 - dice)}
            row |= {"assd_mm": 3 * (1 - dice)}
        if outcome in ("both", "missed", "false_alarm"):
            true, drawn = (0.0 if outcome == "false_alarm" else 9.0), (0.0 if outcome == "missed" else 8.0)
            row |= {"volume_truth_ml": true, "volume_predicted_ml": drawn, "volume_error_ml": drawn - true}
            row |= {"lesions_truth": float(true > 0), "lesions_found": float(outcome == "both")}
            row |= {"lesions_predicted": float(drawn > 0), "lesions_false": float(outcome == "false_alarm")}
        return {"case": case, "patient": case, "site": "A", "split": split, "label": label, **row, "outcome": outcome}

    def _finish(self, folder: Path, toy: ToyCohort, cell: dict[str, Any], skill: float) -> None:
        predictions, scores = [], []
        for split in toy.splits[1:]:
            truth, probabilities = toy.truth(split), toy.probabilities(split, skill, cell["seed"])
            table = pd.DataFrame({"cell": cell["id"], "case": toy.ids(split), "patient": toy.ids(split), "site": "A"})
            table["split"] = split
            if toy.multilabel:
                table[[f"truth_{name}" for name in toy.outputs]] = truth
            else:
                table["truth"] = [None if index < 0 else toy.outputs[index] for index in truth]
            table[[f"p_{name}" for name in toy.outputs]] = probabilities
            predictions.append(table)
            patients = np.asarray(toy.ids(split), dtype=object)
            rng = np.random.default_rng(0)
            found = score(truth, probabilities, patients, task=toy.task, outputs=toy.outputs, rng=rng, resamples=100)
            scores.append(found.assign(split=split))
        self._write(folder, pd.concat(predictions, ignore_index=True), pd.concat(scores, ignore_index=True))

    def _write(self, folder: Path, predictions: pd.DataFrame, table: pd.DataFrame) -> None:
        cell = json.loads((folder / "cell.json").read_text("utf-8"))
        write_parquet(folder / "predictions.parquet", predictions)
        write_parquet(folder / "scores.parquet", table)
        done = {"finished": "2026-01-02T03:04:05", "seconds": 12.5, "attempts": 1}
        write_json(folder / "done.json", done | ({"cost": cell["cost"]} if "cost" in cell else {}))
        keys = {name: cell.get(name) for name in ("cohort", "backbone", "shots", "fraction", "repeat", "seed")}
        costs = cost_columns(cell["cost"]) if "cost" in cell else {}
        table = table.assign(**keys, **costs, protocol=cell["label"], cell=cell["id"], seconds=12.5)
        self.scores.append(table.astype({"shots": "Int64", "fraction": "Float64", "repeat": "Int64"}))

    def pictures(self, cohort: str, backbone: str, case: str = "case-0") -> "ToyRun":
        place = self.path / "pictures" / cohort / backbone
        place.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for name in ("0.png", "0-pca.png"):
            Image.fromarray(rng.integers(0, 255, (28, 28, 3), dtype=np.uint8)).save(place / name)
        entry = {"case": case, "modality": "t1", "slice": 12, "image": "0.png", "pca": "0-pca.png"}
        write_json(place / "pictures.json", [entry])
        return self

    @property
    def results(self) -> pd.DataFrame:
        return pd.concat(self.scores, ignore_index=True)

    def finish(self) -> Path:
        """Write the tables over all cells, as a finished run does."""
        if self.scores:
            write_parquet(self.path / "results.parquet", self.results)
        write_json(self.path / "plan.json", {"cells": self.cells})
        return self.path


@pytest.fixture
def toy_run(tmp_path: Path) -> ToyRun:
    return ToyRun(tmp_path / "run")


@pytest.fixture(scope="session")
def _finished_once(tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    run, toy = ToyRun(tmp_path_factory.mktemp("finished") / "run"), ToyCohort(tests=("test", "external"))
    run.cohort(toy).backbone("dinov2-s").backbone("resnet50")
    for backbone, skill in (("dinov2-s", 1.0), ("resnet50", 0.4)):
        for label in ("knn", "linear"):
            for seed in (0, 1):
                run.cell(toy, backbone, label, seed=seed, skill=skill)
    run.pictures(toy.name, "dinov2-s").pictures(toy.name, "resnet50")
    run.finish()
    return run


@pytest.fixture
def finished(_finished_once: ToyRun, tmp_path: Path) -> ToyRun:
    """Two backbones × two protocols × two seeds, on a test set and an external one; a fresh copy."""
    run = copy.copy(_finished_once)
    run.path = tmp_path / "run"
    shutil.copytree(_finished_once.path, run.path)
    return run


@pytest.fixture(scope="session")
def written(_finished_once: ToyRun, tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    """The same with its report, for tests that only read."""
    run = copy.copy(_finished_once)
    run.path = tmp_path_factory.mktemp("written") / "run"
    shutil.copytree(_finished_once.path, run.path)
    write_report(run.path)
    return run


@pytest.fixture
def toy_cohort() -> Callable[..., ToyCohort]:
    return ToyCohort
