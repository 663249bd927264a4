"""What the exported model learned from, out of the run folder; and the features of its training cases, if their images
are still where the study found them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.cohorts import Cohort, cohort_digest, read_cohort
from radapt.cohorts.cohort import CHOOSING_SPLITS
from radapt.cohorts.folds import OUT_OF_FOLD
from radapt.deploy.assessment import CalibrationCases, TrainingVectors
from radapt.deploy.deployment import EvaluationScore, TrainingFacts
from radapt.deploy.export.candidates import RunCell, cohort_facts
from radapt.deploy.masks.mask_certainty import MaskCases
from radapt.digests import ByteDigests
from radapt.errors import RadaptError
from radapt.features.case_vectors import CaseVectors
from radapt.metrics.registry import METRICS
from radapt.metrics.segmentation_summary import UNLABELLED
from radapt.parsing.yaml import load_yaml
from radapt.segmentation.scoring import SOFT_DICE
from radapt.studies.ledger import slug

VAL, FOLD_SOURCE = "val", "out of fold"
_OF_MASKS = ("dice", "iou", "nsd", "hd95_mm", "assd_mm")


@dataclass(frozen=True, eq=False)
class RunCohort:
    """A cohort as the run folder describes it: its `cases` (see `case_table`) and `facts`."""

    name: str
    cases: pd.DataFrame
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, run: Path, name: str) -> "RunCohort":
        return cls(name, pd.read_parquet(run / "cohorts" / slug(name) / "cases.parquet"), cohort_facts(run, name))

    @property
    def learned(self) -> np.ndarray:
        """(n,) bool: the cases that were trained or chosen on; with folds, by any of the models."""
        return self.cases["split"].isin((*CHOOSING_SPLITS, OUT_OF_FOLD)).to_numpy() & self._labelled

    @property
    def _labelled(self) -> np.ndarray:
        names = [name for name in map(str, self.cases) if name == "label" or name.startswith("label:")]
        if not names:
            return np.ones(len(self.cases), dtype=bool)
        return np.asarray(self.cases[names].notna().any(axis=1))

    @property
    def source(self) -> Mapping[str, Any]:
        return dict(self.facts.get("source") or {})

    def training(self) -> TrainingFacts:
        rows = self.cases[self.learned]
        sites = defaultdict[str, set[str]](set)
        for site, patient in zip(rows["site"], rows["patient"], strict=True):
            if isinstance(site, str) and site:
                sites[site].add(str(patient))
        title, licence, url = (str(self.source.get(name) or "") for name in ("title", "licence", "url"))
        counts = {site: len(patients) for site, patients in sorted(sites.items())}
        unit = str(self.facts.get("unit") or "patient")
        return TrainingFacts(self.name, int(rows["patient"].nunique()), len(rows), counts, title, licence, url, unit)

    def of_training(self, vectors: CaseVectors) -> TrainingVectors:
        """The features with the patient and the site of each case; sites only where all are known."""
        rows = self.cases.set_index("case").loc[list(vectors.cases)]
        known = rows["site"].notna().all() and (rows["site"] != "").all()
        sites = rows["site"].to_numpy(dtype=object) if known else None
        return TrainingVectors(vectors, rows["patient"].to_numpy(dtype=object), sites)

    def sequences(self, modalities: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """{case: those of the modalities that it has}"""
        known = [name for name in modalities if f"has:{name}" in self.cases]
        has = self.cases[[f"has:{name}" for name in known]].to_numpy(dtype=bool)
        return {
            str(case): tuple(name for name, there in zip(known, row, strict=True) if there)
            for case, row in zip(self.cases["case"], has, strict=True)
        }


def study_cohort(run: Path, cell: RunCell, cache: Path) -> tuple[Cohort | None, str]:
    """The cohort of a cell with its images; None, and why, if it is gone or was changed since the study."""
    try:
        study = load_yaml((run / "study.yaml").read_text(encoding="utf-8"))
        paths = [Path(each) for each in study["cohorts"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"the study file of the run cannot be read ({error})"
    for path in paths:
        try:
            cohort, _ = read_cohort(path)
            if cohort is None or cohort.name != cell.cohort:
                continue
            digests = ByteDigests(cache)
            if cell.facts["cohort_digest"] in (cohort_digest(cohort, digests, masks=masks) for masks in (False, True)):
                return cohort, ""
        except RadaptError:
            continue
        return None, "its images, labels or splits are not those of the study any more"
    return None, "its cohort file is not where the study found it"


def words_of_labels(cohort: Cohort, rows: np.ndarray) -> tuple[str, ...]:
    """The label of each case in words; findings that are present are joined with `;`."""
    if cohort.findings:
        marked = cohort.labels[rows] == 1
        return tuple(";".join(np.asarray(cohort.findings, dtype=object)[row]) for row in marked)
    return tuple("" if (label := cohort.cases[int(row)].label) is None else cohort.classes[label] for row in rows)


def calibration_cases(
    cell: RunCell, cohort: RunCohort, outputs: tuple[str, ...], modalities: tuple[str, ...]
) -> CalibrationCases | None:
    """The labelled cases of the cell that its model did not learn from, out of its val or its folds; None without
    any."""
    table = pd.read_parquet(cell.folder / "predictions.parquet")
    names = [f"p_{name}" for name in outputs]
    if not outputs or not set(names) <= set(table):
        return None
    split = OUT_OF_FOLD if (table["split"] == OUT_OF_FOLD).any() else VAL
    table = table[table["split"] == split]
    if "truth" in table:
        table = table[table["truth"].isin(outputs)]
        truths = np.asarray([outputs.index(truth) for truth in table["truth"]], dtype=np.int64)
    else:
        truths = table[[f"truth_{name}" for name in outputs]].to_numpy(dtype=np.float64)
    if not len(table):
        return None
    has = cohort.sequences(modalities)
    cases = [str(case) for case in table["case"]]
    return CalibrationCases(
        outputs,
        table[names].to_numpy(dtype=np.float64),
        truths,
        table["patient"].to_numpy(dtype=object),
        tuple(has.get(case, ()) for case in cases),
        FOLD_SOURCE if split == OUT_OF_FOLD else VAL,
    )


def mask_cases(cell: RunCell) -> MaskCases | None:
    """The masks of the cell that its model did not learn from, out of its val or its folds; None without any."""
    table = pd.read_parquet(cell.folder / "predictions.parquet")
    if SOFT_DICE not in table:
        return None
    split = OUT_OF_FOLD if (table["split"] == OUT_OF_FOLD).any() else VAL
    table = table[(table["split"] == split) & (table["outcome"] != UNLABELLED)]
    if not len(table):
        return None
    structures = tuple(map(str, dict.fromkeys(table["label"])))
    cases = table.drop_duplicates("case").set_index("case")["patient"]
    columns = [table[table["label"] == name].set_index("case").loc[cases.index] for name in structures]
    soft, dice = (np.stack([each[name].to_numpy(dtype=np.float64) for each in columns], axis=1) for name in _DICES)
    present = np.stack([each["outcome"].isin(("both", "missed")).to_numpy() for each in columns], axis=1)
    source = FOLD_SOURCE if split == OUT_OF_FOLD else VAL
    return MaskCases(structures, soft, dice, present, cases.to_numpy(dtype=object), source)


_DICES = SOFT_DICE, "dice"


def evaluation_scores(cell: RunCell) -> tuple[EvaluationScore, ...]:
    """The numbers of the study about the cell's model, on val and on every test set, without those of single classes,
    folds and sites."""
    scores = pd.read_parquet(cell.folder / "scores.parquet")
    known = set(_OF_MASKS) if cell.aim == "segmentation" else set(METRICS)
    rows = scores[scores["metric"].isin(known) & ~scores["split"].str.contains(":")]
    return tuple(
        EvaluationScore(
            str(row["split"]), str(row["metric"]), _number(row["value"]), _number(row["ci_low"]),
            _number(row["ci_high"]), int(row["n_patients"]),
        )
        for _, row in rows.iterrows()
    )  # fmt: skip


def _number(value: Any) -> float | None:
    number = float(value)
    return None if np.isnan(number) else number
