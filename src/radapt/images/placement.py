"""Where the planes that a recipe makes lie in the patient, for masks on the way in and label maps on the way back."""

from dataclasses import dataclass

import numpy as np

from radapt.images.volume import Volume


@dataclass(frozen=True, eq=False)
class Placement:
    """Made by `Recipe.place(volume)`: every plane's place in the volume, whose voxels it does not keep.

    N planes on a canvas of H × W pixels.
    """

    grid: Volume

    @property
    def count(self) -> int:
        """N."""
        raise NotImplementedError

    def masks(self, mask: Volume) -> np.ndarray:
        """The planes (N, H, W) of a mask on this grid, framed as the image's, in the mask's type: nearest voxel."""
        raise NotImplementedError

    def restore(self, scores: np.ndarray) -> Volume:
        """Class indices uint8 in the stored grid of scores float (N, K, h, w) over the canvas; h × w may be lower."""
        raise NotImplementedError
