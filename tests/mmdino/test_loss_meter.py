"""Parts of the loss are averaged over samples, and a failed attempt leaves no trace."""

import pytest
import torch

from radapt.mmdino.loss_meter import LossMeter

CPU = torch.device("cpu")


def test_means_are_over_samples_and_start_again() -> None:
    tally = LossMeter(["dino", "ibot", "koleo"])
    tally.start()
    tally.add({"dino": torch.tensor(1.0), "ibot": torch.tensor(5.0)}, 3)
    tally.add({"dino": torch.tensor(2.0)}, 1)
    tally.move()
    assert tally.means(CPU) == {"dino": pytest.approx(1.25), "ibot": 5.0}
    assert tally.means(CPU) == {}


def test_what_was_added_and_not_moved_is_forgotten_at_the_next_start() -> None:
    tally = LossMeter(["dino"])
    tally.add({"dino": torch.tensor(100.0)}, 3)
    tally.start()
    tally.add({"dino": torch.tensor(1.0, requires_grad=True)}, 3)
    tally.move()
    tally.move()
    assert tally.means(CPU) == {"dino": 1.0}


def test_its_sums_go_on_where_they_were() -> None:
    first, again = LossMeter(["dino"]), LossMeter(["dino"])
    for tally, value in ((first, 1.0), (again, 3.0)):
        tally.add({"dino": torch.tensor(value)}, 1)
        if tally is again:
            again.sums.copy_(first.sums)
        tally.move()
    assert again.means(CPU) == {"dino": 2.0}
