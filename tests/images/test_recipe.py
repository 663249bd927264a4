"""Recipes: what becomes black and white, how planes are framed, and that equal images give equal planes."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from radapt.errors import UsageError
from radapt.images import CT_WINDOWS_HU, Recipe, Volume
from radapt.images.intensity_limits import foreground_limits, percentiles_of
from radapt.images.window import Window

KINDS = ("xray", "ct", "mri", "other")
RNG = np.random.default_rng(0)


def brain(shape=(24, 30, 12), noise=20, dtype=np.int16):
    """Air with noise around a bright ellipsoid with a dark core."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    tissue = np.where(radius < 0.8, 300, 0) - np.where(radius < 0.2, 200, 0)
    return (tissue + np.random.default_rng(1).integers(0, noise, shape)).astype(dtype)


def volume(array, spacing=(1.0, 1.0, 1.0)):
    return Volume(array, np.diag([*spacing, 1.0]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_planes_have_one_shape_and_type(kind, dtype, axis):
    planes = Recipe.for_kind(kind, size=[20, 28], axis=axis).apply(volume(np.clip(brain(), 0, 250).astype(dtype)))
    count = {"axial": 12, "coronal": 30, "sagittal": 24}[axis]
    channels = 3 if kind == "ct" and dtype != np.uint8 else 1
    assert planes.shape == (count, channels, 20, 28)
    assert planes.dtype == np.uint8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0, 7, -300, 3e38])
def test_a_constant_image_is_harmless(kind, value):
    planes = Recipe.for_kind(kind, size=16).apply(volume(np.full((8, 8, 3), value, np.float32)))
    assert planes.shape[2:] == (16, 16)
    if kind != "ct":
        assert not planes.any()


def test_constant_slices_of_an_mri_stay_dark_and_the_others_do_not_care():
    array = brain()
    array[..., :3] = 0
    planes = Recipe.for_kind("mri", size=32).apply(volume(array))
    assert not planes[:3].any()
    assert planes[6].max() > 240


def test_framing_keeps_millimetres_and_centres():
    array = np.full((10, 20, 1), 200, np.uint8)  # 10 × 2 mm wide, 20 × 0.5 mm high
    planes = Recipe.for_kind("other", size=40).apply(volume(array, (2.0, 0.5, 1.0)))
    assert (planes[0, 0, 10:30] == 200).all()
    assert not planes[0, 0, :10].any()
    assert not planes[0, 0, 30:].any()


def test_padding_keeps_the_pixels_of_a_plane_that_fits_whatever_their_spacing():
    array = RNG.integers(0, 256, (10, 20, 2), dtype=np.uint8)
    given = volume(array, (2.0, 0.5, 1.0))
    planes = Recipe.for_kind("other", size=[40, 30], fit="pad").apply(given)
    np.testing.assert_array_equal(planes[:, 0, 10:30, 10:20], given.planes("axial"))
    assert planes.astype(int).sum() == array.astype(int).sum()


def test_padding_makes_a_plane_smaller_that_is_larger_than_the_canvas():
    given = volume(RNG.integers(0, 256, (50, 20, 1), dtype=np.uint8))
    small = [Recipe.for_kind("other", size=24, fit=fit).apply(given) for fit in ("pad", "resize")]
    np.testing.assert_array_equal(*small)


@pytest.mark.parametrize("fit", ["resize", "pad"])
def test_the_border_has_its_grey_level_and_masks_stay_zero_there(fit):
    given = volume(np.full((10, 20, 1), 200, np.uint8))
    recipe = Recipe.for_kind("other", size=40, fit=fit, border=114)
    planes, mask = recipe.apply(given), recipe.place(given).masks(volume(np.ones((10, 20, 1), np.uint8)))
    assert set(np.unique(planes)) == {114, 200}
    np.testing.assert_array_equal(mask[0] > 0, planes[0, 0] == 200)


def test_planes_that_fit_keep_every_value():
    array = RNG.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    for kind in ("other", "ct"):
        np.testing.assert_array_equal(
            Recipe.for_kind(kind, size=16).apply(volume(array))[:, 0], volume(array).planes("axial")
        )


def test_downsampling_is_antialiased():
    stripes = np.zeros((256, 256, 1), np.uint8)
    stripes[::2] = 255
    planes = Recipe.for_kind("other", size=32).apply(volume(stripes))
    assert np.abs(planes[0, 0, 2:-2, 2:-2].astype(int) - 127).max() <= 3


def test_batches_do_not_change_planes(monkeypatch):
    from radapt.images import recipe

    whole = Recipe.for_kind("ct", size=33).apply(volume(brain()))
    monkeypatch.setattr(recipe, "BATCH_BYTES", 1)
    np.testing.assert_array_equal(Recipe.for_kind("ct", size=33).apply(volume(brain())), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_storage_order_does_not_change_planes(kind):
    straight = volume(brain(), (1, 1.2, 3))
    turned = Volume(np.flip(straight.array.transpose(2, 0, 1), 1), straight.affine[:, [2, 0, 1, 3]].copy())
    turned.affine[:, 3] += turned.affine[:, 1] * 23
    turned.affine[:, 1] *= -1
    for axis in ("axial", "coronal", "sagittal"):
        recipe = Recipe.for_kind(kind, size=32, axis=axis)
        np.testing.assert_array_equal(recipe.apply(turned), recipe.apply(straight))


@pytest.mark.parametrize(("name", "low", "high"), [(name, *limits) for name, limits in CT_WINDOWS_HU.items()])
def test_ct_windows_end_where_they_should(name, low, high):
    values = np.array([low - 500, low, (low + high) / 2, high, high + 500], np.float32)
    array = np.tile(values[:, None, None], (1, 5, 1))
    planes = Recipe.for_kind("ct", size=5, windows=name).apply(volume(array))
    np.testing.assert_array_equal(planes[0, 0, 0][::-1], [0, 0, 128, 255, 255])


def test_ct_takes_three_windows_as_channels_and_own_ones():
    planes = Recipe.for_kind("ct", size=24, windows=["lung", "brain", [-100, 100]]).apply(volume(brain()))
    for channel, window in enumerate(("lung", "brain", (-100, 100))):
        one = Recipe.for_kind("ct", size=24, windows=[window]).apply(volume(brain()))
        np.testing.assert_array_equal(planes[:, channel], one[:, 0])


def test_mri_ignores_units_padding_and_hot_spots():
    recipe = Recipe.for_kind("mri", size=(30, 24))
    planes = recipe.apply(volume(brain(dtype=np.float32)))
    np.testing.assert_allclose(recipe.apply(volume(brain(dtype=np.float32) * 37.5)).astype(int), planes, atol=1)
    hot = brain(shape=(24, 30, 60)).copy()
    before = foreground_limits(hot, (0.5, 99.5))
    hot[12, 15, 30] = 30000
    assert foreground_limits(hot, (0.5, 99.5)) == pytest.approx(before, abs=2)
    padded = np.pad(brain(), 20, constant_values=brain().min())
    assert foreground_limits(padded, (0.5, 99.5)) == foreground_limits(brain(), (0.5, 99.5))


def test_mri_foreground_is_not_the_air():
    low, high = foreground_limits(brain(shape=(60, 60, 40)), (0.5, 99.5))
    assert 20 <= low <= 130  # above the noise of the air, not above the dark core
    assert 300 <= high <= 320


def test_mri_foreground_exceeds_a_tenth_of_the_robust_range():
    """Of 1 … 101 without the smallest value, 0, the percentiles 2 and 98 are 3 and 99: foreground begins at 12.6."""
    assert foreground_limits(np.arange(102), (0, 100)) == (13, 101)
    assert foreground_limits(np.arange(102.0), (0, 100)) == (13, 101)


def test_a_binary_mri_keeps_its_two_values():
    array = np.zeros((9, 9, 3), np.uint8)
    array[3:6] = 1
    assert set(np.unique(Recipe.for_kind("mri", size=9).apply(volume(array)))) == {0, 255}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_percentiles_equal_numpys(dtype, count):
    values = np.random.default_rng(count).integers(0, 250, count).astype(dtype)
    for pair in ((0, 100), (0.5, 99.5), (25, 50), (33.3, 66.6)):
        assert percentiles_of(values, pair) == pytest.approx(tuple(np.percentile(values, pair)))


def test_xray_uses_the_files_window_only_when_asked():
    film = Volume.from_planes(np.arange(100, dtype=np.uint16).reshape(1, 10, 10), window=Window(40, 60))
    asked = Recipe.for_kind("xray", size=10, display_window=True)
    planes = asked.apply(film)[0, 0].ravel()
    np.testing.assert_array_equal(planes, np.rint(np.clip((np.arange(100) - 40) / 20, 0, 1) * 255 + 1e-4))
    plain = Recipe.for_kind("xray", size=10)
    without = Volume(film.array, film.affine)
    np.testing.assert_array_equal(asked.apply(without), plain.apply(film))


def test_colour_stays_colour():
    pixels = RNG.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    for kind in KINDS:
        planes = Recipe.for_kind(kind, size=16).apply(Volume.from_planes(pixels))
        np.testing.assert_array_equal(planes, pixels.transpose(0, 3, 1, 2))
    deep = Volume.from_planes(pixels.astype(np.uint16) * 257)
    np.testing.assert_allclose(Recipe.for_kind("other", size=16).apply(deep).astype(int), planes, atol=1)


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_an_image_with_one_plane_gives_that_plane(axis):
    pixels = RNG.integers(0, 256, (1, 16, 16), dtype=np.uint8)
    planes = Recipe.for_kind("other", size=16, axis=axis).apply(Volume.from_planes(pixels))
    np.testing.assert_array_equal(planes[0], pixels)
    assert len(Recipe.for_kind("mri", size=16).apply(volume(brain()[:1]))) == 1  # one sagittal slice


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, range(10)),
        ({"every": 1, "count": 20}, range(10)),
        ({"every": 3}, [0, 3, 6, 9]),
        ({"every": 4}, [0, 4, 8]),
        ({"every": 5}, [2, 7]),
        ({"every": 100}, [4]),
        ({"count": 1}, [5]),
        ({"count": 2}, [2, 7]),
        ({"count": 5}, [1, 3, 5, 7, 9]),
        ({"every": 2, "count": 2}, [2, 6]),
    ],
)
def test_which_slices_are_kept(options, kept):
    array = np.broadcast_to(np.arange(10, dtype=np.uint8) * 20, (8, 8, 10))
    planes = Recipe.for_kind("other", size=8, **options).apply(volume(array))
    assert [int(plane[0, 0, 0]) // 20 for plane in planes] == list(kept)


def test_grey_does_not_depend_on_the_slices_kept():
    every = Recipe.for_kind("mri", size=24).apply(volume(brain()))
    some = Recipe.for_kind("mri", size=24, count=3).apply(volume(brain()))
    np.testing.assert_array_equal(some, every[[2, 6, 10]])


def test_the_digest_changes_with_every_choice_and_only_then():
    recipes = [
        Recipe.for_kind("mri"),
        Recipe.for_kind("mri", size=225),
        Recipe.for_kind("mri", size=[224, 225]),
        Recipe.for_kind("mri", axis="coronal"),
        Recipe.for_kind("mri", every=2),
        Recipe.for_kind("mri", count=2),
        Recipe.for_kind("mri", percentiles=[1, 99]),
        Recipe.for_kind("mri", fit="pad"),
        Recipe.for_kind("mri", border=114),
        Recipe.for_kind("xray"),
        Recipe.for_kind("xray", display_window=True),
        Recipe.for_kind("ct"),
        Recipe.for_kind("ct", windows="lung"),
        Recipe.for_kind("ct", windows=["bone", "lung", "brain"]),
        Recipe.for_kind("other"),
        Recipe.for_kind("other", percentiles=(0.5, 99.5)),
    ]
    assert len({recipe.digest for recipe in recipes}) == len(recipes)
    assert len({recipe.describe() for recipe in recipes}) == len(recipes)
    same = Recipe.for_kind("mri", size=[224, 224], percentiles=[0.5, 99.5])
    assert same.digest == recipes[0].digest
    assert same == recipes[0]
    assert Recipe.for_kind("ct", windows=[[-1350, 150]]).digest == Recipe.for_kind("ct", windows="lung").digest


def test_options_added_later_leave_the_digests_of_caches_as_they_were():
    assert Recipe.for_kind("mri", fit="resize", border=0, neighbours=0).digest == "f8144eb94fd120dd0b4a71016df69efc"


def test_a_new_version_gives_new_digests(monkeypatch):
    from radapt.images import recipe

    before = Recipe.for_kind("mri").digest
    monkeypatch.setattr(recipe, "VERSION", recipe.VERSION + 1)
    assert Recipe.for_kind("mri").digest != before


def test_a_recipe_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Recipe.for_kind("mri").every = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("mr", {}, "Did you mean 'mri'"),
        ("mri", {"windows": "lung"}, "mri has no option 'windows'"),
        ("mri", {"percentile": (1, 2)}, "Did you mean 'percentiles'"),
        ("ct", {"windows": "lungs"}, "Did you mean 'lung'"),
        ("ct", {"windows": ["lung", "bone"]}, "one or three"),
        ("ct", {"windows": []}, "one or three"),
        ("ct", {"windows": [[100, -100]]}, "black < white"),
        ("ct", {"windows": [["a", "b"]]}, "black < white"),
        ("ct", {"windows": 5}, "one or three"),
        ("mri", {"percentiles": (99, 1)}, "rising"),
        ("mri", {"percentiles": (-1, 99)}, "rising"),
        ("mri", {"percentiles": "all"}, "rising"),
        ("xray", {"display_window": "yes"}, "true or false"),
        ("mri", {"size": 0}, "size must be"),
        ("mri", {"size": [224]}, "size must be"),
        ("mri", {"size": 224.0}, "size must be"),
        ("mri", {"size": True}, "size must be"),
        ("mri", {"size": 10**6}, "size must be"),
        ("mri", {"axis": "axail"}, "Did you mean 'axial'"),
        ("mri", {"every": 0}, "every must be"),
        ("mri", {"every": 1.5}, "every must be"),
        ("mri", {"count": 0}, "count must be"),
        ("mri", {"fit": "pads"}, "Did you mean 'pad'"),
        ("mri", {"border": 256}, "from 0"),
        ("mri", {"border": True}, "from 0"),
    ],
)
def test_wrong_options_are_answered_with_the_right_ones(kind, options, message):
    with pytest.raises(UsageError, match=message):
        Recipe.for_kind(kind, **options)


@pytest.mark.slow
def test_windows_and_percentiles_equal_monais():
    from monai.transforms import ScaleIntensityRange, ScaleIntensityRangePercentiles, SpatialPad

    array = brain(dtype=np.float32)
    planes = volume(array).planes().copy()
    low, high = CT_WINDOWS_HU["soft-tissue"]
    ours = Recipe.for_kind("ct", size=(30, 24), windows="soft-tissue").apply(volume(array))[:, 0]
    theirs = np.asarray(ScaleIntensityRange(low, high, 0, 255, clip=True)(planes))
    np.testing.assert_allclose(ours, np.floor(theirs + 0.5), atol=1)
    ours = Recipe.for_kind("xray", size=(30, 24), percentiles=(2, 98)).apply(volume(array))[:, 0]
    theirs = np.asarray(ScaleIntensityRangePercentiles(2, 98, 0, 255, clip=True)(planes))
    np.testing.assert_allclose(ours, np.floor(theirs + 0.5), atol=1)
    wide = Recipe.for_kind("xray", size=(30, 40), percentiles=(2, 98)).apply(volume(array))[:, 0]
    np.testing.assert_array_equal(wide, np.asarray(SpatialPad((30, 40))(ours)))
