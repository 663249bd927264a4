"""Bytes in a cache that are not what was written cost time, and never become numbers; nor does a changed image."""

import os
import re
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt import sealed
from radapt.errors import DataError
from radapt.features import Features, extract
from radapt.features.export import write_embedding
from radapt.features.extract import Extraction
from radapt.images import Recipe

RECIPE = Recipe.for_kind("other", size=16)
Make = Callable[..., Any]


def pooled(cohort: Any, backbone: Any, cache: Path) -> np.ndarray:
    features: Features = extract(cohort, backbone, cache=cache, recipe=RECIPE, layers=(-1,), batch=4)
    return np.array(features.pooled())


def flip(path: Path, at: int, *, keep_times: bool = False) -> None:
    facts = path.stat()
    with path.open("r+b") as file:
        file.seek(at % facts.st_size)
        byte = file.read(1)
        file.seek(at % facts.st_size)
        file.write(bytes([byte[0] ^ 64]))
    if keep_times:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("old_stop", ['"stop": 6', '"stop": 12'])
@pytest.mark.parametrize("stop", ['"stop": -1', '"stop": 4', '"stop": 13'])
def test_a_damaged_width_of_rows_gives_the_same_numbers(
    old_stop: str, stop: str, toy_cohort: Make, toy_backbone: Make, tmp_path: Path
) -> None:
    cohort = toy_cohort()
    expected = pooled(cohort, toy_backbone(), tmp_path / "cache")
    (config,) = (tmp_path / "cache").glob("features/*/config.json")
    text = config.read_text()
    assert old_stop in text
    config.write_text(text.replace(old_stop, stop))
    shutil.rmtree(config.parent / "pooled")
    np.testing.assert_array_equal(pooled(cohort, toy_backbone(), tmp_path / "cache"), expected)
    assert config.read_text() == text


@pytest.mark.parametrize("keep_times", [False, True])
@pytest.mark.parametrize(
    ("pattern", "gone"),
    [("slices/*/*.npy", ["features"]), ("features/*/pooled/*.npy", []), ("features/*/*.f32", ["features/*/pooled"])],
)
def test_a_flipped_bit_of_a_cache_gives_the_same_numbers(
    pattern: str, gone: list[str], keep_times: bool, toy_cohort: Make, toy_backbone: Make, tmp_path: Path
) -> None:
    cohort = toy_cohort()
    expected = pooled(cohort, toy_backbone(), tmp_path / "cache")
    for at in (3, 150, -60, -20, -3):
        for path in (tmp_path / "cache").glob(pattern):
            flip(path, at, keep_times=keep_times)
        for name in gone:
            for folder in (tmp_path / "cache").glob(name):
                shutil.rmtree(folder)
        np.testing.assert_array_equal(pooled(cohort, toy_backbone(), tmp_path / "cache"), expected)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: re.sub(rb'(",)0,', rb"\g<1>1,", text, count=1),
        lambda text: b"[" * 100_000 + b"\n" + text,
        lambda text: text.replace(b"\n", b"\xff\n", 1),
        lambda text: text[:-4],
    ],
)
def test_a_damaged_index_gives_the_same_numbers(
    damage: Callable[[bytes], bytes], toy_cohort: Make, toy_backbone: Make, tmp_path: Path
) -> None:
    cohort = toy_cohort()
    expected = pooled(cohort, toy_backbone(), tmp_path)
    (index,) = tmp_path.glob("features/*/*.jsonl")
    assert damage(index.read_bytes()) != index.read_bytes()
    index.write_bytes(damage(index.read_bytes()))
    shutil.rmtree(index.parent / "pooled")
    np.testing.assert_array_equal(pooled(cohort, toy_backbone(), tmp_path), expected)


def test_damage_is_noted(
    toy_cohort: Make,
    toy_backbone: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealed, "_damaged", count(1))  # of this process, which names the first few only
    pooled(toy_cohort(), toy_backbone(), tmp_path)
    assert not caplog.records
    (path,) = tmp_path.glob("features/*/pooled/*.npy")
    flip(path, -40)
    pooled(toy_cohort(), toy_backbone(), tmp_path)
    assert re.search(r"damaged.*made again", caplog.text)


def test_the_entry_of_another_image_is_not_taken(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort = toy_cohort()
    expected = pooled(cohort, toy_backbone(), tmp_path)
    entries = sorted(tmp_path.glob("slices/*/*.npy"))
    same = [entry for entry in entries if entry.stat().st_size == entries[0].stat().st_size]
    shutil.copy(same[1], same[0])
    shutil.rmtree(tmp_path / "features")
    np.testing.assert_array_equal(pooled(cohort, toy_backbone(), tmp_path), expected)


def test_an_image_that_changes_after_its_digest_fails(
    toy_cohort: Make, toy_backbone: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, find = toy_cohort(), Extraction.find
    expected = pooled(cohort, toy_backbone(), tmp_path / "apart")
    path = cohort.cases[0].images["t1"].path
    before, other = path.read_bytes(), cohort.cases[1].images["t1"].path.read_bytes()

    def replaced(self: Extraction, cohort: Any) -> Any:
        found = find(self, cohort)
        path.write_bytes(other)
        return found

    monkeypatch.setattr(Extraction, "find", replaced)
    with pytest.raises(DataError, match=rf"(?s)1 of .*{re.escape(path.name)} changed while"):
        pooled(cohort, toy_backbone(), tmp_path / "cache")
    monkeypatch.undo()
    path.write_bytes(before)
    np.testing.assert_array_equal(pooled(cohort, toy_backbone(), tmp_path / "cache"), expected)


def test_what_a_killed_embed_left_is_removed(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    features = extract(toy_cohort(cases=2), toy_backbone(), cache=tmp_path / "cache", recipe=RECIPE, layers=(-1,))
    out = tmp_path / "out"
    out.mkdir()
    own, foreign = out / ".features.npy.0123abcd.part", out / ".thesis.pdf.0123abcd.part"
    own.touch()
    foreign.touch()
    write_embedding(features, out, {})
    assert not own.exists()
    assert foreign.exists()
    assert (out / "features.npy").is_file()
