"""From a fitted segmentation model to numbers per case and label, and their means with intervals by patient."""

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError
from radapt.protocols.choosing import masked
from radapt.protocols.images import Machine
from radapt.protocols.judge import Result
from radapt.protocols.protocol import Fitted, Segmenter


def judge_segmentation(
    cohort: Cohort,
    name: str,
    fitted: Fitted[Segmenter],
    rng: np.random.Generator,
    resamples: int,
    machine: Machine,
) -> Result:
    """Segment val and every test set of the cohort, whose masks must not be blank, and score the protocol `name`."""
    raise NotImplementedError


def check_mask_tests(cohort: Cohort) -> None:
    """Raises DataError if no test set has a case with a mask."""
    tested = ~np.isin(cohort.splits, ("train", "val"))
    if not (masked(cohort) & tested).any():
        raise DataError(
            f"Cohort {cohort.name!r} has no case with a mask in a test set, so there is nothing to judge by. Give "
            "some masked patients the split 'test', or leave the split column empty and radapt draws one."
        )
