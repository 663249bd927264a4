"""What is hidden from the student: exact counts, blocks, at least one modality left, and the same whoever is beside."""

import numpy as np
import pytest

from radapt.errors import UsageError
from radapt.mmdino.masking import (
    LEVELS,
    Masking,
    _filled,
    _rectangles,
    block_masks,
    hidden_modalities,
    kept_modalities,
)

RNG = np.random.default_rng(0)
SEEDS = RNG.integers(0, 2**63, 4000).astype(np.uint64)
PRESENT = RNG.random((4000, 4)) < 0.6
PRESENT[~PRESENT.any(1), 2] = True


@pytest.mark.parametrize("grid", [(7, 7), (4, 9), (1, 5), (16, 16), (1, 1)])
def test_exactly_as_many_patches_as_asked_for(grid: tuple[int, int]) -> None:
    counts = np.arange(500) % (grid[0] * grid[1] + 1)
    hidden = block_masks(SEEDS[:500], grid, counts)
    assert hidden.shape == (500, *grid)
    np.testing.assert_array_equal(hidden.sum((1, 2)), counts)


def test_hidden_patches_lie_together() -> None:
    """Far more of them have a hidden neighbour to their right than if they had been drawn one by one."""
    hidden = block_masks(SEEDS[:500], (16, 16), np.full(500, 64))
    beside = (hidden[:, :, 1:] & hidden[:, :, :-1]).sum() / hidden[:, :, :-1].sum()
    assert beside > 2 * 64 / 256


def test_rectangles_have_the_area_and_the_aspects_of_ibot() -> None:
    drawn = _rectangles(SEEDS, 0, (16, 16), np.full(len(SEEDS), 20))
    rows, columns = drawn.any(2).sum(1), drawn.any(1).sum(1)
    np.testing.assert_array_equal(drawn.sum((1, 2)), rows * columns)  # no holes, one piece
    assert (np.abs(np.diff(drawn.any(2).astype(int), axis=1)).sum(1) <= 2).all()
    exact = (rows - 0.5) * (columns - 0.5), (rows + 0.5) * (columns + 0.5)  # before sides were rounded
    assert (exact[0] <= 20).all()
    assert (exact[1] >= 4).all()
    np.testing.assert_allclose((rows * columns).mean(), 12, atol=0.5)
    assert ((rows + 0.5) / np.maximum(columns - 0.5, 0.5) >= 0.3).all()
    assert np.mean(rows > columns) == pytest.approx(np.mean(rows < columns), abs=0.03)
    assert np.mean(rows >= 2 * columns) > 0.1


def test_a_rectangle_that_exceeds_the_grid_in_one_direction_is_left_out() -> None:
    drawn = _rectangles(SEEDS, 0, (2, 12), np.full(len(SEEDS), 24))
    rows, columns = drawn.any(2).sum(1), drawn.any(1).sum(1)
    empty = ~drawn.any((1, 2))
    assert 0.3 < empty.mean() < 0.95
    assert (columns[rows == 2] <= np.sqrt(24 / 0.3) + 0.5).all()
    assert (2.5 / (columns[rows == 2] - 0.5) >= 0.3).all()
    flipped = _rectangles(SEEDS, 0, (12, 2), np.full(len(SEEDS), 24))
    assert (~flipped.any((1, 2))).mean() == pytest.approx(empty.mean(), abs=0.03)


def test_a_mask_is_filled_between_its_patches_first() -> None:
    own = SEEDS[:50]
    beside, above, apart = np.zeros((3, 50, 3, 3), bool)
    beside[:, 0, [0, 2]] = above[:, [0, 2], 0] = True
    apart[:, 1, 1] = True
    three, two = np.full(50, 3), np.full(50, 2)
    assert _filled(beside, three, own)[:, 0].all()
    assert _filled(above, three, own)[:, :, 0].all()
    filled = _filled(apart, two, own)
    assert filled[:, 1, 1].all()
    np.testing.assert_array_equal(filled.any(0), [[0, 1, 0], [1, 1, 1], [0, 1, 0]])  # one of four, any of them


def test_blocks_may_lie_anywhere() -> None:
    share = block_masks(SEEDS, (7, 7), np.full(len(SEEDS), 15)).mean(0)
    assert share.min() > 0.08  # corners are hidden less often than the middle, as with any rectangles inside
    np.testing.assert_allclose(share, share[::-1], atol=0.05)
    np.testing.assert_allclose(share, share.T, atol=0.05)


@pytest.mark.parametrize("counts", [[-1, 2], [3, 50]])
def test_counts_that_do_not_fit_are_refused(counts: list[int]) -> None:
    with pytest.raises(UsageError, match="7 × 7"):
        block_masks(SEEDS[:2], (7, 7), np.asarray(counts))


def test_every_number_of_hidden_modalities_is_equally_likely() -> None:
    hidden = hidden_modalities(SEEDS, np.ones((len(SEEDS), 4), bool), "drawn")
    share = np.bincount(hidden.sum(1), minlength=5) / len(SEEDS)
    np.testing.assert_allclose(share, [0.25, 0.25, 0.25, 0.25, 0], atol=0.03)
    np.testing.assert_allclose(hidden.mean(0), 1.5 / 4, atol=0.03)  # and so is every modality


@pytest.mark.parametrize("how", ["drawn", "one", "none"])
def test_only_present_modalities_are_hidden_and_one_stays(how: str) -> None:
    hidden = hidden_modalities(SEEDS, PRESENT, how)  # type: ignore[arg-type]
    assert not (hidden & ~PRESENT).any()
    assert (PRESENT & ~hidden).any(1).all()
    if how != "drawn":
        expected = (PRESENT.sum(1) >= 2) if how == "one" else 0
        np.testing.assert_array_equal(hidden.sum(1), expected)


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_modalities_are_dropped_by_chance_and_one_stays(chance: float) -> None:
    kept = kept_modalities(SEEDS, PRESENT, chance)
    assert not (kept & ~PRESENT).any()
    assert kept.any(1).all()
    if chance == 1.0:
        np.testing.assert_array_equal(kept.sum(1), 1)
    if chance == 0.0:
        np.testing.assert_array_equal(kept, PRESENT)
    several = PRESENT.sum(1) == 4
    expected = (1 - chance) + chance**4 / 4  # the one that is saved where all four would go
    assert kept[several].mean() == pytest.approx(expected, abs=0.03)


def test_blocks_are_the_same_in_all_modalities_and_absent_ones_hide_nothing() -> None:
    hidden = Masking(blocks=1.0, modalities="none").draw(SEEDS, PRESENT, (7, 7))
    every = hidden.any(1)
    np.testing.assert_array_equal(hidden, every[:, None] & PRESENT[:, :, None, None])
    counts = np.bincount(every.sum((1, 2)))
    assert np.flatnonzero(counts).tolist() == [7, 12, 17, 22]  # 15, 25, 35 and 45 % of 49
    assert LEVELS == 4
    np.testing.assert_allclose(counts[counts > 0] / len(SEEDS), 1 / 4, atol=0.03)


def test_a_share_of_crops_has_blocks_and_something_stays_visible() -> None:
    masking = Masking()
    blocks = Masking(modalities="none").draw(SEEDS, PRESENT, (7, 7))
    assert blocks.any((1, 2, 3)).mean() == pytest.approx(0.5, abs=0.03)
    hidden = masking.draw(SEEDS, PRESENT, (7, 7))
    whole = hidden_modalities(SEEDS, PRESENT)
    np.testing.assert_array_equal(hidden, blocks | (whole[:, :, None, None] & np.ones((7, 7), bool)))
    assert (PRESENT[:, :, None, None] & ~hidden).any((1, 2, 3)).all()


def test_a_share_of_crops_has_modalities_hidden_apart_from_blocks() -> None:
    grid = (7, 7)
    every, some = (Masking(blocks=0.0, modalities="one", whole=share).draw(SEEDS, PRESENT, grid) for share in (1, 0.5))
    several = PRESENT.sum(1) > 1
    assert every[several].any((1, 2, 3)).all()
    chosen = some[several].any((1, 2, 3))
    assert chosen.mean() == pytest.approx(0.5, abs=0.04)
    np.testing.assert_array_equal(some[several][chosen], every[several][chosen])
    blocks = Masking(modalities="none").draw(SEEDS, PRESENT, grid)[several].any((1, 2, 3))
    assert np.corrcoef(blocks, chosen)[0, 1] == pytest.approx(0, abs=0.08)


def test_what_a_crop_hides_depends_on_its_seed_alone() -> None:
    masking = Masking()
    every = masking.draw(SEEDS[:60], PRESENT[:60], (7, 7))
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_array_equal(masking.draw(SEEDS[order], PRESENT[order], (7, 7)), every[order])
    np.testing.assert_array_equal(masking.draw(SEEDS[7:8], PRESENT[7:8], (7, 7)), every[7:8])
    kept = kept_modalities(SEEDS[:60], PRESENT[:60], 0.5)
    np.testing.assert_array_equal(kept_modalities(SEEDS[order], PRESENT[order], 0.5), kept[order])


@pytest.mark.parametrize(
    "options",
    [
        {"blocks": 1.5},
        {"ratio": (0.5, 0.1)},
        {"ratio": (0.1, 1.0)},
        {"ratio": (-0.1, 0.5)},
        {"modalities": "drwan"},
        {"whole": 2},
    ],
)
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(UsageError, match=r"expected|drawn"):
        Masking(**options)


def test_an_unknown_way_to_hide_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="drawn"):
        hidden_modalities(SEEDS, PRESENT, "drwan")  # type: ignore[arg-type]
