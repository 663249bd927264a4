"""Models that were exported for another runtime: equal to PyTorch, kept to, and refused where something is wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import radapt
from radapt.cli import app
from radapt.deploy.deployment import read_deployment
from radapt.deploy.export.export_model import export_model
from radapt.deploy.load import load_exported
from radapt.errors import UsageError
from radapt.runtimes.runtime import CONVERTED, is_installed

INSTALLED = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"the package of {name} is missing"))
    for name in CONVERTED
]
needs_onnx = pytest.mark.skipif(not is_installed("onnx"), reason="the package of onnx is missing")


def export(run: Path, out: Path, runtime: str = "onnx", **more: str) -> Path:
    return export_model(run, out, runtime=runtime, cache=run.parent / "cache", **more).folder


@pytest.fixture(scope="module")
def exported(with_val: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a model for onnx, and what the command said that wrote it."""
    folder = tmp_path_factory.mktemp("converted") / "model"
    cache = str(with_val.parent / "cache")
    asked = ["export", str(with_val), "--out", str(folder), "--method", "linear", "--format", "onnx", "--cache", cache]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    return folder, done.output


@pytest.fixture(scope="module")
def converted(exported: tuple[Path, str]) -> Path:
    return exported[0]


def probabilities(folder: Path, run: Path, runtime: str | None = None) -> np.ndarray:
    found = load_exported(folder, runtime=runtime).predict(run.parent / "discs" / "cohort.yaml")
    return found.table[["p_healthy", "p_ill"]].to_numpy()


@needs_onnx
def test_it_answers_as_pytorch_does_and_keeps_its_runtime(converted: Path, with_val: Path) -> None:
    found, expected = probabilities(converted, with_val), probabilities(converted, with_val, "pytorch")
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not np.array_equal(found, expected)
    assert load_exported(converted).runtime == "onnx"
    assert load_exported(converted, runtime="auto").runtime == "onnx"
    parity = read_deployment(converted).runtime.parity
    assert parity.images == "training cases"
    assert 0 < parity.networks < 1e-4
    assert parity.probabilities < 1e-4
    assert "onnx against PyTorch in float32" in (converted / "deployment.json").read_text()


@pytest.mark.parametrize("runtime", INSTALLED)
@pytest.mark.slow
def test_knn_has_its_encoder_converted(with_val: Path, tmp_path: Path, runtime: str) -> None:
    folder = export(with_val, tmp_path / "model", runtime, method="knn")
    np.testing.assert_allclose(probabilities(folder, with_val), probabilities(folder, with_val, "pytorch"), atol=1e-4)
    assert [name.split("/")[0] for name in read_deployment(folder).runtime.networks] == ["encoder"]


@pytest.fixture
def converted_before(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network of the same model is taken from its first export: converting it takes seconds."""

    def copy(network: object, inputs: object, folder: Path, runtime: str, name: str) -> None:
        shutil.copytree(converted / "networks" / name, folder)

    monkeypatch.setattr("radapt.deploy.export.convert_networks.write_graph", copy)


@needs_onnx
@pytest.mark.usefixtures("converted_before")
def test_an_export_that_differs_leaves_nothing(with_val: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.deploy.export.convert_networks.TOLERANCE", 1e-12)
    with pytest.raises(UsageError, match=r"differ by .* in the outputs of the network encoder/.*nothing was exported"):
        export(with_val, tmp_path / "model", method="linear")
    assert list(tmp_path.iterdir()) == []


@needs_onnx
@pytest.mark.usefixtures("converted_before")
def test_without_the_training_images_it_is_compared_on_drawn_ones(
    with_val: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radapt.deploy.export.export_model.study_cohort", lambda *given: (None, "it is gone"))
    parity = read_deployment(export(with_val, tmp_path / "model", method="linear")).runtime.parity
    assert (parity.images, parity.cases) == ("drawn images", 4)  # two with both sequences, and each alone


@needs_onnx
def test_a_network_that_was_changed_is_refused(converted: Path, tmp_path: Path) -> None:
    shutil.copytree(converted, tmp_path / "model")
    network = next((tmp_path / "model").rglob("network.onnx"))
    network.write_bytes(network.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(UsageError, match=r"is not as it was exported: networks/.*network.onnx was changed"):
        radapt.load_model(tmp_path / "model")


@needs_onnx
def test_a_runtime_that_the_model_was_not_exported_for(converted: Path, with_val: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"exported for PyTorch and onnx, not for openvino. Give --runtime onnx"):
        load_exported(converted, runtime="openvino")
    with pytest.raises(UsageError, match=r"Unknown runtime 'tensorflow'"):
        load_exported(converted, runtime="tensorflow")
    plain = export(with_val, tmp_path / "plain", "pytorch", method="linear")
    assert json.loads((plain / "deployment.json").read_text())["runtime"] is None
    assert not (plain / "networks").exists()
    with pytest.raises(UsageError, match=r"exported for PyTorch, not for onnx.*--format onnx"):
        radapt.load_model(plain, runtime="onnx")
    assert load_exported(plain, runtime="auto").runtime == "pytorch"
    with pytest.raises(UsageError, match=r"Unknown format 'onx'. Did you mean 'onnx'"):
        export(with_val, tmp_path / "other", "onx")


@needs_onnx
def test_without_its_package_it_says_what_to_install(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.runtimes.runtime.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(UsageError, match=r"needs the package onnxruntime.*pip install 'radapt\[onnx\]'"):
        load_exported(converted)
    assert load_exported(converted, runtime="auto").runtime == "pytorch"
    assert load_exported(converted, runtime="pytorch").runtime == "pytorch"


@needs_onnx
def test_the_commands(exported: tuple[Path, str], with_val: Path, tmp_path: Path) -> None:
    model, said = str(exported[0]), exported[1]
    assert "onnx against PyTorch in float32 on" in said
    inputs = str(with_val.parent / "discs" / "cohort.yaml")
    for runtime in ("pytorch", "auto"):
        out = str(tmp_path / runtime)
        assert CliRunner().invoke(app, ["predict", model, inputs, "--out", out, "--runtime", runtime]).exit_code == 0
    refused = CliRunner().invoke(app, ["predict", model, inputs, "--out", str(tmp_path / "o"), "--runtime", "openvino"])
    assert "not for openvino" in str(refused.exception)
    assert not (tmp_path / "o").exists()
