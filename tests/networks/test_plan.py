"""Plans against what nnU-Net's paper says of data sets everybody knows, and against geometry that cannot be argued."""

import json
from dataclasses import replace

import numpy as np
import pytest

from radapt.errors import UsageError
from radapt.networks.unet.architecture import (
    Budget,
    Channel,
    Fingerprint,
    UNetPlan,
    activations,
    plan_unet,
    target_spacing,
    topology,
)

GREY = Channel("t1", -1.0, 3.0, 0.5, 0.7, 0.0)


def fingerprint(shape: tuple[int, ...], spacing: tuple[float, ...], kind: str = "mri", n: int = 5) -> Fingerprint:
    return Fingerprint(kind, (shape,) * n, (spacing,) * n, (GREY,))


def test_hippocampus_is_planned_as_nnunet_plans_it() -> None:
    """Patch 40 × 56 × 40 and three halvings of each axis: the plan nnU-Net publishes for this data set."""
    found = plan_unet(fingerprint((36, 50, 35), (1.0, 1.0, 1.0)))
    assert (found.dims, found.patch) == (3, (40, 56, 40))
    assert found.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
    assert found.features == (32, 64, 128, 256)
    assert found.kernels == ((3, 3, 3),) * 4


def test_prostate_is_pooled_and_convolved_in_its_planes_first() -> None:
    """0.6 × 0.6 × 3.6 mm: nnU-Net's kernels and strides of 1 through the planes until voxels are nearly cubes."""
    found = plan_unet(fingerprint((320, 320, 20), (0.625, 0.625, 3.6)), dims=3)
    assert found.kernels[:2] == ((3, 3, 1), (3, 3, 1))
    assert found.kernels[-1] == (3, 3, 3)
    assert found.strides[1][2] == found.strides[2][2] == 1
    assert sum(stride[2] == 2 for stride in found.strides) == 2
    assert found.patch[2] == 20


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_plan_turns_with_the_axes(order: tuple[int, ...]) -> None:
    shape, spacing = np.array((160, 144, 24)), np.array((1.0, 1.0, 4.0))
    straight = plan_unet(fingerprint(tuple(shape.tolist()), tuple(spacing.tolist())), 3)
    turned = plan_unet(fingerprint(tuple(shape[list(order)].tolist()), tuple(spacing[list(order)].tolist())), 3)
    assert turned.patch == tuple(straight.patch[a] for a in order)
    assert turned.strides == tuple(tuple(stage[a] for a in order) for stage in straight.strides)


@pytest.mark.parametrize(
    ("shape", "spacing", "dims"),
    [((512, 512, 1), (1, 1, 1), 2), ((256, 256, 8), (1, 1, 5), 2), ((36, 50, 35), (1, 1, 1), 3)],
)
def test_thick_stacks_are_volumes_and_others_are_planes(
    shape: tuple[int, ...], spacing: tuple[float, ...], dims: int
) -> None:
    assert plan_unet(fingerprint(shape, spacing)).dims == dims


@pytest.mark.parametrize(("shape", "axis"), [((1, 90, 80), 0), ((90, 1, 80), 1), ((90, 80, 1), 2)])
def test_the_planes_of_an_image_with_one_plane_are_that_plane(shape: tuple[int, ...], axis: int) -> None:
    found = plan_unet(fingerprint(shape, (1.0, 1.0, 1.0)))
    assert (found.dims, found.axis, len(found.patch)) == (2, axis, 2)


def test_planes_are_stacked_along_the_coarse_axis_and_keep_its_spacing() -> None:
    found = plan_unet(fingerprint((30, 200, 200), (4.0, 0.8, 0.8)), dims=2)
    assert (found.axis, found.spacing_mm) == (0, (None, 0.8, 0.8))


def test_anisotropic_target_keeps_the_finer_stacks() -> None:
    """Of a coarse axis with few planes the 10th percentile, of every other the median."""
    spacings = np.array([[1.0, 1.0, 3.0], [1.0, 1.0, 6.0], [1.0, 1.0, 6.0], [2.0, 1.0, 6.0]])
    shapes = np.full((4, 3), (200, 200, 20))
    found = target_spacing(shapes, spacings)
    assert found.tolist() == [1.0, 1.0, pytest.approx(np.percentile([3.0, 6.0, 6.0, 6.0], 10))]
    assert target_spacing(np.full((4, 3), (200, 200, 90)), spacings)[2] == 6.0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("shape", [(16, 16, 16), (40, 300, 7), (512, 512, 400), (13, 17, 19), (3, 64, 64)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 5.0), (3.0, 0.7, 0.7)])
def test_every_plan_can_be_built(dims: int, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    found = plan_unet(fingerprint(shape, spacing), dims)
    stages = len(found.strides)
    assert len(found.patch) == dims
    assert len(found.kernels) == len(found.features) == stages >= 3
    assert all(side % steps == 0 for side, steps in zip(found.patch, found.divisor, strict=True))
    assert max(found.features) <= {2: 512, 3: 320}[dims]
    assert activations(found.patch, found.strides, found.features) <= {2: 85e6, 3: 560e6}[dims]
    assert UNetPlan.of(json.loads(json.dumps(found.facts()))) == found


def test_less_memory_means_a_smaller_patch_in_the_same_proportions() -> None:
    big = plan_unet(fingerprint((300, 300, 300), (1.0, 1.0, 1.0)))
    small = plan_unet(fingerprint((300, 300, 300), (1.0, 1.0, 1.0)), budget=Budget(memory_gb=1.0))
    assert np.prod(small.patch) < np.prod(big.patch)
    assert max(small.patch) <= 2 * min(small.patch)
    assert activations(small.patch, small.strides, small.features) <= 560e6 / 8


def test_pictures_without_spacing_are_scaled_to_one_length() -> None:
    """Pixels of a scanned film are no measure: the median length of the pictures is, up to the budget's."""
    shapes = ((400, 300, 1), (800, 600, 1), (3000, 2000, 1))
    found = plan_unet(Fingerprint("xray", shapes, ((1.0, 1.0, 1.0),) * 3, (GREY,), measured=False))
    assert (found.longest, found.spacing_mm) == (512, (None, None, None))
    assert found.patch[0] == 512
    assert found.patch[1] < 512
    uncapped = plan_unet(
        Fingerprint("xray", shapes, ((1.0, 1.0, 1.0),) * 3, (GREY,), measured=False), budget=Budget(longest=None)
    )
    assert uncapped.longest == 800


def test_long_planes_are_made_coarser() -> None:
    found = plan_unet(fingerprint((1024, 1024, 1), (0.25, 0.25, 1.0)))
    assert found.spacing_mm[:2] == (0.5, 0.5)


def test_activations_of_a_drawn_network() -> None:
    """8 × 8 pixels, 2 then 4 features: 5 maps of 64 × 2, then 2 maps of 16 × 4."""
    assert activations((8, 8), ((1, 1), (2, 2)), (2, 4)) == 5 * 64 * 2 + 2 * 16 * 4


def test_an_axis_twice_as_coarse_waits_for_the_others() -> None:
    """2 mm beside 1 mm: neither pooled nor convolved over until the finer axis has 2 mm too."""
    strides, kernels = topology((2.0, 1.0), (16, 16), 7)
    assert strides == ((1, 1), (1, 2), (2, 2), (2, 1))
    assert kernels == ((1, 3), (3, 3), (3, 3), (3, 3))


def test_an_axis_of_one_voxel_is_left_alone() -> None:
    strides, kernels = topology((1.0, 1.0, 5.0), (64, 64, 1), 5)
    assert {stage[2] for stage in strides} == {1}
    assert {kernel[2] for kernel in kernels} == {1}


@pytest.mark.parametrize(
    ("kind", "zeros", "by"), [("ct", 0.9, "foreground"), ("mri", 0.6, "nonzero"), ("mri", 0.1, "image")]
)
def test_greys_are_scaled_by_what_the_kind_means(kind: str, zeros: float, by: str) -> None:
    masked = replace(fingerprint((64, 64, 64), (1, 1, 1), kind), channels=(replace(GREY, zeros=zeros),))
    found = plan_unet(masked)
    assert found.scalings[0].by == by
    assert found.crop == (by == "nonzero")


@pytest.mark.parametrize(
    ("shape", "batch"),
    [
        ((512, 512, 1), 2),
        ((384, 384, 1), 2),
        ((256, 256, 1), 4),
        ((64, 64, 1), 12),
        ((36, 50, 35), 2),
        ((20, 20, 20), 12),
    ],
)
def test_a_step_sees_about_as_many_voxels_whatever_the_patch(shape: tuple[int, ...], batch: int) -> None:
    assert plan_unet(fingerprint(shape, (1.0, 1.0, 1.0))).batch == batch


def test_a_patch_and_a_batch_can_be_given() -> None:
    found = plan_unet(fingerprint((100, 100, 100), (1, 1, 1)), budget=Budget(patch=(20, 24, 30), batch=5))
    assert (found.patch, found.batch) == ((20, 24, 32), 5)


@pytest.mark.parametrize(
    ("print_of", "budget"),
    [(fingerprint((9, 9, 9), (1, 1, 1), n=0), Budget()), (fingerprint((64, 64, 64), (1, 1, 1)), Budget(patch=(8, 8)))],
)
def test_what_cannot_be_planned_is_said(print_of: Fingerprint, budget: Budget) -> None:
    with pytest.raises(UsageError):
        plan_unet(print_of, budget=budget)


@pytest.mark.parametrize("facts", [{}, {"dims": 2}, {"patch": 3}])
def test_a_damaged_plan_is_said(facts: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="not that of a U-Net"):
        UNetPlan.of(facts)
