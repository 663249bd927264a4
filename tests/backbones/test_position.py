import copy
import math

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from radapt.backbones.position import RECIPES, PositionCache, interpolate_positions

GRID = torch.randn(1, 36, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_the_base_grid_itself_is_untouched(recipe):
    assert interpolate_positions(GRID, (6, 6), recipe) is GRID


@pytest.mark.parametrize("size", [(3, 4), (6, 9), (12, 2)])
def test_timms_recipe_is_timms(size):
    expected = resample_abs_pos_embed(GRID, list(size), [6, 6], num_prefix_tokens=0)
    torch.testing.assert_close(interpolate_positions(GRID, size, RECIPES["timm"]), expected)


def test_the_offset_makes_every_size_come_out_whole():
    grid = torch.randn(1, 37 * 37, 2)
    for side in range(1, 80):
        assert interpolate_positions(grid, (side, 3), RECIPES["dinov2"]).shape == (1, side * 3, 2)


def test_rows_stay_rows():
    """A grid whose value is its row number, twice as high: values still grow downwards and not to the right."""
    rows = torch.arange(6.0).repeat_interleave(6).view(1, 36, 1)
    moved = interpolate_positions(rows, (12, 6), RECIPES["bicubic"]).view(12, 6)
    assert (moved[1:] > moved[:-1]).all()
    torch.testing.assert_close(moved, moved[:, :1].expand(-1, 6))


def test_what_is_kept_follows_the_weights_and_the_training():
    parameter = torch.nn.Parameter(GRID.clone())
    positions = PositionCache(RECIPES["dinov2"], keep=2)
    assert positions(parameter, (3, 3), parameter).requires_grad
    with torch.no_grad():
        first = positions(parameter, (3, 3), parameter)
        assert positions(parameter, (3, 3), parameter) is first
        parameter.mul_(2)
        torch.testing.assert_close(positions(parameter, (3, 3), parameter), 2 * first)
        for side in (4, 5, 7):
            positions(parameter, (side, side), parameter)
        assert len(positions._cached) == 2
    assert math.isclose(
        float(first.sum()), float(positions(parameter, (3, 3), parameter).detach().sum()) / 2, rel_tol=1e-4
    )


def test_a_copy_of_the_cache_starts_empty():
    """Memory addresses key the entries; another embedding of the copy may come to stand at one of them."""
    parameter = torch.nn.Parameter(GRID.clone(), requires_grad=False)
    positions = PositionCache(RECIPES["dinov2"])
    positions(parameter, (3, 3), parameter)
    copied = copy.deepcopy(positions)
    assert not copied._cached
    torch.testing.assert_close(copied(2 * GRID, (3, 3), 2 * GRID), 2 * positions(parameter, (3, 3), parameter))
