"""Losses on labels: against torch and NumPy, unlabelled cases anywhere, the published weights and their fault."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from radapt.errors import UsageError
from radapt.mmdino.supervision import prototype_loss, share_weights, supervised_loss


def batch_weights(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """As MM-DINOv2 takes them from a batch: log(labelled / cases of the class), with 1e-6 added to each count."""
    counts = torch.bincount(labels[labels >= 0], minlength=classes).double()
    return (counts.sum() / (counts + 1e-6)).log().nan_to_num(0.0, neginf=0.0).float()


LABELS = torch.tensor([2, -1, 0, 0, -1, 1, 2, -1])
FINDINGS = torch.tensor([[1, 0, np.nan], [np.nan] * 3, [0, 1, 1], [1, 1, 0]], dtype=torch.float32)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_are_the_cross_entropy_of_those_labelled_times_their_share(smoothing: float) -> None:
    logits, known = drawn(8, 3), LABELS >= 0
    expected = cross_entropy(logits[known], LABELS[known], label_smoothing=smoothing)
    found = supervised_loss(logits, LABELS, smoothing=smoothing)
    torch.testing.assert_close(found, expected * 5 / 8)
    torch.testing.assert_close(supervised_loss(logits, LABELS, smoothing=smoothing, share=5 / 8), expected)


def test_findings_are_binary_cross_entropies_of_those_known() -> None:
    logits, known = drawn(4, 3), ~FINDINGS.isnan()
    smooth = FINDINGS.nan_to_num(0) * 0.9 + 0.05
    each = binary_cross_entropy_with_logits(logits, smooth, reduction="none") * known
    torch.testing.assert_close(supervised_loss(logits, FINDINGS, smoothing=0.1), each.sum() / 12)


def test_one_output_is_a_finding_with_whole_numbers() -> None:
    logits, labels = drawn(4, 1), torch.tensor([1, 0, -1, 1])
    as_finding = torch.tensor([[1.0], [0.0], [torch.nan], [1.0]])
    torch.testing.assert_close(supervised_loss(logits, labels), supervised_loss(logits, as_finding))
    both = torch.cat([-logits / 2, logits / 2], dim=1)  # two classes with the same odds
    torch.testing.assert_close(supervised_loss(both, labels), supervised_loss(logits, labels))


@pytest.mark.parametrize("labels", [LABELS, torch.cat([FINDINGS, FINDINGS])], ids=["classes", "findings"])
def test_a_plain_sum_over_cases_in_the_mean_over_crops(labels: Tensor) -> None:
    logits = drawn(4, 8, 3)
    whole = supervised_loss(logits, labels)
    halves = [supervised_loss(logits[:, part], labels[part]) for part in (slice(0, 2), slice(2, 8))]
    torch.testing.assert_close(whole, 0.25 * halves[0] + 0.75 * halves[1])
    torch.testing.assert_close(whole, torch.stack([supervised_loss(crop, labels) for crop in logits]).mean())


@pytest.mark.parametrize("labels", [torch.full((4,), -1), torch.full((4, 3), torch.nan)], ids=["classes", "findings"])
def test_without_labels_the_loss_is_zero_and_so_are_its_gradients(labels: Tensor) -> None:
    logits = drawn(4, 3).requires_grad_()
    weights = None if labels.ndim == 2 else batch_weights(labels, 3)
    loss = supervised_loss(logits, labels, weights=weights)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_unlabelled_cases_have_no_gradient() -> None:
    logits = drawn(8, 3).requires_grad_()
    supervised_loss(logits, LABELS).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(1) > 0, LABELS >= 0)


def test_one_labelled_class_is_finite_and_pulled_no_further_than_smoothing_allows() -> None:
    labels = torch.tensor([1, 1, -1])
    logits = torch.zeros(3, 3)
    for _ in range(300):
        logits = logits.detach().requires_grad_()
        supervised_loss(logits, labels, smoothing=0.3).backward()
        logits = logits - 3 * logits.grad
    torch.testing.assert_close(torch.softmax(logits[0], 0), torch.tensor([0.1, 0.8, 0.1]), atol=1e-3, rtol=0)
    assert not logits[2].any()


def test_published_loss_as_it_is_written() -> None:
    """Transcribed: per crop a weighted, smoothed cross-entropy of the labelled cases, then times their share."""
    logits, known = drawn(5, 8, 3).double().numpy(), (LABELS >= 0).numpy()
    truth = np.eye(3)[LABELS.numpy()[known]]
    weights = np.log(5 / (truth.sum(0) + 1e-6))
    total = 0.0
    for crop in logits[:, known] / 0.1:
        logs = crop - np.log(np.exp(crop).sum(1, keepdims=True))
        total += -(weights * (0.9 * truth + 0.1 / 3) * logs).sum(1).mean()
    made = prototype_loss(torch.from_numpy(logits), LABELS, weights=batch_weights(LABELS, 3))
    assert made.item() == pytest.approx(total / 5 * 5 / 8, rel=1e-5)


def test_weights_are_those_of_torch_with_targets_as_probabilities() -> None:
    logits, weights, labels = drawn(6, 3), torch.tensor([0.3, 1.0, 4.0]), torch.tensor([0, 1, 2, 0, 1, 0])
    expected = cross_entropy(logits, one_hot(labels, 3).float(), weight=weights, label_smoothing=0.1)
    torch.testing.assert_close(supervised_loss(logits, labels, weights=weights, smoothing=0.1), expected)


def test_the_fault_of_batch_weights() -> None:
    """22, 6 and 0 labelled: the best answer for a case of the first class gives 67 % to the class that is absent."""
    labels = torch.tensor([0] * 22 + [1] * 6 + [-1] * 36)
    weights = batch_weights(labels, 3)
    pulled = weights * torch.tensor([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    torch.testing.assert_close((pulled / pulled.sum())[2], torch.tensor(0.67), atol=0.01, rtol=0)
    cohort = share_weights(torch.tensor([0.7, 0.2, 0.1])) * torch.tensor([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    assert (cohort / cohort.sum()).argmax() == 0
    assert batch_weights(torch.full((3,), -1), 3).tolist() == [0, 0, 0]
    assert batch_weights(torch.tensor([1, 1, 1]), 3)[1].item() == pytest.approx(0, abs=1e-5)


def test_weights_of_shares_are_the_published_formula_on_the_cohort() -> None:
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    torch.testing.assert_close(
        share_weights(torch.tensor([0.5, 0.3, 0.2])), batch_weights(labels, 3), atol=1e-5, rtol=0
    )


def test_bfloat16_logits_give_a_float32_loss() -> None:
    logits = drawn(8, 3).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supervised_loss(logits, LABELS)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, supervised_loss(logits.float(), LABELS))


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: supervised_loss(drawn(4, 3), LABELS), "do not fit"),
    (lambda: supervised_loss(drawn(0, 3), LABELS[:0]), "at least one case"),
    (lambda: supervised_loss(drawn(4), LABELS[:4]), "do not fit"),
    (lambda: supervised_loss(drawn(4, 2), FINDINGS), r"findings \(B, 2\)"),
    (lambda: supervised_loss(drawn(8, 2), LABELS), "from -1 to 2; expected -1 to 1"),
    (lambda: supervised_loss(drawn(8, 3), LABELS, smoothing=1.0), "Smoothing must be"),
    (lambda: supervised_loss(drawn(8, 3), LABELS, share=0.0), "share in"),
    (lambda: supervised_loss(drawn(8, 3), LABELS, weights=torch.ones(2)), "each of 3 classes"),
    (lambda: supervised_loss(drawn(4, 3), FINDINGS, weights=torch.ones(3)), "weight for each"),
    (lambda: prototype_loss(drawn(8, 3), LABELS, temperature=0.0), "must be positive"),
]


@pytest.mark.parametrize(("call", "said"), BAD)
def test_bad_input_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()
