"""Zip and tar archives, and weights of every format."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fuzz.mutations import Field
from fuzz.target import Target, after, value_fields
from fuzz.targets.pictures import zip_fields
from radapt.backbones.weight_files import read_state
from radapt.cohorts.archives import unpack

FILES = {"d/a.csv": b"case,label\n1,x\n" * 9, "d/b.png": bytes(range(256)), "c.txt": b""}


def unpacked(name: str) -> Callable[[bytes, Path], Any]:
    def read(content: bytes, folder: Path) -> Any:
        (folder / name).write_bytes(content)
        found = unpack(folder / name, folder / "out").folder
        return {str(path.relative_to(found)): path.read_bytes() for path in sorted(found.rglob("*")) if path.is_file()}

    return read


def zips() -> list[bytes]:
    found = []
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", kind) as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
        found.append(file.getvalue())
    return found


def tars(mode: str) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for name, content in FILES.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return [file.getvalue()]

    return made


def weights(name: str) -> Callable[[bytes, Path], Any]:
    def read(content: bytes, folder: Path) -> Any:
        (folder / name).write_bytes(content)
        state, _ = read_state(folder / name)
        return {key: (str(value.dtype), tuple(value.shape), value) for key, value in state.items()}

    return read


STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3), "b": torch.arange(5)}


def safetensors() -> list[bytes]:
    from safetensors.torch import save

    return [save(STATE), save({"x": torch.zeros(2, 2, dtype=torch.bfloat16)}, {"format": "pt"})]


def checkpoints(*, zipped: bool) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        found = []
        for value in (STATE, {"teacher": STATE, "epoch": 3}):
            file = io.BytesIO()
            torch.save(value, file, _use_new_zipfile_serialization=zipped)
            found.append(file.getvalue())
        return found

    return made


def pickle_of(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def checkpoint_with(pickle: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(checkpoints(zipped=True)()[0])) as source, zipfile.ZipFile(file, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, pickle if name.endswith("data.pkl") else source.read(name))
    return file.getvalue()


def onnx() -> list[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(value.numpy(), name) for name, value in STATE.items()]
    node = helper.make_node("MatMul", ["x", "a.weight"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("x", 3), ("y", 4))]
    graph = helper.make_graph([node], "g", [ends[0]], [ends[1]], weights)
    return [helper.make_model(graph).SerializeToString()]


def tar_fields(content: bytes) -> list[Field]:
    return [
        Field(512 * block + at, 1) for block in range(len(content) // 512) for at in (0, 100, 124, 130, 148, 156, 257)
    ]


TARGETS = [
    Target("zip", zips, unpacked("x.zip"), checked=True, fields=zip_fields),
    Target("tar", tars("w"), unpacked("x.tar"), fields=tar_fields),
    Target("tar.gz", tars("w:gz"), unpacked("x.tar.gz"), checked=True),
    Target("tar.xz", tars("w:xz"), unpacked("x.tar.xz"), checked=True),
    Target("safetensors", safetensors, weights("x.safetensors"), text=True, fields=lambda seed: value_fields(0, 1, 8)),
    Target(
        "pt",
        checkpoints(zipped=True),
        weights("x.pt"),
        checked=True,
        fields=zip_fields,
        unseal=pickle_of,
        reseal=checkpoint_with,
    ),
    Target(
        "pt legacy",
        checkpoints(zipped=False),
        weights("x.pt"),
        fields=lambda seed: after(seed, [b"storage", b"ctorch"], 8, 1),
    ),
    Target("onnx", onnx, weights("x.onnx"), fields=lambda seed: value_fields(0, 60, 1)),
]
