"""Self-supervised losses at the edges: nothing hidden, one image, equal images, halves of a batch, bfloat16."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from radapt.errors import UsageError
from radapt.mmdino.losses import NEAREST, dino_loss, ibot_loss, koleo


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def chances(*shape: int, seed: int = 1) -> Tensor:
    return torch.softmax(3 * drawn(*shape, seed=seed), dim=-1)


def test_dino_is_a_mean_over_images() -> None:
    student, teacher = drawn(4, 6, 5), chances(2, 6, 5)
    halves = [dino_loss(student[:, part], teacher[:, part]) for part in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close(dino_loss(student, teacher), torch.stack(halves).mean())
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(dino_loss(student[:, order], teacher[:, order]), dino_loss(student, teacher))


def test_dino_is_least_where_the_student_agrees() -> None:
    teacher = chances(2, 3, 5)[:1]
    agreeing = (0.1 * teacher.log()).requires_grad_()
    least = dino_loss(agreeing, teacher, same=())
    least.backward()
    assert agreeing.grad is not None
    assert agreeing.grad.abs().max() < 1e-5
    entropy = -(teacher * teacher.log()).sum(2).mean()
    assert least.item() == pytest.approx(entropy.item(), rel=1e-5)
    assert dino_loss(drawn(1, 3, 5), teacher, same=()) > least


def test_ibot_is_a_mean_over_images_some_of_which_hide_nothing() -> None:
    student, teacher, owner = drawn(6, 5), chances(6, 5), torch.tensor([0, 0, 2, 2, 2, 3])
    whole = ibot_loss(student, teacher, owner, 5)
    first = ibot_loss(student[:2], teacher[:2], owner[:2], 2)
    second = ibot_loss(student[2:], teacher[2:], owner[2:] - 2, 3)
    torch.testing.assert_close(whole, (2 * first + 3 * second) / 5)


@pytest.mark.parametrize("images", [1, 4])
def test_ibot_without_hidden_patches_is_zero_with_zero_gradients(images: int) -> None:
    student = drawn(0, 5).requires_grad_()
    loss = ibot_loss(student, chances(0, 5), torch.zeros(0, dtype=torch.int64), images)
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = chances(2, 3, 5).requires_grad_()
    student = drawn(2, 3, 5).requires_grad_()
    (dino_loss(student, teacher) + ibot_loss(student[0], teacher[0], torch.arange(3), 3)).backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_koleo_of_one_image_is_zero_with_zero_gradients() -> None:
    for shape in ((1, 4), (2, 1, 4), (0, 4)):
        cls = drawn(*shape).requires_grad_()
        loss = koleo(cls)
        loss.backward()
        assert loss.item() == 0
        assert cls.grad is not None
        assert not cls.grad.any()


def test_koleo_of_equal_images_is_finite_and_leaves_them_alone() -> None:
    cls = torch.ones(3, 4).requires_grad_()
    loss = koleo(cls)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(NEAREST), rel=1e-5)
    assert cls.grad is not None
    assert not cls.grad.any()


def test_koleo_of_opposite_images() -> None:
    """Nobody is his own neighbour, even where the only other one is as far away as can be: -log 2."""
    assert koleo(torch.tensor([[3.0, 4.0], [-3.0, -4.0]])).item() == pytest.approx(-0.693147, rel=1e-5)


def test_koleo_pushes_neighbours_apart() -> None:
    """Three directions on a circle: the two that are near each other move away."""
    angles = torch.tensor([0.0, 0.2, 2.5], requires_grad=True)
    koleo(torch.stack([angles.cos(), angles.sin()], dim=1)).backward()
    assert angles.grad is not None
    assert angles.grad[0] > 0  # falls when the loss goes down: away from 0.2
    assert angles.grad[1] < 0


def test_koleo_adds_crops_and_does_not_compare_them() -> None:
    crops = drawn(2, 5, 4)
    torch.testing.assert_close(koleo(crops), koleo(crops[0]) + koleo(crops[1]))
    assert koleo(torch.stack([crops[0], crops[0]])).isfinite()
    torch.testing.assert_close(koleo(3 * crops), koleo(crops))


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_inputs_give_float32_losses(autocast: bool) -> None:
    student, teacher, owner = drawn(2, 3, 16), chances(2, 3, 16), torch.arange(3)
    losses: list[Callable[[Tensor], Tensor]] = [
        lambda x: dino_loss(x, teacher),
        lambda x: ibot_loss(x[0], teacher[0], owner, 3),
        koleo,
    ]
    for loss in losses:
        x = student.bfloat16().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            found = loss(x)
        found.backward()
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, loss(student.bfloat16().float()))
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_huge_logits_stay_finite() -> None:
    student = (1e4 * drawn(2, 3, 5)).requires_grad_()
    loss = dino_loss(student, chances(2, 3, 5))
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


BAD: list[tuple[Callable[[], Tensor], str]] = [
    (lambda: dino_loss(drawn(2, 3, 5), chances(2, 4, 5)), r"\(2, 3, 5\) and teacher \(2, 4, 5\) do not fit"),
    (lambda: dino_loss(drawn(3, 5), chances(2, 3, 5)), "do not fit"),
    (lambda: dino_loss(drawn(2, 0, 5), chances(2, 0, 5)), "at least one image"),
    (lambda: dino_loss(drawn(1, 3, 5), chances(1, 3, 5)), "No pair"),
    (lambda: dino_loss(drawn(2, 3, 5), chances(2, 3, 5), same=[(2, 0)]), r"no pair \(2, 0\) of 2 student and 2"),
    (lambda: dino_loss(drawn(2, 3, 5), chances(2, 3, 5), same=[(0, 2)]), r"no pair \(0, 2\) of 2 student and 2"),
    (lambda: dino_loss(drawn(2, 3, 5), chances(2, 3, 5), temperature=0), "temperature must be positive, not 0"),
    (lambda: ibot_loss(drawn(2, 5), chances(3, 5), torch.arange(2), 3), "do not fit"),
    (lambda: ibot_loss(drawn(2, 5), chances(2, 5), torch.arange(3), 3), "do not fit"),
    (lambda: ibot_loss(drawn(2, 5), chances(2, 5), torch.tensor([0, 3]), 3), "from 0 to 3; expected 0 to 2"),
    (lambda: ibot_loss(drawn(2, 5), chances(2, 5), torch.tensor([-1, 0]), 3), "from -1 to 0"),
    (lambda: ibot_loss(drawn(0, 5), chances(0, 5), torch.arange(0), 0), "at least one image"),
    (lambda: koleo(drawn(5)), r"got \(5,\)"),
    (lambda: koleo(drawn(5, 0)), r"got \(5, 0\)"),
]


@pytest.mark.parametrize(("call", "said"), BAD)
def test_bad_input_is_refused_with_what_was_expected(call: Callable[[], Tensor], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()
