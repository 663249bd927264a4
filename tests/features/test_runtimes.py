"""Features by another runtime: close to PyTorch's, stored apart from them, and only where they are asked for."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import radapt
from radapt.backbones import find_backbone, load_backbone
from radapt.backbones.reference import BackboneReference
from radapt.cli import app
from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.features import extract
from radapt.images import Recipe
from radapt.runtimes.runtime import CONVERTED, RUNTIMES, fastest_runtime, is_installed
from radapt.studies import Settings, plan_study, read_study
from radapt.studies.engines import Shares
from toy_study import write_cohort, write_study

RECIPE = Recipe.for_kind("other", size=32)
NAME = "timm:test_vit"
VIT = {"name": "vit", "as": NAME, "weights": "random", "dtype": "float32"}
INSTALLED = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"the package of {name} is missing"))
    for name in CONVERTED
]
ONE_IS_QUICK = [
    pytest.param(each, marks=(*marked.marks, *([pytest.mark.slow] if each == "onnx" else [])))
    for marked in INSTALLED
    for each in marked.values
]
"""For what does not depend on the runtime but in how long it takes."""
needs_onnx = pytest.mark.skipif(not is_installed("onnx"), reason="the package of onnx is missing")


@pytest.mark.parametrize("runtime", ONE_IS_QUICK)
def test_features_of_a_runtime_never_stand_for_those_of_another(
    runtime: str, toy_cohort: Callable[..., Cohort], tmp_path: Path
) -> None:
    cohort, facts = toy_cohort(cases=3, deep=2), {"recipe": RECIPE, "cache": tmp_path, "layers": (-1,)}
    expected = extract(cohort, load_backbone(NAME, "random"), **facts)
    found = extract(cohort, load_backbone(NAME, "random", runtime=runtime, cache=tmp_path), **facts)
    assert (expected.runtime, found.runtime) == ("pytorch", runtime)
    assert found.store.folder != expected.store.folder
    assert found.digest != expected.digest
    one, other = found.slices(0, "t1"), expected.slices(0, "t1")
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert not np.array_equal(one, other)
    lazy = find_backbone(NAME, "random", dtype="float32", runtime=runtime, cache=tmp_path).lazy
    again = extract(cohort, lazy, **facts)
    assert again.store.folder == found.store.folder
    np.testing.assert_array_equal(again.slices(0, "t1"), one)


def test_what_a_runtime_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.runtimes.runtime.find_spec", lambda name: name)
    with pytest.raises(UsageError, match=r"onnx computes in float32, not in bfloat16. Give --dtype float32"):
        find_backbone(NAME, "random", dtype="bfloat16", runtime="onnx")
    with monkeypatch.context() as patch:  # a processor that is faster in bfloat16
        for module in ("lazy", "load"):
            patch.setattr(f"radapt.backbones.{module}.auto_dtype", lambda device: "bfloat16")
        found = {name: find_backbone(NAME, "random", runtime=name).lazy.dtype for name in (*RUNTIMES, "auto")}
    assert found == {"pytorch": "bfloat16", "onnx": "float32", "openvino": "float32", "auto": "float32"}
    assert find_backbone(NAME, "random", dtype="bfloat16", runtime="openvino").lazy.dtype == "bfloat16"
    with pytest.raises(UsageError, match=r"computes on the processor, not on cuda"):
        find_backbone(NAME, "random", device="cuda", dtype="float32", runtime="openvino")
    assert find_backbone(NAME, "random", runtime="onnx").lazy.dtype == "float32"
    assert find_backbone(NAME, "random").lazy.runtime == "pytorch"
    assert find_backbone(NAME, "random", runtime="auto").lazy.runtime == "openvino"
    monkeypatch.setattr("radapt.runtimes.runtime.find_spec", lambda name: None if name == "openvino" else name)
    with pytest.raises(UsageError, match=r"pip install 'radapt\[openvino\]'"):
        find_backbone(NAME, "random", runtime="openvino")
    assert find_backbone(NAME, "random", runtime="auto").lazy.runtime == "onnx"


@needs_onnx
def test_training_is_by_pytorch(tmp_path: Path) -> None:
    lazy = find_backbone(NAME, "random", dtype="float32", runtime="onnx", cache=tmp_path).lazy
    loaded = lazy.load()
    assert loaded.runtime == "onnx"
    assert copy.deepcopy(loaded).runtime == "pytorch"
    assert lazy.load_as("float32").runtime == "pytorch"


def test_a_reference_finds_the_encoder_by_its_runtime(tmp_path: Path) -> None:
    reference = BackboneReference.of(find_backbone(NAME, "random", dtype="float32").lazy)
    assert reference.find(dtype="float32").runtime == "pytorch"
    if is_installed("onnx"):
        assert reference.find(dtype="float32", runtime="onnx", cache=tmp_path).runtime == "onnx"


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.slow
@needs_onnx
def test_embed_names_the_runtime(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "discs", patients=6)
    words = ["embed", cohort, "--backbone", NAME, "--weights", "random", "--size", 32, "--layers", 1]
    words += ["--cache", tmp_path / "cache", "--device", "cpu"]
    done = call(*words, "--out", tmp_path / "onnx", "--runtime", "onnx")
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "onnx" / "embed.json").read_text())
    assert (facts["runtime"], facts["dtype"]) == ("onnx", "float32")
    done = call(*words, "--out", tmp_path / "auto", "--runtime", "auto", "--dtype", "float32")
    assert f"Runtime: {fastest_runtime('cpu')}" in done.output
    assert "Did you mean 'onnx'" in str(call(*words, "--out", tmp_path / "no", "--runtime", "onx").exception)


def study_file(folder: Path, protocols: list[Any], **more: Any) -> Path:
    cohort = write_cohort(folder / "discs", patients=24)
    return write_study(folder, [cohort], backbones=[VIT], protocols=protocols, choose="val", controls="none", **more)


def test_a_study_of_another_runtime_has_other_cells_for_features(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("radapt.runtimes.runtime.find_spec", lambda name: name)
    study = read_study(study_file(tmp_path, ["knn", {"bitfit": {"epochs": 1}}]))
    settings = Settings(cache=tmp_path / "cache", device="cpu")
    usual = {cell.facts["protocol"]: cell for cell in plan_study(study, settings).cells}
    other = {cell.facts["protocol"]: cell for cell in plan_study(study.with_runtime("onnx"), settings).cells}
    assert usual["knn"].id != other["knn"].id
    assert usual["bitfit"].id == other["bitfit"].id
    assert other["knn"].facts["runtime"] == "onnx"
    assert "runtime" not in usual["knn"].facts
    with pytest.raises(UsageError, match="Unknown runtime 'onx'"):
        study.with_runtime("onx")


@pytest.mark.slow
@needs_onnx
def test_a_run_names_the_runtime_and_its_model_keeps_it(tmp_path: Path) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    words = ["run", study_file(tmp_path, ["knn"]), "--out", run, "--cache", cache, "--device", "cpu"]
    done = call(*words, "--runtime", "onnx")
    assert done.exit_code == 0, done.output
    assert "runtime: onnx" in (run / "study.yaml").read_text()
    assert json.loads((run / "backbones" / "vit.json").read_text())["runtime"] == "onnx"
    assert "Features computed by" in (run / "report.html").read_text()
    model = radapt.load_model(next(run.glob("cells/*/model")), cache=cache)
    assert model.card.runtime == "onnx"
    assert model.features(radapt.load_cohort(tmp_path / "discs" / "cohort.yaml")).runtime == "onnx"


def test_workers_of_an_engine_compute_by_the_runtime_that_is_named(tmp_path: Path) -> None:
    path = Path(study_file(tmp_path, ["knn"]))
    plain = Shares(path, tmp_path / "run", tmp_path / "cache", 2)
    named = pickle.loads(pickle.dumps(replace(plain, runtime="onnx")))
    assert [entry.runtime for entry in named.described.backbones] == ["onnx"]
    assert plain.described == read_study(path)
