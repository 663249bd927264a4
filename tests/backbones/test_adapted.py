"""An adapted backbone as a folder: it comes back as it was, by every way of naming it, and damage is said."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import radapt
from radapt.backbones import find_backbone, load_backbone
from radapt.backbones.adapted import check_modalities, load_adapted, read_adapted, save_adapted
from radapt.backbones.backbone import Backbone
from radapt.backbones.multimodal_vit.vit import Crops, MultiModalViT
from radapt.digests import digest_file
from radapt.errors import UsageError

NAMES = ("t1", "t1c", "flair")
BASE = "timm:test_vit"


def base() -> Backbone:
    return load_backbone(BASE, "random")


def network(names: tuple[str, ...] = NAMES, **options: object) -> MultiModalViT:
    return MultiModalViT.of(base(), names, **options).eval()


def crops(size: int = 32, channels: int = 1) -> Crops:
    images = torch.randint(0, 256, (3, 3, channels, size, size), generator=torch.Generator().manual_seed(0))
    return Crops(images.to(torch.uint8), torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1]]).bool())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_adapted(tmp_path / "ours", network(), base().card, {"seed": 3, "recipe": {"size": [98, 98]}})
    return tmp_path / "ours"


@pytest.mark.parametrize(
    "options", [{}, {"modality_embedding": False}, {"unit_embedding": False, "positions": "tiled"}]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_saved_is_what_is_loaded(options: dict[str, object], channels: int, tmp_path: Path) -> None:
    made = network(**options)
    save_adapted(tmp_path, made, base().card)
    loaded = load_backbone(str(tmp_path))
    before, after = made(crops(40, channels), layers=(-3, -1)), loaded.joint(crops(40, channels), (-3, -1))
    assert torch.equal(before.cls, after.cls)
    assert torch.equal(before.tokens, after.tokens)
    for one, other in zip(before.layers, after.layers, strict=True):
        assert torch.equal(one.cls, other.cls)
        assert torch.equal(one.mean, other.mean)


def test_the_folder_says_what_it_is(folder: Path) -> None:
    known = read_adapted(folder)
    assert known.modalities == NAMES
    assert known.facts == {"seed": 3, "recipe": {"size": [98, 98]}}
    assert known.card == replace(base().card, name="ours")
    assert load_backbone(str(folder)).modalities == NAMES
    assert base().modalities == ()


def test_one_image_alone_is_seen_by_the_encoder_itself(folder: Path) -> None:
    images = torch.rand(2, 1, 40, 32, generator=torch.Generator().manual_seed(0))
    one, other = base().tokens(images, (-2, -1)), load_backbone(str(folder)).tokens(images, (-2, -1))
    for before, after in zip(one.layers, other.layers, strict=True):
        assert torch.equal(before.patches, after.patches)


def test_what_is_done_to_the_encoder_is_done_to_the_network(folder: Path) -> None:
    loaded = load_backbone(str(folder))
    before = loaded.joint(crops()).cls
    with torch.no_grad():
        loaded.module.blocks[0].mlp.fc1.bias += 1
    assert not torch.allclose(before, loaded.joint(crops()).cls)


def test_in_bfloat16_it_is_nearly_the_same(folder: Path) -> None:
    exact = load_backbone(str(folder)).joint(crops()).cls.detach()
    rough = load_backbone(str(folder), dtype="bfloat16").joint(crops()).cls.detach()
    assert rough.dtype == torch.float32
    assert 0 < float((exact - rough).norm() / exact.norm()) < 0.03


def test_it_is_known_before_it_is_loaded(folder: Path) -> None:
    found = find_backbone(str(folder), dtype="float32")
    loaded = radapt.load_backbone(str(folder))
    assert found.lazy.identity == loaded.identity
    assert found.lazy.modalities == loaded.modalities == NAMES
    assert (found.lazy.name, loaded.name, found.card.name) == ("ours",) * 3
    assert found.lazy.settled
    assert found.lazy.load_as("bfloat16").dtype == torch.bfloat16
    named = find_backbone("mine", folder)
    assert (named.lazy.name, named.lazy.identity) == ("mine", loaded.identity)
    assert load_backbone("mine", folder).name == "mine"


def test_what_decides_its_tokens_decides_its_identity(tmp_path: Path) -> None:
    made, card, seen = network(), base().card, []
    other = network()
    with torch.no_grad():
        other.modality_embedding[0] += 1  # type: ignore[index]
    tiled = network(positions="tiled")
    for number, each in enumerate((made, made, other, tiled, network(NAMES[::-1]))):
        save_adapted(tmp_path / str(number), each, card, {"number": number})
        seen.append(find_backbone(str(tmp_path / str(number))).lazy.identity)
    assert seen[0] == seen[1]
    assert len(set(seen)) == 4
    assert base().identity not in seen


def test_the_folder_can_be_moved_and_shortened_to_home(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(folder, tmp_path / "moved")
    assert load_backbone(str(tmp_path / "moved")).name == "moved"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_backbone("~/moved").modalities == NAMES
    monkeypatch.chdir(tmp_path / "moved")
    assert load_backbone(".").name == "moved"


def test_saving_again_leaves_other_files_alone(folder: Path) -> None:
    (folder / "classifier.json").write_text("{}")
    save_adapted(folder, network(("ct",)), base().card)
    assert read_adapted(folder).modalities == ("ct",)
    assert (folder / "classifier.json").exists()


Break = Callable[[Path], object]


def rewritten(change: Callable[[dict[str, torch.Tensor]], object]) -> Break:
    """Other tensors, with a JSON that knows of them."""

    def act(folder: Path) -> None:
        state = load_file(folder / "backbone.safetensors")
        change(state)
        save_file(state, folder / "backbone.safetensors")
        edited(weights=digest_file(folder / "backbone.safetensors"))(folder)

    return act


def edited(**values: object) -> Break:
    def act(folder: Path) -> None:
        stored = json.loads((folder / "backbone.json").read_text())
        stored = {name: value for name, value in (stored | values).items() if value is not None}
        (folder / "backbone.json").write_text(json.dumps(stored))

    return act


def cut(folder: Path) -> None:
    data = (folder / "backbone.safetensors").read_bytes()
    (folder / "backbone.safetensors").write_bytes(data[:-4])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "backbone.json").unlink(), "holds no readable adapted backbone"),
        (lambda folder: (folder / "backbone.safetensors").unlink(), "damaged, missing"),
        (lambda folder: (folder / "backbone.json").write_text("{"), "readable"),
        (lambda folder: (folder / "backbone.json").write_text("[]"), "readable"),
        (cut, "damaged, missing, or of another"),
        (edited(format=99), "format 99"),
        (edited(card=None), "readable.*card"),
        (edited(card={"name": "x"}), "readable"),
        (edited(modalities="t1"), "modalities of another type"),
        (edited(modalities=["t1", "t1c"]), "of another shape: modality_embedding"),
        (edited(modalities=["t1", "t1", "flair"]), "each once"),
        (edited(options={"colour": True}), "another version of radapt.*colour"),
        (rewritten(lambda state: state.pop("mask_token")), "missing: mask_token"),
        (rewritten(lambda state: state.update(more=torch.ones(1))), "unexpected: more"),
        (rewritten(lambda state: state["mask_token"].fill_(float("nan"))), "not finite: mask_token"),
    ],
)
def test_damage_is_said(damage: Break, said: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(UsageError, match=said):
        load_backbone(str(folder))
    with pytest.raises(UsageError, match=said):
        load_adapted(folder)


def test_a_kill_while_saving_leaves_no_whole_backbone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        save_adapted(folder, network(("ct",)), base().card)
    with pytest.raises(UsageError, match="readable"):
        load_backbone(str(folder))


def test_names_that_do_not_go_together_are_refused(folder: Path, tmp_path: Path) -> None:
    for wrong, said in (
        ({"name": "dinov2-s", "weights": folder}, "adapted backbone, not weights"),
        ({"name": "mine", "weights": folder, "as_": "dinov2-s"}, "adapted backbone, not weights"),
        ({"name": str(folder), "weights": "random"}, "leave out the weights random"),
        ({"name": str(folder), "as_": "dinov2-s"}, "leave out the architecture dinov2-s"),
        ({"name": str(tmp_path)}, "has no backbone.json"),
        ({"name": str(tmp_path / "nothing")}, "Unknown backbone"),
    ):
        with pytest.raises(UsageError, match=said):
            load_backbone(**wrong)  # type: ignore[arg-type]


def test_a_folder_named_like_a_backbone_of_the_catalog_is_not_taken_for_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "dinov2-s")
    monkeypatch.chdir(tmp_path)
    assert find_backbone("dinov2-s", "random").lazy.modalities == ()
    assert find_backbone("./dinov2-s").lazy.modalities == NAMES


def test_a_card_of_another_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not that of the network"):
        save_adapted(tmp_path / "no", network(), radapt.backbones.card("dinov2-s"))
    assert not (tmp_path / "no").exists()


def test_a_plain_backbone_sees_no_modalities_together() -> None:
    with pytest.raises(UsageError, match="one image at a time"):
        base().joint(crops())


def test_unknown_modalities_are_named_with_the_nearest() -> None:
    check_modalities(("flair", "t1"), NAMES, "ours")
    with pytest.raises(UsageError, match=r"ours was not adapted to 'flare'\. Did you mean 'flair'.*t1, t1c, flair"):
        check_modalities(("t1", "flare"), NAMES, "ours")
