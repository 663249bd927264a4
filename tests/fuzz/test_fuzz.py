"""A short smoke of the fuzz harness in the default tests; `make fuzz` runs it for as long as one likes."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.attempt import FAULTS, Corpus, Outcome
from fuzz.costs import cost
from fuzz.harness import fuzz
from fuzz.target import Target, memory_folder, use_scratch
from fuzz.targets import TARGETS
from radapt.errors import DataError

SLOW = {name for name, target in TARGETS.items() if target.slow}


@pytest.mark.filterwarnings("ignore")  # libraries warn of damage
@pytest.mark.parametrize("name", sorted(set(TARGETS) - SLOW))
def test_a_few_damaged_inputs_of_every_quick_reader(name: str, tmp_path: Path) -> None:
    corpus, rng = Corpus(TARGETS[name], tmp_path), random.Random(3)
    for _ in range(8):
        damage, resealed = corpus.make(rng)
        outcome = corpus.judge(damage.content, resealed=resealed)
        assert outcome.verdict not in (set(FAULTS) - {"slow", "memory"}), (damage.kind, outcome)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_some_hundred_damaged_inputs_in_a_process_of_their_own(name: str, tmp_path: Path) -> None:
    tallies = fuzz([name], seconds=60, seed=5, out=tmp_path, most=100 if name in SLOW else 300)
    assert tallies[name].inputs
    assert not tallies[name].failed, tallies[name].faults


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nii", "nii.gz", "npy", "npz", "png", "jpg", "bmp", "tif"])
def test_damage_costs_no_more_than_a_whole_file(kind: str, tmp_path: Path) -> None:
    measured = cost(kind, tmp_path, count=60)
    assert measured.is_bounded, measured


def test_folders_in_memory_of_killed_processes_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fuzz.target._MEMORY", tmp_path)
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    left, others = tmp_path / f"radapt-fuzz-{killed.pid}-x", tmp_path / "radapt-fuzzy"
    left.mkdir()
    others.mkdir()
    first = memory_folder()
    assert left.exists()  # its process is alive
    killed.kill()
    killed.wait()
    second = memory_folder()
    assert sorted(tmp_path.iterdir()) == sorted([first, second, others])


def test_a_worker_keeps_its_folders_in_that_of_the_harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fuzz.target._scratch", None)
    use_scratch(tmp_path)
    assert memory_folder().parent == tmp_path


def toy(read: object, **facts: object) -> Target:
    return Target("toy", lambda: [b"valid" * 9], read, **facts)  # type: ignore[arg-type]


def raising(content: bytes, folder: Path) -> bytes:
    if content != b"valid" * 9:
        raise ValueError("raw")
    return content


def refusing(content: bytes, folder: Path) -> bytes:
    if content != b"valid" * 9:
        raise DataError("named")
    return content


def judged(target: Target, folder: Path, content: bytes) -> Outcome:
    return Corpus(target, folder).judge(content, resealed=False)


def test_what_counts_as_a_fault(tmp_path: Path) -> None:
    """A raw exception does, and another value does where the format has checksums."""
    assert judged(toy(raising), tmp_path, b"broken").verdict == "traceback"
    assert judged(toy(refusing), tmp_path, b"broken").verdict == "refused"
    assert judged(toy(lambda content, folder: content), tmp_path, b"broken").verdict == "other"
    assert judged(toy(lambda content, folder: content, checked=True), tmp_path, b"broken").verdict == "silent"
    assert judged(toy(lambda content, folder: 1, checked=True), tmp_path, b"broken").verdict == "same"


def test_damage_follows_from_its_seed(tmp_path: Path) -> None:
    corpus = Corpus(TARGETS["png"], tmp_path)
    assert corpus.make(random.Random(7)) == corpus.make(random.Random(7))
