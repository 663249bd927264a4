"""`radapt embed` and extraction with a real encoder, with random weights, on images of 28 px."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

from radapt.backbones import LazyBackbone, load_backbone
from radapt.cli.embed import embed
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.features import extract
from radapt.images import Recipe, SliceCache

RECIPE = Recipe.for_kind("other", size=28)


@pytest.fixture(scope="module")
def vit() -> Any:
    return load_backbone("dinov2-s", "random")


def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(embed)
    return app


def call(*words: object) -> Any:
    result = CliRunner().invoke(command(), [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def table(cohort: Cohort, folder: Path) -> Path:
    rows = [
        {"case": case.case, "patient": case.patient, "split": case.split, "label": cohort.classes[case.label or 0]}
        | {f"image:{name}": str(case.images[name].path) if name in case.images else "" for name in ("t1", "t2")}
        for case in cohort
    ]
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    (folder / "cohort.yaml").write_text("name: toy\nkind: other\ncases: cases.csv\nclasses: ['no', 'yes']\n")
    return folder / "cohort.yaml"


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_a_real_encoder_gives_its_tokens_in_any_order(
    order: list[int], vit: Any, toy_cohort: Callable[..., Cohort], tmp_path: Path
) -> None:
    cohort = toy_cohort(cases=4, deep=2).select(np.array(order))
    features = extract(cohort, vit, recipe=RECIPE, batch=8, cache=tmp_path)
    planes = SliceCache(tmp_path).planes(cohort.cases[1].images["t1"], RECIPE)
    padded = np.zeros((8, *planes.shape[1:]), dtype=np.uint8)
    padded[: len(planes)] = planes
    with torch.inference_mode():
        tokens = vit.tokens(torch.from_numpy(padded), layers=(-2, -1))
    rows = features.slices(1, "t1")
    for layer, part in zip((-2, -1), tokens.layers, strict=True):
        for kind, expected in (("cls", part.cls), ("patch_mean", part.patches.mean(dim=(1, 2)))):
            (where,) = (s for s in features.segments if (s.layer, s.kind) == (layer, kind))
            np.testing.assert_array_equal(rows[:, where.start : where.stop], expected[: len(planes)].numpy())


def test_a_lazy_backbone_shares_what_a_loaded_one_stored(
    vit: Any, toy_cohort: Callable[..., Cohort], tmp_path: Path
) -> None:
    from radapt.backbones import card, identity_of, resolve

    cohort, known = toy_cohort(cases=1), card("dinov2-s")
    extract(cohort, vit, recipe=RECIPE, cache=tmp_path)
    lazy = LazyBackbone("any", identity_of(known, resolve(known, "random")), "float32", lambda: pytest.fail("loaded"))
    assert extract(cohort, lazy, recipe=RECIPE, cache=tmp_path).counts.sum() > 0


def test_embed_writes_array_table_and_provenance_and_resumes(toy_cohort: Callable[..., Cohort], tmp_path: Path) -> None:
    cohort = toy_cohort(cases=5, deep=1)
    words = [table(cohort, tmp_path), "--backbone", "dinov2-s", "--weights", "random", "--size", 28]
    words += ["--cache", tmp_path / "cache", "--dtype", "float32", "--layers", 2, "--out"]
    first = call(*words, tmp_path / "one")
    assert "8 of 8 images encoded" in first.output
    array = np.load(tmp_path / "one" / "features.npy", mmap_mode="r")
    cases = pd.read_parquet(tmp_path / "one" / "cases.parquet")
    facts = json.loads((tmp_path / "one" / "embed.json").read_text())
    assert array.shape == (5, 2, 4 * 384)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(~np.isnan(array[:, :, 0]), cases[["has:t1", "has:t2"]].to_numpy())
    assert cases["label"].tolist() == ["no", "no", "yes", "yes", "no"]
    assert cases["slices:t1"].tolist() == [1] * 5
    assert facts["weights"] == "random:0"
    assert facts["card"]["name"] == "dinov2-s"
    assert facts["segments"][-1]["stop"] == array.shape[2]
    second = call(*words, tmp_path / "two")
    assert "All 8 images were already stored." in second.output
    for name in ("features.npy", "embed.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_embed_says_what_is_wrong_and_leaves_no_half(toy_cohort: Callable[..., Cohort], tmp_path: Path) -> None:
    cohort = toy_cohort(cases=5, deep=1)
    path, out = table(cohort, tmp_path), tmp_path / "out"
    rest = ["--weights", "random", "--size", 28, "--cache", tmp_path / "cache", "--out", out]
    with pytest.raises(UsageError, match="dinov2-s"):
        call(path, "--backbone", "dinov2s", *rest)
    with pytest.raises(UsageError, match="-12"):
        call(path, "--backbone", "dinov2-s", "--layers", 13, *rest)
    cohort.cases[1].images["t2"].path.write_bytes(b"torn")
    with pytest.raises(DataError, match="case c1, t2"):
        call(path, "--backbone", "dinov2-s", *rest)
    assert not out.exists()
