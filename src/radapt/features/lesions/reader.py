"""Reading the lesion of each case: crops of the planes that show it."""

from collections.abc import Collection, Sequence

import numpy as np

from radapt.cases.reader import CaseReader
from radapt.cohorts.cohort import Cohort
from radapt.features.lesions.places import LesionPlaces
from radapt.images import Recipe, SliceCache
from radapt.images.cropping import cropped


class LesionReader(CaseReader):
    """The images of a cohort, cropped to the lesion where `places` say it is: n differs between cases, and is the same
    for all modalities of one.

    Planes lie on the reference grid that the places were found on, that of the first modality of the cohort, whichever
    `modalities` are read.
    """

    def __init__(
        self, cohort: Cohort, cache: SliceCache, recipe: Recipe, modalities: Sequence[str], places: LesionPlaces
    ) -> None:
        super().__init__(cohort, cache, recipe, modalities, grid="own")
        self.places = places
        self._whole = CaseReader(cohort, cache, recipe.whole, cohort.modalities, grid="reference")

    def image(self, row: int, column: int, among: Collection[str] | None = None) -> np.ndarray:
        """uint8 (n, c, H, W): the crops of one image; `among` changes nothing."""
        place, same = self.places.of[row], self._whole.modalities.index(self.modalities[column])
        return cropped(np.asarray(self._whole.image(row, same)[place.planes]), place.boxes)
