"""Hashes survive what people do to pictures, the search finds them, the registration tells patients apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from radapt.errors import DataError
from radapt.images import Recipe, SliceCache, Volume
from radapt.images.duplicates import hashes, registration
from radapt.images.duplicates.hashes import MOST_PLANES, SIZE, plane_hashes, resized
from radapt.images.duplicates.registration import Compared, Match, compare, turned
from radapt.images.duplicates.search import similar
from radapt.locations import Location
from toy_pictures import CHANGES, crop, picture, rotate, stack

N = 44


def hashes_of(*planes: np.ndarray) -> np.ndarray:
    return np.concatenate([plane_hashes(Volume.from_planes(plane[None])) for plane in planes])


@pytest.fixture(scope="module")
def others() -> np.ndarray:
    """Hashes of pictures of N patients."""
    return hashes_of(*(picture(seed) for seed in range(N)))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_is_found_among_others_and_confirmed(change: str, others: np.ndarray) -> None:
    copies = [3, 17, 41]
    changed = [CHANGES[change](picture(seed)) for seed in copies]
    hashes = np.concatenate([others, hashes_of(*changed)])
    found = similar(hashes, np.arange(len(hashes)))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert {(seed, N + at) for at, seed in enumerate(copies)} <= pairs
    assert len(pairs) < 20
    match = compare(Compared(picture(3)), Compared(changed[0]))
    assert match.correlation > 0.85
    back = compare(Compared(changed[0]), Compared(picture(3)))
    assert back.correlation > 0.85


def test_two_patients_are_not_one_picture() -> None:
    correlations = [compare(Compared(picture(seed)), Compared(picture(seed + 100))).correlation for seed in range(12)]
    assert max(correlations) < 0.5


def test_a_match_says_what_was_done() -> None:
    plane = picture(5)
    first = Compared(plane)
    assert compare(first, Compared(crop(plane))).words() == "cropped to 95 %"
    assert compare(first, Compared(rotate(plane))).words() == "rotated by 3°"
    assert compare(first, Compared(rotate(plane[:, ::-1]))).words() == "mirrored, rotated by 3°"
    assert compare(first, Compared(plane)).words() == "re-encoded, resized or other contrast"
    # By hand: the clockwise quarter turn puts the left column on top.
    assert compare(first, Compared(np.rot90(plane, -1))).words() == "turned by 270°"
    assert compare(first, Compared(plane.T)).words() == "transposed"


@pytest.mark.parametrize(
    ("angle_deg", "scale", "moved_px"), [(8.0, 1.15, (0, 0)), (-7.0, 0.9, (6, -3)), (0, 1, (0, 15))]
)
def test_the_registration_finds_what_was_done(angle_deg: float, scale: float, moved_px: tuple[int, int]) -> None:
    plane = picture(5).astype(float)
    angle, centre = np.radians(angle_deg), (np.array(plane.shape) - 1) / 2
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    changed = affine_transform(plane, matrix, centre - matrix @ (centre + moved_px), order=1, mode="nearest")
    match = compare(Compared(plane), Compared(changed))
    assert match.correlation > 0.95
    assert match.angle_deg == pytest.approx(-angle_deg, abs=0.1)
    assert match.scale == pytest.approx(scale, rel=0.01)
    assert match.shift == pytest.approx(np.abs(np.array(moved_px) / plane.shape).max(), abs=0.003)


def test_a_match_in_words_and_its_limits() -> None:
    assert Match(1.0, scale=0.8).words() == "cropped to 80 %"  # one of the two shows less, whichever it is
    assert Match(1.0, 2, scale=1.25, angle_deg=-4.0, shift=0.1).words() == "upside down, rotated by 4°, cropped to 80 %"
    assert Match(1.0, angle_deg=0.6, scale=1.01, shift=0.05).words() == "moved by 5 %"
    for side, least in ((32, 0.8), (16, 0.8), (64, 0.775), (96, 0.75), (256, 0.75)):
        assert Match(least + 1e-6, side_px=side).is_same
        assert not Match(least - 1e-6, side_px=side).is_same
    assert not Match(0.87, side_px=144).is_same_of_stacks  # between 0.95 at 96 and 0.8 at 192
    assert Match(0.88, side_px=144).is_same_of_stacks


def test_the_eight_turns_are_different_and_undo_each_other() -> None:
    plane = np.arange(6).reshape(2, 3)
    seen = {turned(plane, turn).tobytes() + bytes(turned(plane, turn).shape) for turn in range(8)}
    assert len(seen) == 8
    for turn, inverse in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 5), (7, 7)]:
        np.testing.assert_array_equal(turned(turned(plane, turn), inverse), plane)


def test_only_pairs_apart_and_in_two_places_are_candidates(others: np.ndarray) -> None:
    hashes = np.concatenate([others, others[:4]])
    apart, places = np.arange(len(hashes)), np.zeros(len(hashes), int)
    apart[N] = apart[0]
    places[[N + 1, N + 2]] = 1
    found = similar(hashes, apart)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == {(at, N + at) for at in (1, 2, 3)}
    found = similar(hashes, apart, places)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == {(at, N + at) for at in (1, 2)}


def test_large_sets_are_searched_in_their_main_directions(others: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 25, (6000, SIZE)).clip(-127, 127).astype(np.int8)
    noise[:, 0] = 10
    hashes = np.concatenate([noise, others[:30], hashes_of(*(rotate(picture(seed)) for seed in range(30)))])
    found = similar(hashes, np.arange(len(hashes)))
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert {(6000 + seed, 6030 + seed) for seed in range(30)} <= pairs


def test_a_plane_without_structure_is_like_nothing() -> None:
    flat = plane_hashes(Volume.from_planes(np.full((2, 64, 64), 7.0)))
    assert not flat.any()
    assert len(similar(flat, np.arange(2))) == 0
    dot = np.zeros((2, 64, 64))
    dot[:, 30:33, 30:33] = 1
    assert not plane_hashes(Volume.from_planes(dot)).any()


@pytest.mark.parametrize(
    ("rings", "shared", "found"),
    [(10, 20, True), (10, 19, False), (4, 16, True), (4, 15, False), (3, 25, False)],
)
def test_how_alike_two_hashes_must_be(rings: int, shared: int, found: bool) -> None:
    """A cosine of 0.78 with ten rings, 0.024 less for each that is not resolved, 0.636 with four, fewer never. With
    their negatives the mean is zero, so that the cosine is the share of 25 harmonics that both have."""
    first, second = np.zeros((2, SIZE), np.int8)
    first[1:26] = second[26 - shared : 51 - shared] = 100
    hashes = np.stack([first, second, -first, -second])
    hashes[:, 0] = rings
    pairs = similar(hashes, np.array([0, 1, 0, 1]))
    assert ((0, 1) in zip(pairs.first, pairs.second, strict=True)) == found
    assert not found or pairs.likeness[0] == pytest.approx(shared / 25)


def test_units_and_sign_of_the_intensity_range_do_not_matter() -> None:
    plane = picture(2).astype(np.float64)
    first = hashes_of(plane)
    for other in (plane * 1e-6, plane * 1e6 - 3e7, plane.astype(np.float32) - 1000):
        assert np.abs(hashes_of(other).astype(int) - first).max() <= 2


def test_a_long_stack_is_hashed_at_evenly_spaced_planes_along_its_shortest_axis() -> None:
    planes = stack(0, planes=40)
    hashes = plane_hashes(Volume.from_planes(planes))
    assert hashes.shape == (MOST_PLANES, SIZE)
    np.testing.assert_array_equal(hashes[-1], hashes_of(planes[-1])[0])
    turned_stack = Volume.from_planes(np.ascontiguousarray(planes[:8].transpose(1, 0, 2)))
    assert plane_hashes(turned_stack).shape[0] == 8


def test_colour_is_hashed_as_grey() -> None:
    grey = picture(1)
    colour = plane_hashes(Volume.from_planes(np.stack([grey] * 3, axis=-1)[None]))
    np.testing.assert_array_equal(colour, hashes_of(grey))


def test_the_cache_keeps_hashes_with_planes_and_makes_damaged_ones_again(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", picture(0))
    cache, location = SliceCache(tmp_path / "cache"), Location(tmp_path / "a.npy")
    cache.planes(location, Recipe.for_kind("other", size=16))
    (entry,) = (tmp_path / "cache" / "hashes").rglob("*.npy")
    expected = hashes_of(picture(0))
    np.testing.assert_array_equal(cache.hashes(location), expected)
    data = bytearray(entry.read_bytes())
    data[200] ^= 1
    entry.write_bytes(data)
    np.testing.assert_array_equal(SliceCache(tmp_path / "cache").hashes(location), expected)
    entry.unlink()
    np.testing.assert_array_equal(cache.hashes(location), expected)
    with pytest.raises(DataError):
        cache.hashes(Location(tmp_path / "b.npy"))


def test_no_weight_of_a_hash_is_a_subnormal_number() -> None:
    """Processors multiply those forty times as slowly as others."""
    weights = hashes._ring_weights()
    assert weights[weights > 0].min() > np.finfo(np.float32).tiny
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(28, 28), (20, 90), (200, 170)])
def test_planes_are_resized_as_by_torch(shape: tuple[int, int]) -> None:
    planes = np.random.default_rng(3).random((2, *shape)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(planes[:, None]), size=(96, 96), mode="bicubic", antialias=True
    )
    np.testing.assert_allclose(resized(planes, 96), expected[:, 0].numpy(), atol=2e-5)


def test_pictures_that_do_not_resemble_each_other_are_not_compared_at_full_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chest, head = picture(1), stack(2)[4]
    monkeypatch.setattr(registration, "_fine", lambda *_: pytest.fail("compared at full size"))
    assert compare(Compared(chest), Compared(head)).correlation == -1
