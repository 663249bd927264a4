"""The projection onto prototypes against NumPy, and a classifier that starts with the same answer for everybody."""

import copy
import math

import numpy as np
import pytest
import torch

from radapt.errors import UsageError
from radapt.mmdino.heads import ClassifierHead, ProjectionHead, Prototypes


def head(**changed: int) -> ProjectionHead:
    return ProjectionHead(6, 5, **{"hidden": 8, "bottleneck": 4, "seed": 3} | changed)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_projection_is_an_mlp_and_scaled_cosines(layers: int) -> None:
    """Transcribed: GELU by its error function, lengths by their squares."""
    made, x = head(layers=layers), drawn(7, 6)
    with torch.no_grad():
        made.last.logit_scale.copy_(torch.linspace(0.5, 2, 5))
    state = {name: value.double().numpy() for name, value in made.state_dict().items()}
    y = x.double().numpy()
    for step in range(layers):
        if step:
            y = y * 0.5 * (1 + np.vectorize(math.erf)(y / np.sqrt(2)))
        y = y @ state[f"mlp.{2 * step}.weight"].T + state[f"mlp.{2 * step}.bias"]
    y /= np.sqrt((y**2).sum(1, keepdims=True))
    directions = state["last.directions"]
    expected = y @ (directions / np.sqrt((directions**2).sum(1, keepdims=True))).T * state["last.logit_scale"]
    np.testing.assert_allclose(made(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_prototypes_are_a_linear_layer_under_weight_normalisation() -> None:
    made, x = Prototypes(4, 5), drawn(3, 4)
    with torch.no_grad():
        made.logit_scale.copy_(torch.linspace(0.5, 2, 5))
    weight = torch._weight_norm(made.directions, made.logit_scale[:, None], 0)
    torch.testing.assert_close(made(x), torch.nn.functional.normalize(x, dim=1) @ weight.T)


def test_a_head_depends_on_its_seed_alone_and_draws_nothing() -> None:
    first = head()
    torch.rand(5)
    before = torch.get_rng_state()
    again, other = head(), head(seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.last.directions, other.last.directions)
    assert not torch.equal(first.mlp[0].weight, other.mlp[0].weight)


def test_a_new_head_answers_with_cosines_and_does_not_read_the_length_of_directions() -> None:
    made, x = head(), drawn(40, 6)
    answers = made(x)
    assert answers.abs().max() <= 1 + 1e-5
    with torch.no_grad():
        made.last.directions.mul_(7)
    torch.testing.assert_close(made(x), answers)


def test_bfloat16_and_odd_shapes() -> None:
    made, x = head(), drawn(2, 3, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answers = made(x)
    assert answers.shape == (2, 3, 5)
    assert answers.dtype == torch.float32
    torch.testing.assert_close(answers, made(x), atol=0.03, rtol=0)
    assert made(drawn(0, 6)).shape == (0, 5)
    zero = copy.deepcopy(made)
    with torch.no_grad():
        zero.mlp[-1].weight.zero_()
    answers = zero(x)
    answers.sum().backward()
    assert answers.abs().max() == 0
    assert all(each.grad.isfinite().all() for each in zero.parameters() if each.grad is not None)


def test_the_scale_of_prototypes_does_not_decay() -> None:
    from radapt.training import parameter_groups

    made = head()
    decaying = {id(each) for group in parameter_groups(made) if group.decay for each in group.parameters}
    assert id(made.last.directions) in decaying
    assert id(made.last.logit_scale) not in decaying


@pytest.mark.parametrize("name", ["width", "prototypes", "hidden", "bottleneck", "layers"])
def test_sizes_below_one_are_named(name: str) -> None:
    sizes = {"width": 6, "prototypes": 5, "hidden": 8, "bottleneck": 4, "layers": 2, name: 0}
    with pytest.raises(UsageError, match=rf"{name} of at least 1, not 0"):
        ProjectionHead(**sizes, seed=0)


def test_a_classifier_starts_with_zero_for_everybody_and_moves_nothing_else_at_first() -> None:
    made, cls = ClassifierHead(6, 3), drawn(4, 6).requires_grad_()
    logits = made(cls)
    assert torch.equal(logits, torch.zeros(4, 3))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    assert cls.grad is not None
    assert cls.grad.abs().max() == 0
    assert made.weight.grad.abs().max() > 0


def test_a_classifier_reads_the_patch_mean_behind_cls() -> None:
    made = ClassifierHead(2, 1, patch_mean=True)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
        made.bias.fill_(0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made(torch.tensor([[1.0, 2.0]]).bfloat16(), torch.tensor([[3.0, 4.0]]))
    assert found.dtype == torch.float32
    assert found.item() == 4321.5


@pytest.mark.parametrize(
    ("patch_mean", "cls", "patches", "said"),
    [
        (False, (3, 6), (3, 6), "CLS alone; a patch mean was given"),
        (True, (3, 6), None, "CLS and the patch mean; no patch mean was given"),
        (False, (3, 5), None, "features of width 6, not 5"),
        (True, (3, 6), (3, 7), "features of width 6, not 7"),
    ],
)
def test_a_classifier_refuses_what_it_cannot_read(
    patch_mean: bool, cls: tuple[int, ...], patches: tuple[int, ...] | None, said: str
) -> None:
    made = ClassifierHead(6, 3, patch_mean=patch_mean)
    with pytest.raises(UsageError, match=said):
        made(torch.zeros(cls), None if patches is None else torch.zeros(patches))


def test_a_classifier_needs_outputs() -> None:
    with pytest.raises(UsageError, match="not 6 and 0"):
        ClassifierHead(6, 0)
