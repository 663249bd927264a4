"""LoRA and DoRA computed with fewer passes, against peft's own forward."""

import copy

import pytest
import torch
from torch import Tensor, nn

from radapt.networks import adapt, train_mode
from radapt.networks.adapters.lean_lora import _DropAndMultiply, _kept
from radapt.networks.adapters.lora import tuners


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(24, 40), nn.Linear(40, 24, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(torch.relu(self.fc1(x)))


def adapted(method: str, dropout: float, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Two blocks with adapters that are away from their start."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Module()
    module.blocks = nn.ModuleList([Block(), Block()])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        module.to(dtype)
        adapt(module, method, rank=4, alpha=6, dropout=dropout)
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.1).add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    train_mode(module)
    return module


def plain(module: nn.Module, method: str) -> nn.Module:
    """A copy that computes by peft's own code."""
    from peft.tuners.lora.variants import DoraLinearVariant

    found = copy.deepcopy(module)
    for _, tuner in tuners(found):
        tuner.lora_variant.clear()  # type: ignore[operator]
        tuner.cast_input_dtype_enabled = True
        if method == "dora":
            tuner.lora_variant["default"] = DoraLinearVariant()  # type: ignore[index, operator]
    return found


def run(module: nn.Module, x: Tensor) -> Tensor:
    for block in module.blocks:  # type: ignore[union-attr]
        x = block(x)
    return x


def given(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("method", ["lora", "dora"])
@pytest.mark.parametrize("training", [True, False])
def test_equals_peft(method: str, training: bool) -> None:
    module = adapted(method, 0.0 if training else 0.3)
    other = plain(module, method)
    if not training:
        module.eval()
        other.eval()
    found = []
    for each in (module, other):
        x = given().requires_grad_(True)
        out = run(each, x)
        out.sin().sum().backward()
        found.append([out, x.grad, *(p.grad for p in each.parameters() if p.requires_grad)])
    assert len(found[0]) == len(found[1]) == 2 + 4 * (3 if method == "dora" else 2)
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_equals_peft_under_autocast(method: str) -> None:
    module = adapted(method, 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = run(module, given()), run(plain(module, method), given())
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.05, atol=0.1)
    ours.float().sum().backward()


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_weights_in_bfloat16_are_answered_in_bfloat16(method: str) -> None:
    module = adapted(method, 0.2, torch.bfloat16)
    out = run(module, given(torch.bfloat16))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    module.eval()
    assert run(module, given(torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_dropout_changes_nothing_on_average(method: str) -> None:
    layer = adapted(method, 0.25).blocks[0].fc1  # type: ignore[index, union-attr]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        drawn = torch.stack([layer(given()) for _ in range(2000)])
        layer.eval()
        torch.testing.assert_close(
            drawn.mean(0), layer(given()), rtol=0, atol=6 * float(drawn.std(0).max()) / 2000**0.5
        )
        assert float(drawn.std(0).min()) > 0


def test_what_is_dropped_follows_from_the_random_state_of_torch() -> None:
    x = torch.zeros(7, 1001)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first, second = _kept(x, 6554), _kept(x, 6554)
        torch.manual_seed(3)
        again = _kept(x, 6554)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0, 1}
    assert abs(float(first.float().mean()) - 0.9) < 5 * (0.09 / first.numel()) ** 0.5


def test_gradients_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    first = torch.randn(4, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    kept = (torch.rand(2, 3, 5, generator=generator) < 0.6).view(torch.int8)
    assert torch.autograd.gradcheck(lambda a, b: _DropAndMultiply.apply(a, b, kept, torch.float64), (x, first))


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_less_is_kept_for_the_step_back(method: str) -> None:
    module = adapted(method, 0.1)
    sizes = []
    for each in (module, plain(module, method)):
        kept: dict[int, int] = {}
        own = {p.data_ptr() for p in each.parameters()}

        def pack(tensor: Tensor, kept: dict[int, int] = kept, own: set[int] = own) -> Tensor:
            if tensor.data_ptr() not in own:
                kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = run(each, given())
        sizes.append(sum(kept.values()))
        del out
    assert sizes[0] < 0.75 * sizes[1]
