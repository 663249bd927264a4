"""The words in overlay pictures."""

import base64
import io
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from radapt.cohorts.cohort import Case
from radapt.deploy.burnt_in import burnt_in
from radapt.deploy.pictures import picture_of
from radapt.images import Recipe, read
from radapt.locations import Location


@pytest.mark.parametrize("side", [224, 512])
def test_the_words_stand_in_the_corner(side):
    picture = np.full((side, side, 3), 90, np.uint8)
    marked = burnt_in(picture)
    changed = (marked != picture).any(axis=-1)
    assert (picture == 90).all()
    assert marked.shape == picture.shape
    assert marked.dtype == np.uint8
    rows, columns = changed.nonzero()
    assert rows.min() > 0.85 * side
    assert columns.min() < 0.1 * side
    assert columns.max() > 0.3 * side  # as long as the sentence
    assert marked[changed].max() == 255
    assert marked[changed].min() == 0  # readable on white and on black


@pytest.mark.parametrize("with_mask", [True, False])
def test_only_overlays_carry_them(tmp_path: Path, with_mask: bool) -> None:
    voxels = np.zeros((64, 64, 3), np.float32)
    voxels[16:48, 16:48] = 50
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    where = Location(tmp_path / "a.nii.gz")
    image = read(where)
    mask = type(image)((image.array > 10).astype(np.uint8), image.affine) if with_mask else None
    recipe = Recipe(kind="mri", size=(64, 64), look="whole")
    shown = picture_of(Case("c", "p", "test", {"t1": where}), "t1", recipe, tmp_path / "cache", mask)
    data = base64.b64decode(shown.uri.removeprefix("data:image/png;base64,"))
    bottom = np.asarray(Image.open(io.BytesIO(data)))[-20:, :100]
    assert (bottom == 255).any() == with_mask
