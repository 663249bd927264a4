"""What tests of studies share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def folds_drawn_once() -> Iterator[None]:
    """Inner folds are drawn once instead of three times, which takes a third of the time of a probe. What several draws
    do is tested where choices are; studies only store what comes of them. Other processes draw as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radapt.protocols.problem.REPEATS", 1)
        yield
