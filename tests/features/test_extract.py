"""Extraction: the same bits whatever was stored, killed, broken or shuffled before; and what cannot be read is said."""

import dataclasses
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.backbones import LazyBackbone
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.features import Features, extract
from radapt.images import Recipe
from radapt.locations import Location

RECIPE = Recipe.for_kind("other", size=16)
Make = Callable[..., Any]


def run(cohort: Cohort, backbone: Any, cache: Path, **options: Any) -> Features:
    options = {"recipe": RECIPE, "layers": (-2, -1), "batch": 4, **options}
    return extract(cohort, backbone, cache=cache, **options)


def everything(features: Features) -> list[np.ndarray]:
    cohort = features.cohort
    return [np.array(features.slices(i, name)) for i in range(len(cohort)) for name in cohort.modalities]


def assert_same(one: Features, other: Features) -> None:
    assert one.digest == other.digest
    for left, right in zip(everything(one), everything(other), strict=True):
        np.testing.assert_array_equal(left, right)


def test_features_show_a_few_lines(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    features = run(toy_cohort(), toy_backbone(), tmp_path)
    assert len(repr(features).splitlines()) == 3
    assert len(repr(features)) < 400
    assert f"{int(features.counts.sum())} rows of 24 columns" in repr(features)


def without(cohort: Cohort, keep: list[int]) -> Cohort:
    return cohort.select(np.array(keep))


def test_rows_are_the_tokens_of_each_slice(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    import torch

    from radapt.images import SliceCache

    cohort, backbone = toy_cohort(), toy_backbone()
    features = run(cohort, backbone, tmp_path)
    slices = SliceCache(tmp_path)
    assert features.presence.tolist() == cohort.presence.tolist()
    for index, case in enumerate(cohort):
        for name, location in case.images.items():
            planes = torch.from_numpy(np.array(slices.planes(location, RECIPE, name)))
            tokens = backbone.tokens(planes, layers=(-2, -1))
            parts = [layer.cls for layer in tokens.layers] + [x.patches.mean((1, 2)) for x in tokens.layers]
            expected = torch.cat(parts, 1).numpy()
            np.testing.assert_allclose(features.slices(index, name), expected, rtol=1e-5, atol=1e-5)
    assert (features.layers, features.width, features.dtype) == ((-2, -1), 24, "float32")


def test_batches_have_one_shape(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    backbone = toy_backbone()
    total = run(toy_cohort(), backbone, tmp_path).counts.sum()
    assert set(backbone.shapes) == {(4, 1, 16, 16)}
    assert len(backbone.shapes) == -(-total // 4)


def test_what_is_stored_is_not_computed_or_loaded(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort, loads = toy_cohort(), []

    def load() -> Any:
        loads.append(1)
        return toy_backbone()

    lazy = LazyBackbone("toy", "random:0", "float32", load)
    first = run(cohort, lazy, tmp_path)
    second = run(cohort, lazy, tmp_path)
    assert len(loads) == 1
    assert_same(first, second)
    assert_same(first, run(cohort, toy_backbone(name="same weights, another name"), tmp_path))


def test_an_unsettled_backbone_is_loaded_first(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    lazy = LazyBackbone("toy", "hub:not here yet", "float32", toy_backbone, settled=False)
    assert run(toy_cohort(cases=1), lazy, tmp_path).identity == "random:0"


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": Recipe.for_kind("other", size=24)},
        {"recipe": Recipe.for_kind("other", size=16, every=2)},
        {"layers": (-1,)},
        {"identity": "random:1"},
        {"dtype": "bfloat16"},
    ],
)
def test_whatever_decides_numbers_is_part_of_the_key(
    change: dict[str, Any], toy_cohort: Make, toy_backbone: Make, tmp_path: Path
) -> None:
    cohort, again = toy_cohort(cases=2), toy_backbone()
    own = {name: change[name] for name in ("identity", "dtype") if name in change}
    options = {name: value for name, value in change.items() if name not in own}
    first = run(cohort, toy_backbone(), tmp_path)
    second = run(cohort, dataclasses.replace(again, **own, shapes=again.shapes), tmp_path, **options)
    assert again.shapes
    assert first.digest != second.digest


def test_an_image_that_changed_is_computed_again(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort, backbone = toy_cohort(cases=2), toy_backbone()
    before = run(cohort, backbone, tmp_path)
    np.save(cohort.cases[0].images["t1"].path, np.arange(1280).reshape(5, 16, 16))
    after = run(cohort, backbone, tmp_path)
    assert before.digest != after.digest
    assert not np.array_equal(before.slices(0, "t1"), after.slices(0, "t1"))
    np.testing.assert_array_equal(before.slices(1, "t1"), after.slices(1, "t1"))


@pytest.mark.parametrize("seed", range(2))
def test_interrupted_and_resumed_equals_undisturbed(
    seed: int, toy_cohort: Make, toy_backbone: Make, tmp_path: Path
) -> None:
    cohort, draw = toy_cohort(), random.Random(seed)

    def interrupt(call: int) -> None:
        if draw.random() < 0.3:
            raise KeyboardInterrupt

    stopped = 0
    while True:
        try:
            resumed = run(cohort, toy_backbone(before=interrupt), tmp_path / "resumed")
            break
        except KeyboardInterrupt:
            stopped += 1
    assert stopped
    assert_same(resumed, run(cohort, toy_backbone(), tmp_path / "whole"))


def test_order_and_parts_do_not_matter(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort = toy_cohort()
    whole = everything(run(cohort, toy_backbone(), tmp_path / "whole"))
    order = [4, 0, 6, 2, 1, 5, 3]
    run(without(cohort, [2, 5]), toy_backbone(), tmp_path / "parts")
    parts = everything(run(without(cohort, order), toy_backbone(), tmp_path / "parts"))
    for place, index in enumerate(order):
        for modality in (0, 1):
            np.testing.assert_array_equal(parts[2 * place + modality], whole[2 * index + modality])


def test_equal_images_are_encoded_once(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort, backbone = toy_cohort(cases=1), toy_backbone()
    case = cohort.cases[0]
    twins = tuple(dataclasses.replace(case, case=f"twin{n}") for n in range(9))
    features = run(dataclasses.replace(cohort, cases=twins), backbone, tmp_path, batch=64)
    assert len(features.store) == 1
    np.testing.assert_array_equal(features.slices(8, "t1"), features.slices(0, "t1"))


def test_a_broken_shard_is_computed_again(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort = toy_cohort()
    whole = run(cohort, toy_backbone(), tmp_path)
    expected = everything(whole)
    (shard,) = whole.store.folder.glob("*.f32")
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    backbone = toy_backbone()
    again = run(cohort, backbone, tmp_path)
    assert backbone.shapes
    for left, right in zip(everything(again), expected, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"segments": []}', '{"segments": [{"layer": 1}]}', "[" * 100_000])
def test_a_lost_config_is_written_again(text: str, toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort, backbone = toy_cohort(cases=2), toy_backbone()
    first = run(cohort, backbone, tmp_path)
    (first.store.folder / "config.json").write_text(text)
    calls = len(backbone.shapes)
    assert_same(first, run(cohort, backbone, tmp_path))
    assert len(backbone.shapes) == calls


def test_unreadable_images_do_not_stop_the_others(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort = toy_cohort()
    cohort.cases[1].images["t1"].path.unlink()
    cohort.cases[4].images["t2"].path.write_bytes(b"\x93NUMPY torn")
    with pytest.raises(DataError) as caught:
        run(cohort, toy_backbone(), tmp_path)
    message = str(caught.value)
    assert message.startswith("2 of 11 images of toy gave no features; the others are stored.")
    assert re.search(r"case c1, t1: .*1-t1\.npy", message)
    assert re.search(r"case c4, t2: .*4-t2\.npy", message)
    backbone = toy_backbone()
    run(without(cohort, [0, 2, 3, 5, 6]), backbone, tmp_path)
    assert backbone.shapes == []


def test_long_lists_of_failures_are_cut(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    cohort = toy_cohort(cases=1)
    gone = {"t1": Location(tmp_path / "gone.npy")}
    cases = tuple(dataclasses.replace(cohort.cases[0], case=f"c{n}", images=gone) for n in range(25))
    with pytest.raises(DataError, match=r"^25 of 25 .*(\n.*){20}\n  and 5 more$"):
        run(dataclasses.replace(cohort, cases=cases), toy_backbone(), tmp_path)


def test_features_that_are_not_finite_are_not_stored(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    backbone = toy_backbone()
    backbone._weights[:] = float("inf")
    with pytest.raises(DataError, match=r"not finite; try --dtype float32"):
        run(toy_cohort(cases=1), backbone, tmp_path)


@pytest.mark.parametrize("layers", [(), (0,), (-1, 3)])
def test_impossible_layers(layers: tuple[int, ...], toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected -1 for the last"):
        run(toy_cohort(cases=1), toy_backbone(), tmp_path, layers=layers)


def test_names_in_place_of_what_they_name(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cohort is a int; expected the path of a cohort.yaml"):
        extract(3, toy_backbone(), cache=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"backbone is .dinov2-s.; expected the result of radapt\.load_backbone"):
        extract(toy_cohort(cases=1), "dinov2-s", cache=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Cohort file .*none.yaml cannot be read"):
        extract(tmp_path / "none.yaml", toy_backbone(), cache=tmp_path)


def test_impossible_batch(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        run(toy_cohort(cases=1), toy_backbone(), tmp_path, batch=0)


KILLER = """
import importlib.util, os, random, signal, sys, threading
from pathlib import Path
spec = importlib.util.spec_from_file_location("toy", sys.argv[1])
toy = importlib.util.module_from_spec(spec); sys.modules["toy"] = toy; spec.loader.exec_module(toy)
import torch
from radapt.features import extract, store
from radapt.images import Recipe
torch.set_num_threads(1)
store._FLUSH_EVERY_S = 0.0
recipe, cache = Recipe.for_kind("other", size=16), Path(sys.argv[2])
cohort = toy.write_cohort(Path(sys.argv[3]), cases=15)
draw = random.Random(0)
for attempt in range(6):
    delay, calls = draw.uniform(0.02, 0.3), draw.randint(1, 4)
    child = os.fork()
    if child == 0:
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        if attempt % 2:  # at any point at all, or at a point that surely comes
            threading.Timer(delay, kill).start()
        backbone = toy.ToyBackbone(before=lambda call: attempt % 2 or call < calls or kill())
        extract(cohort, backbone, recipe=recipe, layers=(-2, -1), batch=4, cache=cache)
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


def test_killed_at_random_points_equals_undisturbed(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    toys = Path(__file__).with_name("conftest.py")
    arguments = [str(toys), str(tmp_path / "killed"), str(tmp_path / "images")]
    done = subprocess.run(
        [sys.executable, "-c", KILLER, *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    endings = done.stdout.split()
    assert "9" in endings
    cohort = toy_cohort(cases=15)
    assert_same(run(cohort, toy_backbone(), tmp_path / "killed"), run(cohort, toy_backbone(), tmp_path / "whole"))
