"""The region that a lesion locator marks in each case, in patches: what is measured where no mask may be read."""

from dataclasses import dataclass

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.features.lesions.fit_locator import fit_locator
from radapt.features.lesions.locator import LesionLocator
from radapt.features.lesions.places import largest
from radapt.features.lesions.tokens import LesionTokens


@dataclass(frozen=True, eq=False)
class LesionRegions:
    """Of each of N cases the patches (n, h, w) bool that show its lesion, none of them where nothing was found; None
    where nothing could be predicted. By a `locator` that was fitted on the masks of `masked` training cases."""

    of: tuple[np.ndarray | None, ...]
    locator: LesionLocator
    masked: int

    def note(self) -> str:
        """A sentence for the record."""
        if not self.masked:
            return "No training case has a mask, so no lesion was located, and there is nothing to measure."
        lost = sum(region is None or not region.any() for region in self.of)
        return (
            f"Lesions were located by a segmenter trained on the masks of {self.masked} training cases, out of fold "
            f"for these cases; no other mask was read. In {lost} of {len(self.of)} cases nothing was found."
        )


def locate_regions(tokens: LesionTokens, cohort: Cohort) -> LesionRegions:
    """By the masks of the training cases of a cohort alone; these cases by what was fitted on other patients."""
    fitted = fit_locator(tokens, cohort, own_masks=False)
    scores = [fitted.scores(tokens, row) for row in range(len(cohort))]
    return LesionRegions(_regions(tokens, fitted.locator, scores), fitted.locator, fitted.masked)


def regions_by(tokens: LesionTokens, cohort: Cohort, locator: LesionLocator) -> LesionRegions:
    """By a locator that was fitted before."""
    scores = [locator.scores(tokens.tokens(row)) for row in range(len(cohort))]
    return LesionRegions(_regions(tokens, locator, scores), locator, 0)


def _regions(
    tokens: LesionTokens, locator: LesionLocator, scores: list[np.ndarray | None]
) -> tuple[np.ndarray | None, ...]:
    return tuple(
        None if own is None else largest(own.astype(np.float32), locator.threshold, tokens.axes(row))
        for row, own in enumerate(scores)
    )
