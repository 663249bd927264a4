"""TransUNet: any size in, the same size out; every part is trained; positions belong to the image."""

import pytest
import torch

from radapt.errors import UsageError
from radapt.networks.transunet import build_transunet


@pytest.mark.parametrize("size", [(64, 48), (33, 65), (16, 16), (5, 7)])
@pytest.mark.parametrize("channels", [1, 4])
def test_logits_have_the_size_of_the_image(size: tuple[int, int], channels: int) -> None:
    net = build_transunet("tiny", channels, 3, size).eval()
    with torch.no_grad():
        found = net(torch.rand(2, channels, *size))
    assert tuple(found.shape) == (2, 3, *size)
    assert torch.isfinite(found).all()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "stride", "tokens"), [("base", 16, 4 * 6), ("small", 32, 2 * 3)])
def test_the_hybrids_of_timm_are_those_of_the_paper(size: str, stride: int, tokens: int) -> None:
    net = build_transunet(size, 1, 2, (64, 96)).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        assert tuple(net(torch.rand(1, 1, 64, 96)).shape) == (1, 2, 64, 96)
    assert (net.stride, net.vit.pos_embed.shape[1]) == (stride, tokens + 1)
    assert net.skips[-1] == 64  # the stem's map, at half the size, comes last


def test_every_parameter_learns() -> None:
    net = build_transunet("tiny", 2, 3, (32, 32)).train()
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):  # residual branches start at zero, and learn from the second step on
        optimiser.zero_grad()
        net(torch.rand(2, 2, 32, 32)).square().mean().backward()
        optimiser.step()
    idle = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    assert idle == set()


def test_the_seed_decides_the_weights_and_the_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, same, other = (build_transunet("tiny", 1, 2, (32, 32), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_padding_does_not_move_the_image() -> None:
    """An image and its part: what the network says of the left upper corner depends on what is there."""
    net = build_transunet("tiny", 1, 2, (32, 32)).eval()
    image = torch.zeros(1, 1, 20, 20)
    padded = torch.zeros(1, 1, 32, 32)
    image[..., 3:8, 4:9] = padded[..., 3:8, 4:9] = 1.0
    with torch.no_grad():
        assert torch.allclose(net(image), net(padded)[..., :20, :20], atol=1e-5)


def test_it_learns_where_a_square_is() -> None:
    net = build_transunet("tiny", 1, 2, (32, 32)).train()
    made_of = torch.Generator().manual_seed(0)
    labels = torch.zeros(4, 32, 32, dtype=torch.int64)
    for number in range(4):
        row, column = (int(n) for n in torch.randint(0, 16, (2,), generator=made_of))
        labels[number, row : row + 12, column : column + 12] = 1
    images = (0.3 + 0.5 * labels[:, None]) + 0.05 * torch.randn(4, 1, 32, 32, generator=made_of)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("size", "pretrained", "says"),
    [("huge", False, "Unknown size 'huge'"), ("tiny", True, "no pretrained weights")],
)
def test_what_there_is_not_is_said(size: str, pretrained: bool, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build_transunet(size, 1, 2, (32, 32), pretrained=pretrained)  # type: ignore[arg-type]
