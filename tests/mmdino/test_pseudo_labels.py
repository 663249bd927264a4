"""What the teacher's answers teach: sharpening, alignment to the cohort, confidence, and what a few patients gain."""

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from radapt.errors import UsageError
from radapt.mmdino.label_encoding import Kind, adjusted
from radapt.mmdino.pseudo_labels import MEMORY, Confidence, PseudoLabels, consistency_loss

SHARES = torch.tensor([0.6, 0.3, 0.1])
OFF: dict[str, Any] = {"temperature": 1.0, "alignment": 0.0, "confidence": "all"}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lived(made: PseudoLabels, logits: Tensor, steps: int = 40) -> PseudoLabels:
    for _ in range(steps):
        made.start()
        made.collect(logits)
        made.move()
    return made


def test_with_all_switched_off_targets_are_the_teachers_answers() -> None:
    logits = drawn(5, 3)
    targets, weights = lived(PseudoLabels(SHARES, **OFF), logits)(logits)
    torch.testing.assert_close(targets[:, 0], torch.softmax(logits, 1))
    assert torch.equal(weights, torch.ones(5, 1))
    targets, weights = PseudoLabels(SHARES, "findings", **OFF)(logits)
    torch.testing.assert_close(targets[..., 0], torch.sigmoid(logits))
    assert torch.equal(weights, torch.ones(5, 3))


@pytest.mark.parametrize("temperature", [0.25, 0.5])
def test_sharpening_is_a_power(temperature: float) -> None:
    logits = drawn(5, 3)
    targets, _ = PseudoLabels(SHARES, **OFF | {"temperature": temperature})(logits)
    raised = torch.softmax(logits, 1) ** (1 / temperature)
    torch.testing.assert_close(targets[:, 0], raised / raised.sum(1, keepdim=True))


def test_temperature_zero_gives_the_likeliest_answer_after_alignment() -> None:
    made = PseudoLabels(SHARES, **OFF | {"temperature": 0.0})
    targets, _ = made(torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]]))
    assert targets[:, 0].tolist() == [[0, 1, 0], [1, 0, 0]]
    leaning = PseudoLabels(torch.tensor([0.1, 0.9]), **OFF | {"temperature": 0.0, "alignment": 1.0})
    lived(leaning, torch.tensor([[2.0, 0.0]]))
    assert leaning(torch.tensor([[1.0, 0.0]]))[0][0, 0].tolist() == [0, 1]


def test_alignment_is_the_share_over_what_is_answered_on_average() -> None:
    logits = drawn(64, 3)
    made = lived(PseudoLabels(SHARES), logits, steps=200)
    sharp = torch.softmax(2 * logits, 1)
    expected = sharp * SHARES / sharp.mean(0)
    torch.testing.assert_close(made(logits)[0][:, 0], expected / expected.sum(1, keepdim=True), atol=1e-4, rtol=0)
    half = lived(PseudoLabels(SHARES, alignment=0.5), logits, steps=200)
    expected = sharp * (SHARES / sharp.mean(0)).sqrt()
    torch.testing.assert_close(half(logits)[0][:, 0], expected / expected.sum(1, keepdim=True), atol=1e-4, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_alignment_moves_frequencies_towards_the_cohort(temperature: float) -> None:
    """A teacher that leans by two to the third class, which a tenth of the patients have."""
    logits = drawn(256, 3) + torch.tensor([0.0, 0.0, 2.0])
    plain, aligned = (
        lived(PseudoLabels(SHARES, alignment=alignment, temperature=temperature), logits)(logits)[0]
        for alignment in (0.0, 1.0)
    )
    torch.testing.assert_close(aligned.sum(2), torch.ones(256, 1))
    off, left = ((each.mean(0)[0] - SHARES).abs().sum() for each in (plain, aligned))
    assert left < 0.6 * off


def test_alignment_of_findings_is_that_of_each() -> None:
    logits = 2 * drawn(256, 2) + torch.tensor([3.0, 0.0])
    shares = torch.tensor([0.3, 0.8])
    targets, _ = lived(PseudoLabels(shares, "findings"), logits)(logits)
    plain, _ = PseudoLabels(shares, "findings", alignment=0.0)(logits)
    off, left = ((each[..., 0].mean(0) - shares).abs() for each in (plain, targets))
    assert (left < off).all()
    alone, _ = lived(PseudoLabels(shares[:1], "findings"), logits[:, :1])(logits[:, :1])
    torch.testing.assert_close(targets[:, :1], alone)


def test_a_classifier_that_knows_nothing_teaches_the_frequencies_of_the_cohort() -> None:
    for kind in ("classes", "findings"):
        made = PseudoLabels(SHARES, kind)  # type: ignore[arg-type]
        logits = adjusted(torch.zeros(4, 3), SHARES, kind)  # type: ignore[arg-type]
        targets, _ = lived(made, logits)(logits)
        expected = SHARES.expand(4, 1, 3) if kind == "classes" else torch.stack([SHARES, 1 - SHARES], 1).expand(4, 3, 2)
        torch.testing.assert_close(targets, expected, atol=1e-5, rtol=0)


def test_alignment_does_not_fill_a_class_that_nobody_is_thought_to_have() -> None:
    logits = torch.tensor([[9.0, 0.0, -9.0]]).expand(64, 3)
    targets, _ = lived(PseudoLabels(SHARES, temperature=1.0), logits)(logits)
    assert targets[0, 0, 0] > 0.99


def test_confidence_weights() -> None:
    """Four cases, less and less sure; the usual confidence is that of the second."""
    chances = torch.tensor([[0.98, 0.01, 0.01], [0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.4, 0.35, 0.25]])
    found = {}
    for confidence in get_args(Confidence):
        made = PseudoLabels(SHARES, **OFF | {"confidence": confidence})
        made.level.fill_(0.8)
        made.spread.fill_(0.04)
        made.answered.copy_(torch.tensor([[0.5, 0.25, 0.25]]))
        found[confidence] = made(chances.log())[1][:, 0].tolist()
    assert found["all"] == [1, 1, 1, 1]
    assert found["threshold"] == [1, 0, 0, 0]
    assert found["adaptive"] == [1, 1, 0, 0]
    fading = [torch.exp(torch.tensor(-((2 * gap) ** 2) / (2 * 0.04))).item() for gap in (0.3, 0.4)]
    assert found["soft"] == pytest.approx([1, 1, *fading], abs=1e-4)


def test_an_answer_that_is_rarely_given_needs_less_confidence() -> None:
    made = PseudoLabels(SHARES, **OFF | {"confidence": "adaptive"})
    made.level.fill_(0.8)
    made.answered.copy_(torch.tensor([[0.8, 0.1, 0.1]]))
    chances = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
    assert made(chances.log())[1][:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("confidence", get_args(Confidence))
def test_weights_are_shares(confidence: Confidence) -> None:
    logits = 3 * drawn(64, 3)
    _, weights = lived(PseudoLabels(SHARES, confidence=confidence), logits)(logits)
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert weights.sum() > 0


def test_where_the_truth_is_known_it_is_the_target() -> None:
    made = PseudoLabels(SHARES, confidence="threshold")
    targets, weights = made(drawn(3, 3), torch.tensor([2, -1, 0]))
    assert targets[::2, 0].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert weights[:, 0].tolist() == [1, 0, 1]
    targets, weights = PseudoLabels(SHARES, "findings", confidence="threshold")(
        drawn(1, 3), torch.tensor([[1.0, torch.nan, 0.0]])
    )
    assert targets[0, ::2].tolist() == [[1, 0], [0, 1]]
    assert weights[0, ::2].tolist() == [1, 1]


def test_running_means_are_those_of_the_last_cases() -> None:
    made = PseudoLabels(SHARES, temperature=1.0)
    answer = torch.tensor([[0.2, 0.5, 0.3]])
    lived(made, answer.log().expand(64, 3), steps=8)  # MEMORY cases
    assert int(made.seen) == MEMORY + 32
    torch.testing.assert_close(made.answered, answer, atol=0.03, rtol=0)
    lived(made, answer.log().expand(64, 3), steps=40)
    torch.testing.assert_close(made.answered, answer, atol=1e-3, rtol=0)
    torch.testing.assert_close(made.level, made(answer.log())[0].amax(2)[0], atol=0.02, rtol=0)


def test_a_step_in_pieces_leaves_what_the_whole_leaves_and_goes_through_a_checkpoint() -> None:
    whole, pieces, again = (PseudoLabels(SHARES) for _ in range(3))
    logits = 2 * drawn(9, 3)
    whole.collect(logits)
    pieces.collect(drawn(3, 3, seed=4))
    pieces.start()  # the attempt before did not fit in memory
    for part in (logits[:2], logits[2:2], logits[2:]):
        pieces.collect(part)
    for made in (whole, pieces):
        made.move()
        made.move()  # nothing was collected since
    again.load_state_dict(whole.state_dict())
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(pieces.state_dict()[name], value)
        assert torch.equal(again.state_dict()[name], value)


def test_logits_that_are_not_finite_are_not_remembered() -> None:
    made, logits = PseudoLabels(SHARES), drawn(4, 3)
    logits[1, 0] = torch.nan
    lived(made, logits, steps=2)
    assert int(made.seen) == 32 + 6
    assert all(value.isfinite().all() for value in made.state_dict().values())


@pytest.mark.parametrize("kind", ["classes", "findings"])
def test_consistency_is_a_mean_over_parts_cases_and_questions(kind: Kind) -> None:
    student, teacher = drawn(4, 6, 3), drawn(6, 3, seed=1)
    targets, weights = PseudoLabels(SHARES, kind)(teacher)
    weights = weights * torch.rand(weights.shape, generator=torch.Generator().manual_seed(2))
    terms = []
    for s in range(4):
        for b in range(6):
            for q in range(targets.shape[1]):
                x = student[s, b] if kind == "classes" else torch.stack([student[s, b, q], -student[s, b, q]]) / 2
                terms.append(-(targets[b, q] * torch.log_softmax(x, 0)).sum() * weights[b, q])
    torch.testing.assert_close(consistency_loss(student, targets, weights, kind), torch.stack(terms).mean())
    halves = [
        consistency_loss(student[:, part], targets[part], weights[part], kind) for part in (slice(3), slice(3, 6))
    ]
    torch.testing.assert_close(consistency_loss(student, targets, weights, kind), torch.stack(halves).mean())
    torch.testing.assert_close(
        consistency_loss(student[0], targets, weights, kind), consistency_loss(student[:1], targets, weights, kind)
    )


def test_nothing_to_be_sure_of_gives_zero_with_zero_gradients() -> None:
    student = drawn(2, 4, 3).requires_grad_()
    targets, weights = PseudoLabels(SHARES, confidence="threshold", temperature=1.0)(torch.zeros(4, 3))
    loss = consistency_loss(student, targets, weights)
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_no_gradient_reaches_the_teacher_and_bfloat16_is_read() -> None:
    teacher, student = drawn(4, 3).bfloat16().requires_grad_(), drawn(2, 4, 3).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        targets, weights = PseudoLabels(SHARES)(teacher)
        loss = consistency_loss(student, targets, weights)
    loss.backward()
    assert teacher.grad is None
    assert (targets.dtype, weights.dtype, loss.dtype) == (torch.float32,) * 3
    assert student.grad is not None
    assert student.grad.isfinite().all()


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: PseudoLabels(SHARES, confidence="hard"), "confidence 'hard'"),  # type: ignore[arg-type]
    (lambda: PseudoLabels(SHARES, "findngs"), "Did you mean 'findings'"),  # type: ignore[arg-type]
    (lambda: PseudoLabels(SHARES, temperature=2.0), "Temperature of pseudo-labels must be from 0 to 1, not 2.0"),
    (lambda: PseudoLabels(SHARES, alignment=-1.0), "Alignment"),
    (lambda: PseudoLabels(SHARES, threshold=1.5), "Threshold"),
    (lambda: PseudoLabels(torch.tensor([1.0, 0.0])), "between 0 and 1"),
    (lambda: PseudoLabels(SHARES[None]), r"shares \(outputs,\)"),
    (lambda: consistency_loss(drawn(2, 4, 3), torch.zeros(4, 3), torch.ones(4, 1)), "do not fit for classes"),
    (lambda: consistency_loss(drawn(2, 5, 3), torch.zeros(4, 1, 3), torch.ones(4, 1)), "do not fit"),
    (lambda: consistency_loss(drawn(2, 4, 3), torch.zeros(4, 1, 3), torch.ones(4)), "do not fit"),
    (lambda: consistency_loss(drawn(2, 4, 3), torch.zeros(4, 1, 3), torch.ones(4, 1), "findings"), "for findings"),
]


@pytest.mark.parametrize(("call", "said"), BAD)
def test_bad_input_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()
