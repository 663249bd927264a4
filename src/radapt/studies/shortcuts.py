"""Shortcuts of each encoder on each cohort: columns of the table that its features tell and the label follows."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radapt.cohorts.groupings import Grouping
from radapt.digests import digest
from radapt.durable import write_parquet
from radapt.studies.cells import Cell
from radapt.studies.groups import study_groupings
from radapt.studies.ledger import Ledger, slug
from radapt.studies.study import Study

if TYPE_CHECKING:
    from radapt.features import Features, LesionFeatures
    from radapt.probes.shortcuts import Shortcut

FOLDER, ANSWERS = "shortcuts", "answers"
"""Of a cohort's folder, and of the answers of the probes in it."""


def search_shortcuts(ledger: Ledger, study: Study, cell: Cell, features: "Features | LesionFeatures") -> None:
    """Write the shortcuts in the features of a cell's encoder; a failure is logged, and fails no cell.

    Crops of lesions differ between folds and are not searched.
    """
    from radapt.features import Features

    try:
        if isinstance(features, Features):
            _write(ledger, study, cell, features)
    except Exception as error:  # a missing table is no reason to lose the numbers of the study
        ledger.log(cell.id, f"no search for shortcuts: {error}")


def _write(ledger: Ledger, study: Study, cell: Cell, features: "Features") -> None:
    """Write `cohorts/<name>/shortcuts/<backbone>.parquet`, and to its folder `answers` what the probes said of each
    case, unless they are there with the same inputs.

    Columns: backbone, made_from, those of `radapt.probes.shortcuts.Shortcut`, and `is_shortcut`. Nothing is written
    where the study has no groups, or no two classes are labelled. Labels of test sets are not read.
    """
    import pandas as pd

    from radapt.probes.shortcuts import SEED, shortcuts_of

    cohort, backbone = features.cohort, str(cell.facts["backbone"])
    groups = study_groupings(study, cohort)
    if not groups or cohort.task in ("unlabelled", "segmentation"):
        return
    name = cell.prepared.image.name
    file = ledger.cohort(cohort.name) / FOLDER / f"{slug(f'{backbone} @ {name}' if name else backbone)}.parquet"
    made_from = _inputs(features, groups, study.resamples)
    answers = file.parent / ANSWERS / file.name
    if answers.is_file() and _is_of(file, made_from):
        return
    found = shortcuts_of(features, groups, rng=np.random.default_rng(SEED), resamples=study.resamples)
    facts = {"backbone": backbone, "made_from": made_from}
    if found.shortcuts:
        write_parquet(answers, found.answers)
        write_parquet(file, pd.DataFrame(facts | shortcut_row(one) for one in found.shortcuts))


def shortcut_row(found: "Shortcut") -> dict[str, Any]:
    """The columns of a shortcut in its file."""
    return {**asdict(found), "is_shortcut": found.is_shortcut}


def _inputs(features: "Features", groups: tuple[Grouping, ...], resamples: int) -> str:
    cohort = features.cohort
    return digest(
        [
            features.digest,
            {one.column: [one.groups.tolist(), list(one.names)] for one in groups},
            [str(label) for label in cohort.labels.tolist()],
            list(map(str, cohort.splits)),
            list(map(str, cohort.patients)),
            resamples,
        ]
    )


def _is_of(file: Path, made_from: str) -> bool:
    import pandas as pd

    try:
        return set(pd.read_parquet(file, columns=["made_from", "is_shortcut"])["made_from"]) == {made_from}
    except (OSError, ValueError):
        return False
