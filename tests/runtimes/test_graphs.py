"""Networks by another runtime: converted for any number of rows, equal to PyTorch, and refused where they are not."""

import gc
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.runtimes.convert import write_graph
from radapt.runtimes.graph import open_graph
from radapt.runtimes.graphs import GraphCache, GraphFolder
from radapt.runtimes.runner import Recorder, Scoped, hand_over, in_pytorch, largest_difference
from radapt.runtimes.runtime import CONVERTED, check_runtime, fastest_runtime, is_installed
from toy_encoders import FAMILIES, toy_backbone

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


class Masked(nn.Module):
    """Sums what is present, as a decoder of several sequences does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(5, 3)

    def forward(self, present: Tensor, *maps: Tensor) -> Tensor:
        return sum(self.linear(torch.where(present[..., None], each, 0.0)).sum(1) for each in maps)


def inputs(rows: int) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(rows)
    present = torch.rand(rows, 2, generator=rng) > 0.5
    return present, torch.randn(rows, 2, 5, generator=rng), torch.randn(rows, 2, 5, generator=rng)


@pytest.mark.parametrize("runtime", INSTALLED)
def test_a_network_takes_any_number_of_rows(runtime: str, tmp_path: Path) -> None:
    network = Masked().eval()
    write_graph(network, inputs(1), tmp_path, runtime, "masked")
    graph = open_graph(tmp_path, runtime)
    for rows in (1, 2, 7):
        assert largest_difference(in_pytorch(network, inputs(rows)), graph(inputs(rows))) < 1e-6


def test_no_other_thread_runs_in_a_collection_while_source_is_parsed(tmp_path: Path) -> None:
    """On Python 3.11 the parser fails where another thread, which finalizers let run, parses meanwhile."""
    pytest.importorskip("onnxruntime", reason="the package of onnx is missing")
    seen = []

    class Watching(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            seen.append(gc.isenabled())
            return values + 1

    write_graph(Watching(), (torch.zeros(2, 3),), tmp_path, "onnx", "watching")
    assert seen
    assert not any(seen)
    assert gc.isenabled()


REFUSED = {"sam"}
"""Its attention with relative positions has a form that the exporter lacks."""

QUICK = {"vit", "resnet"}
"""Those that every test run converts."""


@pytest.mark.parametrize(
    "family", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_every_family_of_encoders_is_converted_or_refused(family: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the package of onnx is missing")
    backbone = toy_backbone(family)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = backbone.tokens(images, layers=(-2, -1))
    runner = GraphCache(tmp_path, "onnx", backbone.identity, "float32")
    if family in REFUSED:
        with pytest.raises(UsageError, match=r"cannot be converted to ONNX \(.*only 4D"):
            backbone.computed_by(runner).tokens(images)
        return
    found = backbone.computed_by(runner).tokens(images, layers=(-2, -1))
    assert backbone.runtime == "onnx"
    for one, other in zip(expected.layers, found.layers, strict=True):
        pairs = (one.cls, one.patches), (other.cls, other.patches)
        assert largest_difference(*pairs) < 1e-4


@pytest.mark.parametrize("runtime", ONE_IS_QUICK)
def test_a_converted_network_is_kept_and_a_damaged_one_made_again(runtime: str, tmp_path: Path) -> None:
    network, made = Masked(), []

    def make() -> nn.Module:
        made.append(network)
        return network

    first = GraphCache(tmp_path, runtime, "weights", "float32")("masked", make, inputs(3))
    again = GraphCache(tmp_path, runtime, "weights", "float32")("masked", make, inputs(3))
    assert len(made) == 1
    assert torch.equal(first[0], again[0])
    largest = max(tmp_path.rglob("network.*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-20] + b"\0" * 20)
    assert torch.equal(GraphCache(tmp_path, runtime, "weights", "float32")("masked", make, inputs(3))[0], first[0])
    assert len(made) == 2
    GraphCache(tmp_path, runtime, "other weights", "float32")("masked", make, inputs(3))
    assert len(made) == 3


def test_other_results_than_in_pytorch_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(folder: Path, runtime: str, dtype: str):
        return lambda given: tuple(each + 1e-3 for each in in_pytorch(Masked().eval(), given))

    monkeypatch.setattr("radapt.runtimes.graphs.open_graph", wrong)
    monkeypatch.setattr("radapt.runtimes.graphs.write_graph", lambda *given: given[2].mkdir(exist_ok=True))
    monkeypatch.setattr("radapt.runtimes.graphs.runtime_version", lambda runtime: "1")
    with pytest.raises(UsageError, match=r"computes the network masked otherwise than PyTorch.*--runtime pytorch"):
        GraphCache(tmp_path, "onnx", "weights", "float32")("masked", Masked, inputs(3))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Unsupported(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x  # depends on the data


def test_a_network_that_cannot_be_converted_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is missing")
    with pytest.raises(UsageError, match=r"The network odd cannot be converted to ONNX .*leave out --format"):
        write_graph(Unsupported(), (torch.zeros(2, 3),), tmp_path, "onnx", "odd")


def test_a_damaged_or_missing_network_is_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the package of onnx is missing")
    with pytest.raises(UsageError, match=r"network.onnx is missing"):
        open_graph(tmp_path, "onnx")
    (tmp_path / "network.onnx").write_bytes(b"no network")
    with pytest.raises(UsageError, match=r"network.onnx cannot be read"):
        open_graph(tmp_path, "onnx")
    with pytest.raises(UsageError, match=r"no network decoder for the runtime onnx"):
        GraphFolder(tmp_path, "onnx")("decoder", Masked, inputs(1))
    with pytest.raises(UsageError, match=r"computes in float32, not in bfloat16"):
        open_graph(tmp_path, "onnx", "bfloat16")


def test_runtimes_that_are_unknown_or_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"Unknown runtime 'onx'. Did you mean 'onnx'"):
        check_runtime("onx")
    monkeypatch.setattr("radapt.runtimes.runtime.find_spec", lambda name: None if name == "openvino" else name)
    with pytest.raises(UsageError, match=r"pip install 'radapt\[openvino\]'"):
        check_runtime("openvino")
    assert fastest_runtime("cpu") == "onnx"
    assert fastest_runtime("cuda:0") == "pytorch"
    monkeypatch.setattr("radapt.runtimes.runtime.find_spec", lambda name: None)
    assert fastest_runtime("cpu") == "pytorch"


def test_a_module_is_handed_over_and_recorded() -> None:
    network, recorder = Masked().eval(), Recorder()
    expected = network(*inputs(20))
    weights = set(network.state_dict())
    hand_over(network, "masked", Scoped(recorder, "member"))
    assert torch.equal(network(*inputs(20)), expected)
    call = recorder.calls["member/masked"]
    assert [len(each) for each in (*call.inputs, *call.outputs)] == [16] * 4
    assert set(network.state_dict()) == weights
    hand_over(network, "masked", lambda name, make, given: (torch.zeros(1),))
    assert torch.equal(network(*inputs(2)), torch.zeros(1))


def test_differences_are_relative_to_large_values_and_see_what_is_not_finite() -> None:
    one = torch.tensor([100.0, 1.0])
    assert largest_difference((one,), (one + 1,)) == pytest.approx(0.01)
    assert largest_difference((one / 1000,), (one / 1000 + 1e-3,)) == pytest.approx(1e-3, rel=1e-3)
    assert largest_difference((one,), (one * float("nan"),)) == float("inf")
    with pytest.raises(UsageError, match="other shapes"):
        largest_difference((one,), (one[:1],))
