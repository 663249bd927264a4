"""`make kills` in short."""

from pathlib import Path

import pytest

from kills.jobs import jobs
from kills.killing import kill_at_random


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2], ids=["run", "embed", "adapt"])
def test_killed_at_random_points_a_command_ends_with_the_same_bits(number: int, tmp_path: Path) -> None:
    job = jobs(tmp_path)[number]
    result = kill_at_random(job, tmp_path / "work", kills=3, seed=1)
    assert result.kills == 3
    assert not result.different
