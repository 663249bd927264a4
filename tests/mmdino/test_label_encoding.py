"""Classes and findings as questions, how frequent they are, and logits adjusted by it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from radapt.errors import UsageError
from radapt.mmdino.label_encoding import Kind, adjusted, log_chances, shares, truths

UNKNOWN = float("nan")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_choice_is_one_question_and_findings_are_many() -> None:
    logits = drawn(4, 3)
    classes = log_chances(logits, "classes")
    assert classes.shape == (4, 1, 3)
    torch.testing.assert_close(classes[:, 0].exp(), torch.softmax(logits, 1))
    findings = log_chances(logits, "findings")
    assert findings.shape == (4, 3, 2)
    torch.testing.assert_close(findings[..., 0].exp(), torch.sigmoid(logits))
    torch.testing.assert_close(findings.exp().sum(2), torch.ones(4, 3))
    assert log_chances(drawn(5, 4, 3).bfloat16(), "classes").dtype == torch.float32


def test_truths_of_classes_findings_and_one_output() -> None:
    answers, known = truths(torch.tensor([2, -1, 0]), 3)
    assert answers[:, 0].tolist()[::2] == [[0, 0, 1], [1, 0, 0]]
    assert known[:, 0].tolist() == [True, False, True]
    answers, known = truths(torch.tensor([[1.0, UNKNOWN], [0.0, 1.0]]), 2)
    assert answers.tolist() == [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    assert known.tolist() == [[True, False], [True, True]]
    answers, known = truths(torch.tensor([1, 0, -1]), 1)
    assert answers[:2, 0].tolist() == [[1, 0], [0, 1]]  # yes first
    assert known[:, 0].tolist() == [True, True, False]


def test_shares_count_labelled_cases_and_one_more_of_each() -> None:
    assert shares(np.array([0, 0, 0, 1, -1, -1]), 3).tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert shares(np.array([0, 0, 0, 1, -1]), 2, pseudo_count=0.5).tolist() == [0.7, 0.3]
    findings = np.array([[1, 0], [1, np.nan], [0, np.nan]])
    assert shares(findings, 2).tolist() == pytest.approx([3 / 5, 1 / 3])
    assert shares(np.array([-1, -1]), 3).tolist() == pytest.approx([1 / 3] * 3)
    assert shares(np.full((2, 2), np.nan), 2).tolist() == [0.5, 0.5]
    assert shares(np.array([], int), 2).tolist() == [0.5, 0.5]


def test_logits_that_know_nothing_are_adjusted_to_the_shares() -> None:
    given = torch.tensor([0.6, 0.3, 0.1])
    torch.testing.assert_close(torch.softmax(adjusted(torch.zeros(2, 3), given), 1), given.expand(2, 3))
    torch.testing.assert_close(torch.sigmoid(adjusted(torch.zeros(2, 3), given, "findings")), given.expand(2, 3))
    logits = drawn(2, 3)
    torch.testing.assert_close(adjusted(logits, given, strength=0.0), logits)
    torch.testing.assert_close(adjusted(logits, given, strength=0.5), logits + 0.5 * given.log())
    torch.testing.assert_close(adjusted(logits, torch.full((3,), 1 / 3)).softmax(1), logits.softmax(1))


def test_training_through_adjusted_logits_leaves_balanced_ones() -> None:
    """One feature that tells nothing, 9 cases to 1: plain logits learn 9 to 1, adjusted ones that nothing is known."""
    labels = torch.tensor([0] * 9 + [1])
    given = torch.tensor([0.9, 0.1])
    for strength, odds in ((0.0, 9.0), (1.0, 1.0)):
        bias = torch.zeros(2)
        for _ in range(200):
            bias = bias.detach().requires_grad_()
            loss = torch.nn.functional.cross_entropy(adjusted(bias.expand(10, 2), given, strength=strength), labels)
            loss.backward()
            bias = bias - 5 * bias.grad  # type: ignore[operator]
        assert (bias[0] - bias[1]).exp().item() == pytest.approx(odds, rel=1e-2)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: truths(torch.tensor([0, 3]), 3), "from 0 to 3; expected -1 to 2"),
    (lambda: truths(torch.tensor([0, -2]), 3), "from -2 to 0"),
    (lambda: truths(torch.tensor([[0, 1]]), 2), r"class indices \(B,\)"),
    (lambda: truths(torch.tensor([[0.0, 0.5]]), 2), "1, 0 or NaN"),
    (lambda: truths(torch.tensor([[0.0, float("inf")]]), 2), "1, 0 or NaN"),
    (lambda: truths(torch.tensor([[0.0, 1.0]]), 3), r"findings \(B, 3\)"),
    (lambda: truths(torch.tensor([0.0, 1.0]), 2), r"findings \(B, 2\)"),
    (lambda: shares(np.array([0, 3]), 3), "from -1 to 2"),
    (lambda: shares(np.array([[0.0, 1.0]]), 3), r"findings \(n, 3\)"),
    (lambda: shares(np.array([0, 1]), 2, pseudo_count=0.0), "must be positive, not 0.0"),
    (lambda: adjusted(torch.zeros(2, 3), torch.tensor([0.5, 0.5])), "each of 3 outputs"),
    (lambda: adjusted(torch.zeros(2, 2), torch.tensor([1.0, 0.0])), "between 0 and 1"),
    (lambda: log_chances(torch.zeros(2, 2), "class"), "Did you mean 'classes'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "said"), BAD)
def test_bad_input_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()


@pytest.mark.parametrize("kind", ["classes", "findings"])
def test_adjusting_changes_nothing_about_gradients(kind: Kind) -> None:
    logits = drawn(2, 3).requires_grad_()
    adjusted(logits, torch.tensor([0.2, 0.3, 0.5]), kind).sum().backward()
    assert torch.equal(logits.grad, torch.ones(2, 3))  # type: ignore[arg-type]
