"""Dice + cross-entropy against MONAI, a sum done by hand, and inputs that break careless losses."""

import math

import pytest
import torch
from torch.nn.functional import one_hot

from radapt.errors import UsageError
from radapt.training.segmentation_loss import balanced_weights, dice_ce


def drawn(*shape: int, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator)
    return logits, torch.randint(0, classes, shape, generator=generator)


@pytest.mark.parametrize("shape", [(4, 9, 7), (2, 5, 6, 3), (3, 11)])
@pytest.mark.parametrize("smooth", [1.0, 1e-5])
def test_agrees_with_monai_where_definitions_agree(shape: tuple[int, ...], smooth: float) -> None:
    from monai.losses import DiceCELoss

    logits, labels = drawn(*shape)
    labels[0] = 0  # one sample is empty
    monai = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, smooth_nr=smooth, smooth_dr=smooth, reduction="mean"
    )
    expected = monai(logits, labels[:, None])
    assert dice_ce(logits, labels, smooth_px=smooth).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_sum_done_by_hand() -> None:
    """Four pixels, two of them labelled, every probability one half: Dice (2·1 + 1) / (2 + 2 + 1) = 0.6."""
    logits, labels = torch.zeros(1, 2, 2, 2), torch.tensor([[[1, 1], [0, 0]]])
    assert dice_ce(logits, labels).item() == pytest.approx((1 - 0.6) + math.log(2), rel=1e-5)
    assert dice_ce(logits, labels, dice_share=1.0).item() == pytest.approx(2 * 0.4, rel=1e-5)
    assert dice_ce(logits, labels, dice_share=0.0).item() == pytest.approx(2 * math.log(2), rel=1e-5)


def test_a_perfect_answer_costs_nothing() -> None:
    _, labels = drawn(3, 8, 8)
    logits = 100 * one_hot(labels, 3).movedim(-1, 1).float()
    assert dice_ce(logits, labels).item() == pytest.approx(0, abs=1e-6)


def test_empty_masks_give_a_finite_loss_that_falls_with_false_alarms() -> None:
    labels = torch.zeros(2, 6, 6, dtype=torch.int64)
    few, many = (torch.zeros(2, 3, 6, 6) for _ in range(2))
    few[:, 0], many[:, 0] = 8.0, 2.0
    few.requires_grad_()
    loss = dice_ce(few, labels)
    loss.backward()
    assert torch.isfinite(few.grad).all()
    assert few.grad[:, 1:].min() > 0  # falling loss: fewer false alarms
    assert 0 <= loss.item() < dice_ce(many, labels).item()


def test_samples_are_judged_one_by_one() -> None:
    """The mean over samples: a batch in pieces has the loss of the whole, which a Dice pooled over samples has not."""
    logits, labels = drawn(4, 10, 10)
    labels[1] = 0
    pieces = torch.stack([dice_ce(logits[i : i + 1], labels[i : i + 1]) for i in range(4)])
    assert dice_ce(logits, labels).item() == pytest.approx(pieces.mean().item(), rel=1e-5)


def test_ignored_pixels_change_nothing() -> None:
    logits, labels = drawn(2, 6, 8)
    labels[:, :, 4:] = 255
    other = logits.clone()
    other[:, :, :, 4:] = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(9))
    alone = dice_ce(logits[..., :4], labels[..., :4])
    assert dice_ce(logits, labels, 255).item() == pytest.approx(alone.item(), rel=1e-5)
    assert dice_ce(other, labels, 255).item() == pytest.approx(alone.item(), rel=1e-5)


def test_a_sample_of_which_nothing_is_known_has_no_gradient() -> None:
    logits, labels = drawn(2, 4, 4)
    labels[0] = -1
    logits.requires_grad_()
    dice_ce(logits, labels, -1).backward()
    assert not logits.grad[0].any()
    assert logits.grad[1].any()


def test_half_precision_is_summed_in_float32() -> None:
    logits, labels = drawn(1, 256, 256)
    exact = dice_ce(logits, labels)
    rough = dice_ce(logits.bfloat16(), labels)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=1e-3)


def test_weights_are_those_of_training_and_average_to_one() -> None:
    weights = balanced_weights([900, 90, 10])
    assert weights[2] > weights[1] > weights[0]
    assert float((weights * torch.tensor([0.9, 0.09, 0.01])).sum()) == pytest.approx(1, rel=1e-5)
    assert float(weights[1] / weights[0]) == pytest.approx(math.sqrt(10), rel=1e-5)
    assert float(weights[2] / weights[0]) == pytest.approx(math.sqrt(90), rel=1e-5)


@pytest.mark.parametrize("pixels", [[100, 0, 0], [0, 0], [10**12, 1, 0]])
def test_weights_of_absent_and_tiny_labels_are_bounded(pixels: list[int]) -> None:
    weights = balanced_weights(pixels)
    assert torch.isfinite(weights).all()
    assert weights.max() / weights.min() <= 10.0001


def test_weights_scale_each_pixel_by_its_label() -> None:
    logits, labels = drawn(2, 5, 5)
    weights = torch.tensor([0.0, 0.0, 3.0])
    entropy = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    expected = 2 * 3 * (entropy * (labels == 2)).mean()
    assert dice_ce(logits, labels, weights=weights, dice_share=0.0).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("logits", "labels", "options", "words"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5, dtype=torch.int64), {}, "do not fit"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64), {}, "at least two classes"),
        (torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), 3), {}, "0 to 2"),
        (torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), -1), {}, "0 to 2"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64), {"weights": torch.ones(2)}, "each of 3"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64), {"dice_share": 2.0}, "from 0 to 1"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    logits: torch.Tensor, labels: torch.Tensor, options: dict, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        dice_ce(logits, labels, **options)
