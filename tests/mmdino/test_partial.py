"""`trained: partial`: the last blocks of an encoder on stored tokens, as in the whole encoder with the rest frozen."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radapt.backbones import load_backbone
from radapt.backbones.backbone import Backbone
from radapt.cohorts import load_cohort
from radapt.cohorts.cohort import Cohort
from radapt.errors import UsageError
from radapt.images import Recipe, SliceCache
from radapt.locations import Location
from radapt.mmdino.fusion.fit_fusion import Fusion, fit_fusion
from radapt.mmdino.fusion.fusion_options import FusionOptions
from radapt.mmdino.fusion.fusion_task import FusionTask
from radapt.mmdino.fusion.partial_network import PartialEnsemble, PartialNetwork
from radapt.mmdino.fusion.token_kind import BlockInputs
from radapt.mmdino.fusion.token_network import FusionShape
from radapt.mmdino.inference import CaseQuery
from radapt.mmdino.options import options_of
from radapt.mmdino.protocol import MmDino
from radapt.mmdino.student import SampleLabels
from radapt.protocols import Machine, train
from radapt.protocols.load_model import load_model
from radapt.training import TrainConfig, training_run
from radapt.training import train as train_task
from toy_encoders import toy_backbone
from toy_study import write_cohort

QUICK: dict[str, Any] = {"trained": "partial", "blocks": 2, "global_size": 32, "fusion": {"epochs": 2, "slices": 2}}
SIZE, CASES, PLANES = 28, 3, 2
PRESENT = torch.tensor([[True, True], [False, True], [True, False]])
LABELS = np.array([1, 0, 1])
SHARES = torch.tensor([0.3, 0.7])


def stored(backbone: Backbone, images: Tensor, blocks: int) -> Tensor:
    """float16 (n, R + P, D) of images uint8 (n, 1, SIZE, SIZE), as a store keeps them."""
    kind = BlockInputs.of(backbone, blocks, SIZE, "float32")
    with torch.no_grad():
        rows = kind.store(Path("unused"))._encoded(backbone, images, (-1,))
    return rows.view(len(images), kind.places, kind.width)


def pictures(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def shaped(backbone: Backbone, blocks: int, sequences: int) -> FusionShape:
    return FusionShape(backbone.width, sequences, (SIZE // 14) ** 2, 2, 0, backbone.width, blocks, dropout=0.0)


@pytest.mark.parametrize("family", ["vit", "vit-layerscale-registers"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_single_sequence_ends_as_in_the_whole_encoder(family: str, blocks: int) -> None:
    backbone, images = toy_backbone(family), pictures(4)
    network = PartialNetwork(shaped(backbone, blocks, 2), backbone.module, torch.empty(0), seed=0).eval()
    tokens = stored(backbone, images, blocks)
    both = torch.stack([torch.full_like(tokens, torch.nan), tokens], dim=1)
    with torch.no_grad():
        cls = network(both.float(), torch.tensor([[False, True]] * 4)).vectors[:, : backbone.width]
        torch.testing.assert_close(cls, backbone.tokens(images).cls, rtol=0, atol=5e-3)


class Stored:
    """Three cases of two planes and two sequences, of which one lacks either."""

    def __init__(self, backbone: Backbone, images: Tensor, blocks: int) -> None:
        self.loader = SimpleNamespace(present=PRESENT.numpy())
        self.all = stored(backbone, images.flatten(0, 2), blocks).unflatten(0, (CASES, PLANES, 2)).numpy()

    def planes(self, query: CaseQuery) -> np.ndarray:
        return np.arange(PLANES)

    def tokens(self, query: CaseQuery, planes: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.all[query.row][planes]
        return found * PRESENT[query.row].numpy()[:, None, None]


class Whole(nn.Module):
    """The whole encoder without packing or a store: timm's own blocks, one slice after the other."""

    def __init__(self, backbone: Backbone, member: PartialNetwork, blocks: int) -> None:
        super().__init__()
        self.backbone, self.trained = backbone, blocks
        self.vit = copy.deepcopy(backbone.module)
        self.vit.requires_grad_(False)
        self.vit.blocks[-blocks:].requires_grad_(True)
        self.vit.norm.requires_grad_(True)
        self.rest = nn.ModuleDict({name: copy.deepcopy(getattr(member, name)) for name in ("attention", "head")})
        self.modality = nn.Parameter(member.modality.detach().clone())

    def forward(self, images: Tensor, visible: Tensor) -> Tensor:
        """(CASES, 2) logits of images (CASES, PLANES, 2, 1, SIZE, SIZE)."""
        logits = []
        for case in range(CASES):
            vectors, weights = [], []
            for plane in range(PLANES):
                cls, patches = self.slice(images[case, plane], visible[case])
                vectors.append(torch.cat([cls, patches]))
                weights.append(self.rest["attention"](cls).exp())
            mean = sum(w * v for w, v in zip(weights, vectors, strict=True)) / sum(weights)
            logits.append(self.rest["head"](mean))
        return torch.stack(logits)

    def slice(self, images: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        x = self.backbone._encoder.embed(self.vit, self.backbone._normalise(images))  # type: ignore[attr-defined]
        for block in self.vit.blocks[: -self.trained]:
            x = block(x)  # each sequence by itself
        x = x.half().float() + self.modality
        x = x[visible].flatten(0, 1)[None]  # from here on together
        for block in self.vit.blocks[-self.trained :]:
            x = block(x)
        x = self.vit.norm(x)[0].unflatten(0, (int(visible.sum()), -1))
        return x[:, 0].mean(0), x[:, self.vit.num_prefix_tokens :].mean((0, 1))


def test_a_step_is_that_of_the_whole_encoder_with_the_other_blocks_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.mmdino.fusion.partial_network.FROZEN", 0.0)  # there is one step
    backbone, blocks = toy_backbone("vit-layerscale-registers"), 2
    module = PartialEnsemble(shaped(backbone, blocks, 2), backbone.module, torch.empty(0), 0.1)
    member: Any = module.members[0]
    with torch.no_grad():
        for parameter in (member.head.weight, member.modality):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    images = pictures(CASES * PLANES * 2).unflatten(0, (CASES, PLANES, 2))
    before = copy.deepcopy(module.state_dict())
    whole = Whole(backbone, member, blocks)
    labels = SampleLabels("classes", 2, SHARES)
    own = FusionOptions(modality_dropout=0.0, label_smoothing=0.1)
    task = FusionTask(
        module, Stored(backbone, images, blocks), np.arange(CASES), LABELS, np.zeros(CASES, bool), labels, own, ()
    )  # type: ignore[arg-type]  # fmt: skip
    config = TrainConfig(epochs=1, batch=CASES, lr=0.01, weight_decay=0.1, warmup=0.0, clip=None, score_every=None)
    loss = F.cross_entropy(
        whole(images, PRESENT) + SHARES.log(), torch.from_numpy(LABELS), label_smoothing=0.1, reduction="mean"
    )
    loss.backward()  # type: ignore[no-untyped-call]
    trained = train_task(task, config, seed=0)
    assert trained.history[-1]["supervised"] == pytest.approx(loss.item(), rel=1e-5)
    theirs = {f"members.0.blocks.{name}": p for name, p in whole.vit.blocks[-blocks:].named_parameters()}
    theirs |= {f"members.0.norm.{name}": p for name, p in whole.vit.norm.named_parameters()}
    theirs |= {f"members.0.{name}": p for name, p in whole.rest.named_parameters()}
    theirs["members.0.modality"] = whole.modality
    assert theirs.keys() == before.keys()
    for name, parameter in module.named_parameters():
        gradient = theirs[name].grad
        assert gradient is not None
        scale = 0.001 if ".blocks." in name or ".norm." in name else 0.01
        kept = 1.0 - scale * 0.1 if parameter.ndim > 1 else 1.0
        expected = before[name] * kept - scale * gradient / (gradient.abs() + 1e-8)  # the first step of AdamW
        clear = gradient.abs() > 1e-5  # of smaller ones the sign is rounding
        torch.testing.assert_close(parameter[clear], expected[clear], rtol=1e-4, atol=2e-5)


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return load_backbone("timm:test_vit", "random")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load_cohort(write_cohort(tmp_path_factory.mktemp("partial") / "discs", patients=24))


def fitted(cohort: Cohort, vit: Backbone, checkpoint: Path | None = None, **options: Any) -> Fusion:
    assert cohort.path is not None
    return fit_fusion(
        cohort, vit, options_of(**QUICK | options), recipe=Recipe.for_kind("other", size=32),
        cache=SliceCache(cohort.path.parent / "cache"), checkpoint=checkpoint,
    )  # fmt: skip


def answers(fusion: Fusion, cohort: Cohort, *names: str) -> np.ndarray:
    assert cohort.path is not None
    rows = np.flatnonzero(cohort.presence[:, [cohort.modalities.index(name) for name in names]].any(axis=1))
    return fusion.model.of(cohort, SliceCache(cohort.path.parent / "cache")).predict_from(rows, names)


@pytest.fixture(scope="module")
def partial(cohort: Cohort, vit: Backbone) -> Fusion:
    return fitted(cohort, vit)


def test_the_same_seed_gives_the_same_bits_and_the_encoder_is_left_alone(
    partial: Fusion, cohort: Cohort, vit: Backbone
) -> None:
    before = {name: tensor.clone() for name, tensor in vit.module.state_dict().items()}
    again = fitted(cohort, vit)
    np.testing.assert_array_equal(answers(again, cohort, "a", "b"), answers(partial, cohort, "a", "b"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in vit.module.state_dict().items())
    last: Any = vit.module.blocks[-1]  # type: ignore[index]
    own: Any = partial.model.network.members[0]
    assert not torch.equal(own.blocks[-1].attn.qkv.weight, last.attn.qkv.weight)
    assert partial.record.candidates[0].options == {"trained": "partial", "blocks": 2}


def test_a_killed_training_ends_with_the_same_bits(
    partial: Fusion, cohort: Cohort, vit: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from radapt.training import loop

    whole = training_run.TrainingRun._close_epoch

    def killed(self: Any) -> None:
        whole(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.Checkpoint, "due", property(lambda self: True))
        patch.setattr(training_run.TrainingRun, "_close_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            fitted(cohort, vit, tmp_path / "at.pt")
    assert (tmp_path / "at.pt").is_file()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the encoder was called, whose tokens are stored")

    monkeypatch.setattr("radapt.mmdino.fusion.token_kind.BlockTokenStore._encoded", refuse)
    resumed = fitted(cohort, vit, tmp_path / "at.pt")
    np.testing.assert_array_equal(answers(resumed, cohort, "a", "b"), answers(partial, cohort, "a", "b"))


def test_its_folder_is_a_model_and_every_subset_is_scored(cohort: Cohort, vit: Backbone, tmp_path: Path) -> None:
    assert cohort.path is not None
    cache = cohort.path.parent / "cache"
    found = train(cohort, "mmdino", vit, size=32, cache=cache, machine=Machine(folder=tmp_path), resamples=100, **QUICK)
    assert found.subsets is not None
    assert set(found.subsets.scores["subset"]) == {"", "a", "b", "a + b"}
    model = load_model(tmp_path / "model", vit, cache=cache)
    test = np.flatnonzero(cohort.splits == "test")
    saved = found.predictions.set_index("case")["p_ill"]
    again = model.predict(cohort, rows=test).set_index("case")["p_ill"]
    np.testing.assert_array_equal(again, saved.loc[again.index])


def test_a_subset_is_answered_as_if_nothing_else_were_there(partial: Fusion, cohort: Cohort) -> None:
    stripped = replace(cohort, cases=tuple(
        replace(case, images={"b": case.images["b"]}) for case in cohort if "b" in case.images
    ))  # fmt: skip
    np.testing.assert_array_equal(answers(partial, stripped, "b"), answers(partial, cohort, "b"))


def test_masks_teach_it_where_the_lesion_is(cohort: Cohort, vit: Backbone, tmp_path: Path) -> None:
    disc = np.broadcast_to(np.hypot(*np.mgrid[-8:8, -8:8]) < 4, (5, 16, 16)).astype(np.uint8)
    np.save(tmp_path / "disc.npy", disc)
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    cases = tuple(
        replace(case, mask=Location(tmp_path / ("disc.npy" if case.split == "train" else "broken.npy")))
        for case in cohort
    )
    found = fitted(replace(cohort, cases=cases, mask_labels={1: "disc"}), vit)
    assert found.model.facts.shape.lesions == 1
    assert {"supervised", "lesion"} <= set(found.record.history[-1])


def test_what_has_no_effect_is_refused(cohort: Cohort, vit: Backbone) -> None:
    with pytest.raises(UsageError, match="'blocks' belongs to trained: partial"):
        options_of(blocks=3)
    with pytest.raises(UsageError, match="'depth' of fusion has no effect"):
        options_of(trained="partial", fusion={"depth": 1})
    with pytest.raises(UsageError, match="'epochs' has no effect"):
        options_of(trained="partial", epochs=3)
    with pytest.raises(UsageError, match="'global_size' has no effect"):
        options_of(trained="fusion", global_size=32)
    with pytest.raises(UsageError, match=rf"blocks is 99, and .* has {vit.depth}"):
        fitted(cohort, vit, blocks=99)
    with pytest.raises(UsageError, match=r"blocks is 99, and .* has "):
        MmDino.of(trained="partial", blocks=99).check_suits(vit.card)
    with pytest.raises(UsageError, match="no plain vision transformer"):
        fitted(cohort, load_backbone("timm:test_resnet", "random"))
