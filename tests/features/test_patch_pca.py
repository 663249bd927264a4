"""The patch picture: blocks of one colour, equal for equal tokens, harmless where nothing varies."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from radapt.errors import UsageError
from radapt.features.patch_pca import patch_pca

PATCH = 4


class ToyBackbone:
    """Tokens are a fixed linear map of each patch's mean colour: a patch picture one can predict."""

    def __init__(self, width: int = 16, seed: int = 0) -> None:
        self.map = torch.randn(3, width, generator=torch.Generator().manual_seed(seed))

    def tokens(self, images: torch.Tensor) -> SimpleNamespace:
        assert float(images.max()) <= 1.0
        means = torch.nn.functional.avg_pool2d(images, PATCH).permute(0, 2, 3, 1)  # (B, h, w, 3)
        return SimpleNamespace(patches=means @ self.map)


def planes(seed: int = 0, n: int = 2, channels: int = 3, size: tuple[int, int] = (12, 16)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, *size), dtype=np.uint8)


def picture(given: np.ndarray, backbone: ToyBackbone | None = None) -> np.ndarray:
    return patch_pca(backbone or ToyBackbone(), given, np.random.default_rng(0))


def test_each_patch_is_one_flat_block() -> None:
    found = picture(planes())
    assert found.shape == (2, 12, 16, 3)
    assert found.dtype == np.uint8
    blocks = found.reshape(2, 3, PATCH, 4, PATCH, 3)
    assert (blocks == blocks[:, :, :1, :, :1]).all()


def test_components_agree_with_scikit_learn_up_to_scaling() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    given, backbone = planes(n=3), ToyBackbone()
    tokens = backbone.tokens(torch.from_numpy(given).float() / 255).patches.reshape(-1, 16).double().numpy()
    fitted = decomposition.PCA(3, svd_solver="full").fit(tokens)
    signs = [1 if max(loadings, key=abs) > 0 else -1 for loadings in fitted.components_]  # the largest is positive
    oracle = fitted.transform(tokens) * signs
    found = picture(given)[:, ::PATCH, ::PATCH].reshape(-1, 3)
    for component in range(3):
        inside = (found[:, component] > 0) & (found[:, component] < 255)  # not clipped by the robust range
        correlation = np.corrcoef(found[inside, component], oracle[inside, component])[0, 1]
        assert correlation > 0.9999


def test_equal_tissue_has_equal_colour_on_every_slice() -> None:
    given = planes(n=2)
    given[1, :, :PATCH, :PATCH] = given[0, :, -PATCH:, -PATCH:]
    found = picture(given)
    assert (found[1, 0, 0] == found[0, -1, -1]).all()


def test_equal_input_gives_equal_picture() -> None:
    given, backbone = planes(), ToyBackbone()
    np.testing.assert_array_equal(picture(given, backbone), picture(given, backbone))


@pytest.mark.parametrize("width", [1, 2, 16, 400])
def test_any_token_width_works(width: int) -> None:
    assert picture(planes(), ToyBackbone(width)).shape == (2, 12, 16, 3)


@pytest.mark.parametrize("level", [0, 7, 255])
def test_constant_slices_are_mid_grey(level: int) -> None:
    found = picture(np.full((2, 3, 12, 16), level, dtype=np.uint8))
    assert np.unique(found).tolist() == [128]


def test_a_single_patch_is_mid_grey() -> None:
    assert np.unique(picture(planes(n=1, size=(PATCH, PATCH)))).tolist() == [128]


def test_grey_planes_and_no_planes() -> None:
    assert picture(planes(channels=1)).shape == (2, 12, 16, 3)
    assert picture(planes(n=0)).shape == (0, 12, 16, 3)


def test_many_patches_are_fitted_on_a_seeded_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("radapt.features.patch_pca")  # the package names a function like it
    monkeypatch.setattr(module, "MAX_FITTED", 20)
    first, second = picture(planes(n=4)), picture(planes(n=4))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("shape", [(3, 12, 16), (1, 2, 12, 16), (12, 16)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="expected uint8"):
        picture(np.zeros(shape, dtype=np.uint8))


def test_floats_are_refused() -> None:
    with pytest.raises(UsageError, match="float64"):
        picture(np.zeros((1, 3, 12, 16)))
