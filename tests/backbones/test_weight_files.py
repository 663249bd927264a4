"""Where weights come from: files that are broken, unsafe or absent; the hub's cache; seeds."""

import argparse
import os
import pickle
import random
import socket
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from radapt.backbones import CATALOG, card, fetch, load_backbone, resolve
from radapt.backbones.dtypes import auto_dtype, cpu_favours_bfloat16, scratch_dtype
from radapt.backbones.weight_files import read_state
from radapt.errors import UsageError


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def write(path, kind):
    tensors = {"a": torch.arange(1000.0)}
    if kind == "code":
        torch.save({"a": torch.zeros(1), "b": Evil()}, path)
    elif kind == "bare pickle with code":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "truncated":
        torch.save(tensors, path)
        path.write_bytes(path.read_bytes()[:-700])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "words":
        path.write_text("hello world")
    elif kind == "one line":
        path.write_text("text weights\n")
    elif kind == "zeros":
        path.write_bytes(bytes(5000))
    elif kind == "noise":
        path.write_bytes(b"\x07\xff\xfe\x99" * 99)
    elif kind == "old and cut":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes()[:60])
    elif kind == "tar":
        with tarfile.open(path, "w") as archive:
            archive.add(__file__, "weights.py")
    elif kind == "safetensors":
        save_file(tensors, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("letter.txt", "dear reader")
    elif kind == "no tensors":
        torch.save({"epoch": 3}, path)
    elif kind == "a number":
        torch.save(3.0, path)
    elif kind == "script":
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("code", "could run code"),
        ("bare pickle with code", "could run code"),
        ("truncated", "the archive is truncated"),
        ("empty", "it is empty. Expected a complete file of torch.save"),
        ("text", "it holds text that begins '<html>404</html>'. Expected a complete file of torch.save"),
        ("words", "it holds text that begins 'hello world'"),
        ("one line", "it holds text that begins 'text weights'"),
        ("zeros", "it begins with zeros"),
        ("noise", "it begins with the bytes 07 ff fe 99"),
        ("old and cut", "the pickle in it is truncated"),
        ("tar", "it is a tar archive"),
        ("safetensors", "give it the suffix .safetensors"),
        ("zip", "a zip archive without the entry data.pkl"),
        ("no tensors", "holds no tensors by name"),
        ("a number", "holds no tensors by name"),
        ("script", "TorchScript archive, which holds code"),
    ],
)
def test_bad_files_end_with_a_message(tmp_path, kind, said):
    with pytest.raises(UsageError) as caught:
        read_state(write(tmp_path / "weights.pth", kind))
    assert said in str(caught.value)
    assert "weights.pth" in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch's own advice is to run what the file holds


def test_a_broken_safetensors_file(tmp_path):
    save_file({"a": torch.arange(1000.0)}, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-9])
    with pytest.raises(UsageError, match="truncated"):
        read_state(tmp_path / "a.safetensors")


@pytest.fixture
def checksums_off():
    torch.serialization.set_crc32_options(False)
    yield
    torch.serialization.set_crc32_options(True)


def flip(path, entry, offset=0):
    """Change one byte of `entry` in a zip archive that does not compress."""
    with zipfile.ZipFile(path) as archive:
        content = archive.read(entry)
    data = bytearray(path.read_bytes())
    data[data.index(content) + offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("entry", ["data/0", "data/1", "data.pkl"])
def test_an_archive_damaged_in_the_middle_is_refused(tmp_path, entry):
    torch.save({"a": torch.arange(1000.0), "b": torch.ones(7)}, tmp_path / "a.pth")
    read_state(tmp_path / "a.pth")
    flip(tmp_path / "a.pth", f"a/{entry}", offset=20)
    with pytest.raises(UsageError, match=rf"a\.pth cannot be read: its entry a/{entry} is damaged"):
        read_state(tmp_path / "a.pth")


def test_files_without_checksums_still_load(tmp_path, checksums_off):
    torch.save({"a": torch.arange(1000.0)}, tmp_path / "a.pth")
    assert torch.equal(read_state(tmp_path / "a.pth")[0]["a"], torch.arange(1000.0))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_that_are_not_finite_are_refused(tmp_path, tiny, tiny_vit, suffix, value):
    state = tiny_vit().state_dict()
    state["blocks.1.mlp.fc1.weight"][3, 4] = value
    (torch.save if suffix == "pth" else save_file)(state, tmp_path / f"a.{suffix}")
    with pytest.raises(UsageError, match=r"NaN or infinite values in blocks\.1\.mlp\.fc1\.weight"):
        load_backbone("tiny", tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("zipped", [True, False])
def test_training_checkpoints_are_unwrapped(tmp_path, zipped):
    stored = {"teacher": {"a": torch.ones(2)}, "student": {"a": torch.zeros(2)}, "args": argparse.Namespace(lr=1)}
    torch.save(stored, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    state, notes = read_state(tmp_path / "a.pth")
    assert state["a"].tolist() == [1, 1]
    assert "teacher" in notes[0]


def test_an_archive_that_claims_several_disks_is_named(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    raw = bytearray((tmp_path / "a.pth").read_bytes())
    at = raw.rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + (0).to_bytes(12, "little") + (3).to_bytes(4, "little")
    (tmp_path / "a.pth").write_bytes(raw[:at] + locator + raw[at:])
    with pytest.raises(UsageError, match=r"a\.pth cannot be read: the archive is damaged"):
        read_state(tmp_path / "a.pth")


def test_a_pickle_that_claims_gigabytes_is_refused_without_making_room(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "a.pth").read_bytes()
    text = whole.index(b"X\x01\0\0\0a")  # the name of the tensor, with its length
    (tmp_path / "a.pth").write_bytes(whole[: text + 1] + b"\xff\xff\xff\x7f" + whole[text + 5 :])
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"a\.pth cannot be read"):
            read_state(tmp_path / "a.pth")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_folders_in_the_hubs_layout(tmp_path):
    with pytest.raises(UsageError, match="no weight file"):
        read_state(tmp_path / "absent")
    with pytest.raises(UsageError, match="it holds: none"):
        read_state(tmp_path)
    for index in (1, 2):
        save_file({f"a{index}": torch.zeros(1)}, tmp_path / f"model-{index}.safetensors")
    with pytest.raises(UsageError, match="model-1"):
        read_state(tmp_path)
    index = '{"weight_map": {"a1": "model-1.safetensors", "a2": "model-2.safetensors"}}'
    (tmp_path / "model.safetensors.index.json").write_text(index)
    assert sorted(read_state(tmp_path)[0]) == ["a1", "a2"]


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "[" * 100_000])
def test_a_damaged_index_of_shards_is_named(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UsageError, match=r"index\.json is no index of weight files"):
        read_state(tmp_path)


def test_an_index_names_files_beside_it(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "elsewhere.safetensors")
    (tmp_path / "hub").mkdir()
    index = '{"weight_map": {"a": "../elsewhere.safetensors"}}'
    (tmp_path / "hub/model.safetensors.index.json").write_text(index)
    with pytest.raises(UsageError, match="files beside it"):
        read_state(tmp_path / "hub")


@pytest.mark.parametrize("config", ["", "[]", "3", "[" * 100_000])
def test_a_damaged_config_of_the_hub_is_named(tmp_path, dinov2_folder, config):
    (dinov2_folder / "config.json").write_text(config)
    with pytest.raises(UsageError, match=r"config\.json cannot be read"):
        load_backbone(f"hf:{dinov2_folder}")


def test_a_file_of_another_architecture_is_told_apart(tmp_path, tiny, tiny_vit):
    torch.save(tiny_vit(depth=2).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UsageError) as caught:
        load_backbone("tiny", tmp_path / "a.pth")
    for words in ("width 24, 2 blocks", "expected a ViT with patch 14, width 24, 3 blocks", "Missing: blocks.2"):
        assert words in str(caught.value)


def test_own_weights_under_a_free_name(tmp_path, tiny, tiny_vit):
    torch.save(tiny_vit().state_dict(), tmp_path / "a.pth")
    ours = load_backbone("ours", tmp_path / "a.pth", as_="tiny")
    assert (ours.name, ours.card.name, ours.source.kind) == ("ours", "ours", "file")
    assert ours.identity == load_backbone("tiny", tmp_path / "a.pth").identity
    with pytest.raises(UsageError, match="Unknown backbone 'ours'"):
        load_backbone("ours", tmp_path / "a.pth")
    with pytest.raises(UsageError, match="cannot be 'dinov2-s'"):
        load_backbone("tiny", tmp_path / "a.pth", as_="dinov2-s")


def test_a_local_files_identity_is_its_bytes(tmp_path, tiny):
    for name, value in (("a.pth", 1.0), ("b.pth", 1.0), ("c.pth", 2.0)):
        save_file({"x": torch.tensor(value)}, tmp_path / name)
    a, b, c = (resolve(tiny, tmp_path / name).identity for name in ("a.pth", "b.pth", "c.pth"))
    assert a == b != c


def test_random_weights_depend_on_the_seed_alone(tiny):
    def draw(weights, **more):
        return load_backbone("tiny", weights, **more).module.state_dict()

    torch.manual_seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    first = draw("random")
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.manual_seed(2)
    again, other = draw("random:0"), draw("random", seed=1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert resolve(tiny, "random:7", seed=3).identity == "random:7"


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*arguments, **more):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("how", ["argument", "HF_HUB_OFFLINE", "unreachable"])
def test_absent_weights_say_where_they_come_from(how, monkeypatch, no_sockets, tmp_path):
    if how == "HF_HUB_OFFLINE":
        monkeypatch.setenv(how, "1")
    with pytest.raises(UsageError) as caught:
        load_backbone("dinov2-s", offline=how == "argument")
    for words in ("dinov2-s", "timm/vit_small_patch14_dinov2.lvd142m", "model.safetensors", str(tmp_path), "--weights"):
        assert words in str(caught.value)
    assert ("offline" in str(caught.value)) == (how != "unreachable")


def test_gated_weights_say_how_to_get_access(no_sockets):
    with pytest.raises(UsageError, match=r"accept the terms on the page of google/medsiglip-448.*hf auth login"):
        load_backbone("medsiglip", offline=True)


def test_weights_in_the_hubs_cache_are_found_and_named_by_their_blob(tmp_path, monkeypatch, tiny, tiny_vit):
    assert not resolve(tiny).available
    folder = tmp_path / "hub" / "models--nobody--tiny"
    for part in ("blobs", "snapshots/abc", "refs"):
        (folder / part).mkdir(parents=True)
    save_file(tiny_vit().state_dict(), folder / "blobs" / "cafe")
    (folder / "snapshots/abc/model.safetensors").symlink_to("../../blobs/cafe")
    (folder / "refs/main").write_text("abc")
    source = resolve(tiny)
    assert (source.kind, source.available, source.identity) == ("hub", True, "hub:nobody/tiny/model.safetensors@cafe")
    assert fetch(tiny, source, offline=True) == source
    assert load_backbone("tiny", offline=True).source == source


def test_every_card_resolves_without_torch_or_network(no_sockets):
    for known in CATALOG.values():
        hub = f"hub, {known.repo}" if known.repo else "random weights, seed 0"
        package = known.package and f"package {known.package.package} {known.package.version}"
        assert resolve(known).where == (package or hub)
    assert card("timm:resnet18").repo.startswith("timm/resnet18.")


def test_a_folder_serves_as_a_backbone(dinov2_folder, no_sockets):
    backbone = load_backbone(f"hf:{dinov2_folder}")
    assert (backbone.card.mean, backbone.card.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (backbone.card.position_recipe, backbone.card.patch, backbone.depth) == ("dinov2", 14, 3)
    assert backbone.source.kind == "file"


def test_unknown_dtypes_and_what_auto_decides():
    with pytest.raises(UsageError, match="'bfloat16'"):
        load_backbone("dinov2-s", "random", dtype="bf16")
    assert auto_dtype("cpu") in ("float32", "bfloat16")
    assert auto_dtype("meta") == "float32"


def test_networks_from_scratch_are_not_trained_in_bfloat16_on_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = "vendor_id : AuthenticAMD flags : avx512_bf16"
    monkeypatch.setattr("radapt.backbones.dtypes._cpu_facts", lambda: facts)
    assert (auto_dtype("cpu"), scratch_dtype("cpu")) == ("bfloat16", "bfloat16")
    monkeypatch.setattr("radapt.backbones.dtypes._cpu_facts", lambda: f"{facts} amx_bf16")
    assert (auto_dtype("cpu"), scratch_dtype("cpu")) == ("bfloat16", "float32")
    assert cpu_favours_bfloat16("vendor_id : GenuineIntel flags : avx512_bf16 amx_bf16")
    assert cpu_favours_bfloat16("vendor_id : AuthenticAMD flags : avx512_bf16")
    assert not cpu_favours_bfloat16("vendor_id : GenuineIntel flags : avx512_bf16")
    assert not cpu_favours_bfloat16("")
