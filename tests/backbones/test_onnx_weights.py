"""ONNX files as data: weights found by the names in the graph, whatever the order, and files without such names.

The graphs have what PyTorch's exporter makes of transformers' DINOv2: named biases, anonymous transposed matrices, and
a position embedding split into CLS and patches.
"""

import random

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model

from radapt.backbones import load_backbone
from radapt.backbones.weight_files import find_files, read_state
from radapt.errors import UsageError

SIZE = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}


@pytest.fixture
def model(scatter) -> Dinov2Model:
    return scatter(Dinov2Model(Dinov2Config(**SIZE))).eval()


def exported(model: Dinov2Model, *, seed: int = 0, without: str = "") -> onnx.ModelProto:
    """The graph of `model` with its tensors and nodes in an order of their own, inside a larger model. The tensor
    `without` is left out, and a linear layer of this name loses its bias."""
    tensors, nodes = {}, []
    state = {f"backbone.{name}": value.numpy() for name, value in on_disk(model).items()}
    for number, (name, value) in enumerate(state.items()):
        if name == without or name.endswith("mask_token"):
            continue
        if name.endswith("position_embeddings"):
            tensors |= {"onnx::Concat_7": value[:, :1], "onnx::Reshape_8": value[:, 1:]}
            nodes += [
                helper.make_node("Reshape", ["onnx::Reshape_8", "shape"], ["grid"]),
                helper.make_node("Transpose", ["grid"], ["channels"]),
                helper.make_node("Resize", ["channels", "", "", "size"], ["resized"]),
                helper.make_node("Concat", ["onnx::Concat_7", "resized"], ["positions"]),
            ]
        elif name.endswith(".weight") and value.ndim == 2:
            matrix = f"onnx::MatMul_{1000 - number}"
            tensors[matrix] = np.ascontiguousarray(value.T)
            bias = f"{name.removesuffix('weight')}bias"
            nodes += [
                helper.make_node("MatMul", [f"x{number}", matrix], [f"y{number}"]),
                helper.make_node("Add", ["other" if bias == without else bias, f"y{number}"], [f"z{number}"]),
            ]
        else:
            tensors[name] = value
    tensors["decoder.up.weight"] = np.ones((3, 3), np.float32)
    shuffle = random.Random(seed).shuffle
    named = list(tensors.items())
    shuffle(named)
    shuffle(nodes)
    stored = [numpy_helper.from_array(value, name) for name, value in named]
    return helper.make_model(helper.make_graph(nodes, "saliency", [], [], stored))


def on_disk(model: Dinov2Model) -> dict[str, torch.Tensor]:
    """Its state under the names of transformers' files, which exporters kept."""
    names = (("layers.", "layer."), (".q_proj", ".query"), (".k_proj", ".key"), (".v_proj", ".value"))
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    for new, old in names:
        state = {name.replace(new, old): value for name, value in state.items()}
    return state


def saved(model: onnx.ModelProto, path):
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_are_those_of_the_model_that_was_exported(model, tiny, tmp_path, seed):
    path = saved(exported(model, seed=seed), tmp_path / "focus.onnx")
    save_file(on_disk(model), tmp_path / "same.safetensors")
    ours, same = (load_backbone("tiny", file) for file in (path, tmp_path / "same.safetensors"))
    left, right = ours.module.state_dict(), same.module.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert "18 anonymous matrices named by the bias behind them" in ours.notes
    assert "position embedding joined from CLS and patches" in ours.notes


def test_a_missing_tensor_is_named(model, tiny, tmp_path):
    path = saved(exported(model, without="backbone.embeddings.cls_token"), tmp_path / "focus.onnx")
    with pytest.raises(UsageError, match=r"do not fit tiny.*Missing: cls_token, pos_embed"):
        load_backbone("tiny", path)


def test_a_matrix_without_a_name_is_an_error_that_says_what_is_there(model, tmp_path):
    path = saved(exported(model, without="backbone.encoder.layer.1.mlp.fc1.bias"), tmp_path / "focus.onnx")
    said = r"has 1 matrices without a name.*onnx::MatMul_\d+ \(24, 96\).*named tensors are .*backbone\."
    with pytest.raises(UsageError, match=said):
        read_state(path)


def test_a_file_without_names_says_what_it_holds(tmp_path):
    weights = numpy_helper.from_array(np.zeros((4, 3), np.float32), "onnx::MatMul_3")
    scale = numpy_helper.from_array(np.zeros(3, np.float32), "val_12")
    path = saved(helper.make_model(helper.make_graph([], "x", [], [], [weights, scale])), tmp_path / "x.onnx")
    with pytest.raises(UsageError, match=r"no tensors with a model's parameter .*MatMul_3 \(4, 3\), val_12 \(3,\)"):
        read_state(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x08\x08\x12\x07pytorch:\xff\x01"])
def test_files_that_are_no_onnx(tmp_path, content):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.onnx (cannot be read as ONNX|holds no ONNX graph)"):
        read_state(path)


def test_a_truncated_file(model, tmp_path):
    path = saved(exported(model), tmp_path / "x.onnx")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UsageError, match=r"cannot be read as ONNX.*truncated"):
        read_state(path)


def test_tensors_in_other_files_are_not_followed(tmp_path):
    tensor = TensorProto(name="a.weight", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    path = saved(helper.make_model(helper.make_graph([], "x", [], [], [tensor])), tmp_path / "x.onnx")
    with pytest.raises(UsageError, match=r"keeps 1 tensors in other files \(a\.weight\)"):
        read_state(path)


def test_number_formats_that_numpy_lacks(tmp_path):
    values = torch.tensor([1.5, -2.0])
    tensor = helper.make_tensor("a.weight", TensorProto.BFLOAT16, [2], values.tolist())
    path = saved(helper.make_model(helper.make_graph([], "x", [], [], [tensor])), tmp_path / "x.onnx")
    assert torch.equal(read_state(path)[0]["a.weight"], values)


def test_a_folder_prefers_files_of_pytorch(tmp_path, model):
    saved(exported(model), tmp_path / "a.onnx")
    assert find_files(tmp_path) == (tmp_path / "a.onnx",)
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pth")
    assert find_files(tmp_path) == (tmp_path / "model.pth",)


@pytest.mark.parametrize("damage", ["name", "input", "inputs"])
def test_a_damaged_graph_is_named(tmp_path, damage):
    weight = numpy_helper.from_array(np.zeros((2, 2), np.float32), "a.weight")
    nodes = [helper.make_node("MatMul", ["x"] if damage == "inputs" else ["x", "a.weight"], ["y"])]
    content = helper.make_model(helper.make_graph(nodes, "g", [], [], [weight])).SerializeToString()
    places = {"name": content.rfind(b"a.weight"), "input": content.find(b"a.weight")}
    if at := places.get(damage):
        content = content[:at] + b"\xff" + content[at + 1 :]  # no UTF-8
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.onnx (holds a damaged graph|cannot be read)"):
        read_state(tmp_path / "x.onnx")
