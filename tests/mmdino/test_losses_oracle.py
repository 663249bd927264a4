"""DINO, iBOT, KoLeo, centre and Sinkhorn–Knopp against NumPy transcriptions of their formulas and against figures of
the official DINOv2 code (where they are at hand)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from radapt.mmdino.centring import Centre, sinkhorn
from radapt.mmdino.losses import dino_loss, ibot_loss, koleo

ORACLE = Path(__file__).parents[3] / "shared" / "oracles" / "dinov2_losses.npz"


@pytest.fixture(scope="module")
def official() -> dict[str, torch.Tensor]:
    if not ORACLE.exists():
        pytest.skip("figures of the official DINOv2 code are not beside the project (shared/oracles)")
    with np.load(ORACLE, allow_pickle=False) as found:
        return {name: torch.from_numpy(found[name]) for name in found.files}


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal(shape)


def chances(*shape: int, seed: int = 7) -> np.ndarray:
    return np.exp(log_softmax(drawn(*shape, seed=seed, scale=3)))


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).float()


@pytest.mark.parametrize("same", [None, (), ((0, 1), (4, 0))])
@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_dino_is_the_mean_over_pairs_and_images(same: tuple[tuple[int, int], ...] | None, temperature: float) -> None:
    student, teacher = drawn(5, 3, 8), chances(2, 3, 8)
    skipped = {(0, 0), (1, 1)} if same is None else set(same)
    terms = [
        np.mean([-(teacher[g, b] * log_softmax(student[s, b] / temperature)).sum() for b in range(3)])
        for s in range(5)
        for g in range(2)
        if (s, g) not in skipped
    ]
    assert dino_loss(tensor(student), tensor(teacher), temperature, same).item() == pytest.approx(
        np.mean(terms), rel=1e-5
    )
    parts = [tensor(student[:2]), tensor(student[2:])]
    assert dino_loss(parts, tensor(teacher), temperature, same).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_ibot_weighs_patches_by_their_image() -> None:
    """Four images with 3, 0, 1 and 2 hidden patches, in a wild order."""
    owner = np.array([2, 0, 3, 0, 3, 0])
    student, teacher = drawn(6, 8), chances(6, 8)
    crossed = -(teacher * log_softmax(student / 0.1)).sum(1)
    expected = (crossed[[1, 3, 5]].mean() + 0 + crossed[0] + crossed[[2, 4]].mean()) / 4
    found = ibot_loss(tensor(student), tensor(teacher), torch.from_numpy(owner), 4)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_koleo_is_the_distance_to_the_nearest() -> None:
    x = drawn(9, 5)
    unit = x / np.sqrt((x**2).sum(1, keepdims=True))
    gaps = np.sqrt(((unit[:, None] - unit[None]) ** 2).sum(2))
    nearest = np.where(np.eye(9, dtype=bool), np.inf, gaps).min(1)
    assert koleo(tensor(x)).item() == pytest.approx(-np.log(nearest).mean(), rel=1e-5)


@pytest.mark.parametrize("given", [None, (0.5, 0.25, 0.15, 0.1)])
def test_sinkhorn_scales_prototypes_and_samples_in_turns(given: tuple[float, ...] | None) -> None:
    logits = drawn(6, 4)
    shares = np.full(4, 0.25) if given is None else np.array(given)
    q = np.exp(logits / 0.3).T  # (K, n), as SwAV writes it
    q /= q.sum()
    for _ in range(3):
        q *= (shares / q.sum(1))[:, None]
        q *= 1 / 6 / q.sum(0)
    found = sinkhorn(tensor(logits), 0.3, shares=None if given is None else torch.tensor(given))
    np.testing.assert_allclose(found.numpy(), (q * 6).T, rtol=1e-5, atol=1e-6)


def test_the_centre_is_taken_away_and_moves() -> None:
    made, logits = Centre(4, momentum=0.8), drawn(2, 3, 4)
    with torch.no_grad():
        made.centre.copy_(torch.tensor([1.0, -1.0, 0.5, 0.0]))
    expected = np.exp(log_softmax((logits - made.centre.numpy()) / 0.05))
    np.testing.assert_allclose(made.probabilities(tensor(logits), 0.05).numpy(), expected, atol=1e-5)
    moved = 0.8 * made.centre.numpy() + 0.2 * logits.mean((0, 1))
    made.collect(tensor(logits))
    made.move()
    np.testing.assert_allclose(made.centre.numpy(), moved, rtol=1e-5, atol=1e-6)


def test_official_dino(official: dict[str, torch.Tensor]) -> None:
    """Student 0.1, teacher 0.05; the official loss adds up all 10 × 2 pairs, of which ours is the mean."""
    made = Centre(32)
    made.centre.copy_(official["dino_center"][0])
    teacher = made.probabilities(official["dino_teacher_logits"], 0.05)
    torch.testing.assert_close(teacher, official["dino_teacher_softmax"])
    loss = 20 * dino_loss(official["dino_student_logits"], teacher, same=())
    torch.testing.assert_close(loss, official["dino_loss_all_pairs"])
    made.collect(official["dino_teacher_logits"])
    made.move()
    torch.testing.assert_close(made.centre, official["dino_center_after"][0])


def test_official_sinkhorn(official: dict[str, torch.Tensor]) -> None:
    found = sinkhorn(official["dino_teacher_logits"], 0.07, 3)
    torch.testing.assert_close(found.flatten(0, 1), official["dino_sinkhorn"])


def test_official_ibot(official: dict[str, torch.Tensor]) -> None:
    hidden, made = official["ibot_mask"], Centre(32)
    made.centre.copy_(official["ibot_center"].flatten())
    teacher = made.probabilities(official["ibot_teacher_logits"][hidden], 0.06)
    loss = ibot_loss(official["ibot_student_logits"][hidden], teacher, hidden.nonzero()[:, 0], len(hidden))
    torch.testing.assert_close(loss, official["ibot_loss"])


def test_official_koleo(official: dict[str, torch.Tensor]) -> None:
    """The official 10⁻⁸ inside the logarithm and ours, a least distance of 10⁻³, do not show here."""
    torch.testing.assert_close(koleo(official["koleo_features"]), official["koleo_loss"])
