"""A cohort as a table of cases, and its digest."""

from typing import Any

import pandas as pd

from radapt.cohorts.cohort import Case, Cohort
from radapt.cohorts.remote_images import locations_of
from radapt.digests import ByteDigests, digest
from radapt.remote.images import ask


def case_table(cohort: Cohort) -> pd.DataFrame:
    """One row per case: case, patient, site, split, label, `has:<modality>`; no paths and no metadata.

    A cohort with folds has `fold` after `split`.

    The label is `label` (class name, None if unlabelled) or `label:<finding>` (1, 0, NaN if unknown).
    """
    columns: dict[str, Any] = {
        "case": [case.case for case in cohort],
        "patient": cohort.patients,
        "site": [case.site for case in cohort],
        "split": cohort.splits,
    }
    if cohort.folds:
        columns["fold"] = pd.Series([case.fold for case in cohort], dtype=object)
    for column, finding in enumerate(cohort.findings):
        columns[f"label:{finding}"] = cohort.labels[:, column]
    if cohort.classes:
        columns["label"] = [None if case.label is None else cohort.classes[case.label] for case in cohort]
    for column, modality in enumerate(cohort.modalities):
        columns[f"has:{modality}"] = cohort.presence[:, column]
    return pd.DataFrame(columns)


def cohort_digest(cohort: Cohort, digests: ByteDigests, *, masks: bool = False) -> str:
    """A digest of everything about a cohort that decides results: cases, patients, splits, labels, image bytes.

    `masks` adds the bytes of the masks and the names of their labels, which decide segmentation only. Names of files
    and folders do not enter, so a moved cohort keeps its results. Raises DataError for an image or mask that does not
    exist.
    """
    ask(locations_of(cohort, masks=masks))
    facts: dict[str, Any] = {"outputs": cohort.outputs, "ordered": cohort.ordered}
    facts["cases"] = [_case_facts(case, digests) for case in cohort]
    if cohort.folds:
        facts["folds"] = [case.fold for case in cohort]
    if masks:
        facts["mask_labels"] = sorted(cohort.mask_labels.items())
        facts["masks"] = [None if case.mask is None else digests.of(case.mask) for case in cohort]
    return digest(facts)


def _case_facts(case: Case, digests: ByteDigests) -> list[Any]:
    images = {name: digests.of(location) for name, location in case.images.items()}
    return [case.case, case.patient, case.site, case.split, case.label, list(case.findings), images]
