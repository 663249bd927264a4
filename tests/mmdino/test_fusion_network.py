"""The fusion network on tokens written by hand: which of them decide what."""

import pytest
import torch
from torch import Tensor

from radapt.mmdino.fusion.network import FusedSlices, FusionEnsemble, FusionNetwork, FusionShape

SHAPE = FusionShape(token=6, sequences=3, patches=4, outputs=2, lesions=1, width=32, depth=2, dropout=0.1)


@pytest.fixture
def network() -> FusionNetwork:
    """With a head and embeddings that tell sequences apart, as after some training."""
    made = FusionNetwork(SHAPE, torch.tensor([0.1]), seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (made.head.weight, made.modality, made.mask_token):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made


def tokens(slices: int, seed: int = 1) -> Tensor:
    return torch.randn(slices, 3, 5, 6, generator=torch.Generator().manual_seed(seed))


def logits(network: FusionNetwork, given: Tensor, visible: Tensor, case: list[int]) -> Tensor:
    with torch.no_grad():
        return network.logits(network(given, visible), torch.tensor(case), max(case) + 1)


def test_other_cases_of_a_batch_change_nothing(network: FusionNetwork) -> None:
    given, visible = tokens(5), torch.tensor([[True, True, True]] * 2 + [[True, False, False]] * 3)
    both = logits(network, given, visible, [0, 0, 1, 1, 1])
    torch.testing.assert_close(both[:1], logits(network, given[:2], visible[:2], [0, 0]))
    torch.testing.assert_close(both[1:], logits(network, given[2:], visible[2:], [0, 0, 0]))


def test_the_order_of_slices_changes_nothing(network: FusionNetwork) -> None:
    given, visible = tokens(3), torch.ones(3, 3, dtype=torch.bool)
    turned = logits(network, given.flip(0), visible, [0, 0, 0])
    torch.testing.assert_close(logits(network, given, visible, [0, 0, 0]), turned)


def test_the_order_of_sequences_changes_nothing(network: FusionNetwork) -> None:
    given, visible, order = tokens(2), torch.tensor([[True, False, True]] * 2), [2, 0, 1]
    before = logits(network, given, visible, [0, 0])
    with torch.no_grad():
        network.modality.copy_(network.modality[order].clone())
    torch.testing.assert_close(before, logits(network, given[:, order], visible[:, order], [0, 0]))


def test_tokens_of_an_absent_sequence_are_never_used(network: FusionNetwork) -> None:
    given, visible = tokens(2), torch.tensor([[True, False, True]] * 2)
    before = logits(network, given, visible, [0, 0])
    given[:, 1] = torch.nan
    assert torch.equal(before, logits(network, given, visible, [0, 0]))


def test_an_absent_sequence_is_as_if_the_network_had_no_such_sequence(network: FusionNetwork) -> None:
    given, visible = tokens(2), torch.tensor([[True, False, True]] * 2)
    before = logits(network, given, visible, [0, 0])
    network.modality = torch.nn.Parameter(network.modality[[0, 2]])
    torch.testing.assert_close(before, logits(network, given[:, [0, 2]], visible[:, [0, 2]], [0, 0]))


def test_a_hidden_sequence_is_predicted_and_changes_nothing_else(network: FusionNetwork) -> None:
    given, visible = tokens(2), torch.tensor([[True, False, True]] * 2)
    plain: FusedSlices = network(given, visible)
    hiding: FusedSlices = network(given, visible, ~visible)
    assert torch.equal(plain.vectors, hiding.vectors)
    assert plain.predicted is None
    assert hiding.predicted is not None
    assert hiding.predicted.shape == (2, 3, 4, 6)


def test_slices_with_more_predicted_lesion_weigh_more(network: FusionNetwork) -> None:
    assert network.lesion is not None
    fused: FusedSlices = network(tokens(8), torch.ones(8, 3, dtype=torch.bool))
    share = torch.sigmoid(fused.lesions).mean((1, 2, 3))
    torch.testing.assert_close(fused.weights, share + 0.02)


def test_members_start_from_other_weights_and_equal_seeds_from_equal_ones() -> None:
    first, again = (FusionEnsemble(SHAPE, 2, torch.tensor([0.1]), seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    one, two = (member.state_dict()["embed_cls.weight"] for member in first.members)
    assert not torch.equal(one, two)
