"""Centre and Sinkhorn–Knopp: balance, memory, pieces of a step, several processes, and batches that are too small."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from radapt.errors import UsageError
from radapt.mmdino.centring import Centre, Centring, Sinkhorn, sinkhorn
from radapt.mmdino.pseudo_labels import PseudoLabels


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_sinkhorn_uses_prototypes_alike_and_samples_sum_to_one() -> None:
    leaning = drawn(64, 4) + torch.tensor([5.0, 0, 0, 0])
    found = sinkhorn(leaning, 0.5, iterations=50)
    torch.testing.assert_close(found.sum(1), torch.ones(64))
    torch.testing.assert_close(found.mean(0), torch.full((4,), 0.25), atol=1e-4, rtol=0)
    shares = torch.tensor([0.7, 0.1, 0.1, 0.1])
    torch.testing.assert_close(sinkhorn(leaning, 0.5, 50, shares=shares).mean(0), shares, atol=1e-4, rtol=0)


def test_sinkhorn_does_not_depend_on_what_all_logits_share() -> None:
    logits = drawn(6, 4)
    moved = logits + drawn(6, 1, seed=1) + drawn(1, 4, seed=2)  # of a sample, of a prototype: both are scaled away
    torch.testing.assert_close(sinkhorn(moved, 0.3, 200), sinkhorn(logits, 0.3, 200), atol=1e-4, rtol=0)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    torch.testing.assert_close(sinkhorn(logits[order], 0.3), sinkhorn(logits, 0.3)[order])
    torch.testing.assert_close(sinkhorn(logits.view(2, 3, 4), 0.3).flatten(0, 1), sinkhorn(logits, 0.3))


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_sinkhorn_survives_logits_that_exp_does_not(scale: float) -> None:
    found = sinkhorn(scale * drawn(8, 5), 0.04)
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(1), torch.ones(8))


def test_sinkhorn_of_few_samples() -> None:
    """A single sample is spread over all prototypes, and two that differ share them."""
    torch.testing.assert_close(sinkhorn(drawn(1, 8), 0.1), torch.full((1, 8), 1 / 8))
    found = sinkhorn(torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]), 0.1)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]), atol=1e-3, rtol=0)
    assert sinkhorn(drawn(0, 8), 0.1).shape == (0, 8)


def test_memory_makes_a_small_batch_decided() -> None:
    """One sample among 1,024 remembered ones keeps its own opinion; alone it has none."""
    made, sample = Sinkhorn(8, memory=1024), 2 * drawn(1, 8)
    torch.testing.assert_close(made.probabilities(sample, 0.1), torch.full((1, 8), 1 / 8))
    made.collect(drawn(1024, 8, seed=5))
    torch.testing.assert_close(made.probabilities(sample, 0.1), torch.full((1, 8), 1 / 8))  # not before `move`
    made.move()
    found = made.probabilities(sample, 0.1)
    assert found.argmax() == sample.argmax()
    assert found.max() > 0.9
    expected = sinkhorn(torch.cat([sample, drawn(1024, 8, seed=5)]), 0.1)[:1]
    torch.testing.assert_close(found, expected)


def test_memory_keeps_the_newest_and_some_of_every_image() -> None:
    made, rows = Sinkhorn(1, memory=4), torch.arange(10.0)[:, None]
    for part in (rows[:3], rows[3:5]):
        made.collect(part)
        made.move()
    assert made.recent.flatten().tolist() == [1, 2, 3, 4]
    assert int(made.filled) == 4
    made.collect(rows[:8])  # twice as many as fit
    made.move()
    assert made.recent.flatten().tolist() == [0, 2, 4, 6]


def test_without_memory_sinkhorn_is_that_of_the_batch() -> None:
    made = Sinkhorn(4, memory=0)
    made.collect(drawn(5, 4))
    made.move()
    torch.testing.assert_close(made.probabilities(drawn(2, 3, 4), 0.1), sinkhorn(drawn(2, 3, 4), 0.1))


MAKE: list[Callable[[], Centring]] = [lambda: Centre(4), lambda: Sinkhorn(4, memory=16)]


@pytest.mark.parametrize("make", MAKE)
def test_a_step_in_pieces_leaves_what_the_whole_leaves(make: Callable[[], Centring]) -> None:
    whole, pieces, logits = make(), make(), drawn(6, 4)
    whole.collect(logits)
    pieces.collect(drawn(3, 4, seed=9))  # an attempt that did not fit in memory
    pieces.start()
    for part in (logits[:1], logits[1:1], logits[1:]):
        pieces.collect(part)
    for made in (whole, pieces):
        made.move()
        made.move()  # nothing was collected since
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(pieces.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("make", MAKE)
def test_what_is_remembered_goes_through_a_checkpoint(make: Callable[[], Centring]) -> None:
    first, second = make(), make()
    first.collect(drawn(6, 4))
    first.move()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.probabilities(drawn(2, 4), 0.1), second.probabilities(drawn(2, 4), 0.1))


@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("columns", [slice(None), 1], ids=["all", "one"])
def test_logits_that_are_not_finite_are_not_remembered(make: Callable[[], Centring], columns: slice | int) -> None:
    made, logits = make(), drawn(2, 4)
    logits[:, columns] = torch.nan
    made.collect(logits)
    made.move()
    torch.testing.assert_close(made.probabilities(drawn(5, 4), 0.1), make().probabilities(drawn(5, 4), 0.1))


def test_bfloat16_logits_give_float32_targets() -> None:
    logits = drawn(6, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [make().probabilities(logits, 0.04) for make in MAKE]
    assert [each.dtype for each in found] == [torch.float32, torch.float32]
    assert all(torch.allclose(each.sum(1), torch.ones(6)) for each in found)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sinkhorn(drawn(2, 3), 0.0), "must be positive, not 0"),
        (lambda: sinkhorn(drawn(2, 3), float("nan")), "must be positive, not nan"),
        (lambda: sinkhorn(drawn(2, 3), 0.1, 0), "at least one iteration, not 0"),
        (lambda: sinkhorn(drawn(2, 3), 0.1, shares=torch.ones(2)), "each of 3 prototypes"),
        (lambda: sinkhorn(drawn(2, 3), 0.1, shares=torch.tensor([1.0, 0.0, 1.0])), "positive share"),
        (lambda: Centre(3).probabilities(drawn(2, 3), -1.0), "must be positive, not -1"),
        (lambda: Centre(0), "not 0 and 0.9"),
        (lambda: Centre(3, 1.5), "not 3 and 1.5"),
        (lambda: Sinkhorn(3, -1), "not 3, -1"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        call()


def remembered(rank: int, world: int, port: int, folder: str) -> None:
    """One process: it collects its part of the logits, as unequal as can be, and writes what is left."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    part = drawn(7, 3)
    found = {}
    for name, made in everything().items():
        if rank == 0:
            made.collect(part[:2])
            made.collect(part[2:])
        made.move()
        found[name] = made.state_dict()
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def everything() -> dict[str, Centre | Sinkhorn | PseudoLabels]:
    return {"centre": Centre(3), "sinkhorn": Sinkhorn(3, 8), "pseudo": PseudoLabels(torch.tensor([0.5, 0.3, 0.2]))}


@pytest.mark.slow
def test_two_processes_remember_what_one_does(tmp_path: Path) -> None:
    """Real processes and gloo; one of them has no sample at all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('found', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        f"module.remembered(int(sys.argv[1]), 2, {port}, {str(tmp_path)!r})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(rank)]) for rank in range(2)]
    assert [each.wait(timeout=600) for each in running] == [0, 0]
    expected = everything()
    for made in expected.values():
        made.collect(drawn(7, 3))
        made.move()
    for rank in range(2):
        left = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, made in expected.items():
            for key, value in made.state_dict().items():
                torch.testing.assert_close(left[name][key], value, msg=f"{name} {key}")
