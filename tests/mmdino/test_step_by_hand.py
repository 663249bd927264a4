"""One whole step of the adaptation against NumPy: every part of the loss, its gradients, the teacher and its memory.

Two sequences, four cases of which two lack one, two large crops of 2 × 2 patches and two small ones of one patch, an
encoder of two blocks. Crops, masks and dropped sequences are those that `load` draws; all that follows is recomputed by
`reference_adaptation`. The teacher has other weights than the student, so that a mix-up of the two shows.
"""

import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import reference_adaptation as ref
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.backbones.position import RECIPES, interpolate_positions
from radapt.mmdino.options import Options, options_of
from radapt.mmdino.slices import Sample
from radapt.mmdino.student import SampleLabels, StudentModel
from radapt.mmdino.task import AdaptTask, SampleBatch
from radapt.training.seeds import sample_seeds

CASES, CLASSES, DEPTH, WIDTH = 4, 3, 2, 8
MEAN, STD = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.25])
PRESENT = np.array([[True, True], [True, False], [False, True], [True, True]])
LABELS = np.array([0, -1, 2, -1])
SHARES = np.array([0.2, 0.5, 0.3])  # of classes in the cohort; in the batch they are 1/2, 0 and 1/2
HAS_MASK = np.array([True, False, True, True])
RATES = (0.05, 0.2)
LABELLED_SHARE, MASKED_SHARE = 0.4, 0.6
STEP, TOTAL = 150, 2000
SEEDS = sample_seeds(8, 0, np.arange(CASES))

SMALL: dict[str, Any] = {
    "global_size": 8, "local_size": 4, "local_crops": 2, "intensity_augmentation": "none", "head_hidden": 8,
    "head_bottleneck": 4, "drop_path": 0.0, "batch": CASES, "koleo": 0.3,
}  # fmt: skip
WAYS = {
    "default": options_of("default", **SMALL, prototypes=6, hidden_blocks=1),
    "centre": options_of("default", **SMALL, prototypes=6, hidden_blocks=None, centring="centre", shared_head=False),
    "published": options_of("mm-dinov2", **SMALL),
}


class Slices:
    """Four slices of 16 × 16 pixels, with masks of two lesion labels."""

    cohort = SimpleNamespace(kind="other", patients=np.arange(CASES).astype(str))

    def sample(self, rows: np.ndarray, seeds: np.ndarray) -> Sample:
        planes = np.random.default_rng(0).integers(0, 256, (CASES, 2, 1, 16, 16), np.uint8)
        planes *= PRESENT[:, :, None, None, None].astype(np.uint8)
        boxes = torch.tensor([1.0, 2.0, 15.0, 14.0]).repeat(CASES, 1)
        return Sample(
            torch.from_numpy(planes), torch.from_numpy(PRESENT), boxes, torch.zeros(CASES), torch.zeros(CASES).long()
        )

    def marked_planes(self, rows: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        masks = np.random.default_rng(1).integers(0, 3, (CASES, 16, 16)).astype(np.uint8)
        return masks * HAS_MASK[:, None, None].astype(np.uint8), HAS_MASK


def scattered(module: torch.nn.Module, seed: int, spread: float) -> None:
    """Add a draw to every trained parameter, so that none stands where it starts."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in dict.fromkeys(module.parameters()):
            parameter += spread * torch.randn(parameter.shape, generator=rng)


def made(options: Options) -> tuple[AdaptTask, SampleBatch]:
    """The task in the middle of a training, and a batch of it."""
    vit = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=WIDTH, depth=DEPTH, num_heads=2, init_values=0.7, num_classes=0,
        dynamic_img_size=True,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.fill_(float(parameter.mean()) if parameter.ndim < 2 else 0.0)
    encoder = MultiModalViT(
        vit, modalities=("a", "b"), mean=tuple(MEAN), std=tuple(STD), position_recipe="dinov2", seed=1
    )
    encoder.hidden_blocks = options.hidden_blocks
    labels = SampleLabels("classes", CLASSES, torch.tensor(SHARES).float())
    student = StudentModel(encoder, options, labels, RATES, seed=2)
    scattered(student, 11, 0.4)
    task = AdaptTask(
        student, Slices(), np.arange(CASES), LABELS, options, labels, LABELLED_SHARE, MASKED_SHARE, RATES
    )  # type: ignore[arg-type]  # fmt: skip
    scattered(task.module.teacher.network, 4, 0.2)
    module = task.module
    if module.pseudo is not None:  # as after some steps
        module.pseudo.answered.copy_(torch.tensor([[0.5, 0.3, 0.2]]))
        module.pseudo.level.fill_(0.95)
        module.pseudo.spread.fill_(0.2)
    if options.centring == "centre":
        module.centre.centre.copy_(torch.linspace(-0.1, 0.2, len(module.centre.centre)))  # type: ignore[union-attr]
        module.patch_centre.centre.copy_(torch.linspace(0.3, 0, len(module.centre.centre)))  # type: ignore[union-attr]
    module.train()
    task.before_step(STEP, TOTAL)
    return task, task.load(np.arange(CASES), SEEDS)


class Expected:
    """The step recomputed. Crops are crop-major, as in the batch: crop k of case i at k · CASES + i."""

    def __init__(self, task: AdaptTask, batch: SampleBatch) -> None:
        self.options, self.batch = task.options, batch
        large, small = task.crops.apply(batch.planes, batch.draws)  # what crops show has tests of its own
        self.large, self.small = (crops[:, :, 0].double().numpy() for crops in (large, small))
        if batch.lesion_maps is not None:
            maps = (batch.lesion_maps[:, None] == torch.tensor([1, 2]).view(1, 2, 1, 1)).float()
            shown = task.crops.placed(maps, batch.draws).double().numpy()  # (G·b, L, 8, 8)
            self.lesions = shown.reshape(-1, 2, 2, 4, 2, 4).mean((3, 5))  # (G·b, L, 2, 2)
        self.teacher = numbers(task.module.teacher.network)
        self.nothing = np.zeros((2, 2, 2), bool)
        student = numbers(task.module.student)
        # What is attended to passes no gradient to what finds lesions, and nothing learns through the targets.
        self.attention = [self.found(student, *each)[1] for each in self.crops(masked=True)]
        self.targets()

    def crops(self, masked: bool) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Image, present sequences and masked patches of each large crop."""
        hidden = self.batch.hidden if masked else np.zeros_like(self.batch.hidden)
        return list(zip(self.large, np.tile(PRESENT, (2, 1)), hidden, strict=True))

    def encoded(self, net: ref.Params, image: np.ndarray, present: np.ndarray, masked: np.ndarray) -> ref.Tokens:
        base = torch.from_numpy(net["vit.pos_embed"][:, 1:])
        grid = (masked.shape[1], masked.shape[2])
        positions = interpolate_positions(base, grid, RECIPES["dinov2"])[0].numpy()  # has tests of its own
        return ref.encode(
            net, image, present, masked, positions, self.options.hidden_blocks, mean=MEAN, std=STD, depth=DEPTH
        )

    def found(
        self, net: ref.Params, image: np.ndarray, present: np.ndarray, masked: np.ndarray
    ) -> tuple[ref.Tokens, np.ndarray | None, np.ndarray]:
        """Tokens of a large crop, lesion logits (L, 2, 2) and visible patches (M, 2, 2)."""
        tokens, visible = self.encoded(encoder_of(net), image, present, masked), present[:, None, None] & ~masked
        if "reader.weight" not in net:
            return tokens, None, visible
        return tokens, ref.lesion_logits(net, tokens.patches, visible), visible

    def projected(self, net: ref.Params, features: np.ndarray, what: str) -> np.ndarray:
        return ref.project(net, features, "head" if self.options.shared_head else what)

    def targets(self) -> None:
        """The teacher sees every patch of the sequences there are."""
        net, options = self.teacher, self.options
        seen = [self.found(net, *each) for each in self.crops(masked=False)]
        self.cls_logits = self.projected(net, np.stack([tokens.cls for tokens, _, _ in seen]), "head")
        hidden = self.batch.hidden
        patches = [tokens.patches[mask] for (tokens, _, _), mask in zip(seen, hidden, strict=True)]
        self.patch_logits = self.projected(net, np.concatenate(patches), "patch_head")
        temperature = 0.04 + (0.07 - 0.04) * STEP / (0.15 * TOTAL)
        assert temperature == pytest.approx(0.055)
        if options.centring == "sinkhorn":
            crops, masked = (ref.sinkhorn(logits, temperature) for logits in (self.cls_logits, self.patch_logits))
        else:
            prototypes = self.cls_logits.shape[1]
            centres = np.linspace(-0.1, 0.2, prototypes), np.linspace(0.3, 0, prototypes)
            crops = ref.softmax((self.cls_logits - centres[0]) / temperature)
            masked = ref.softmax((self.patch_logits - centres[1]) / temperature)
        self.crop_targets = crops.reshape(2, CASES, -1)
        ends = np.cumsum([len(each) for each in patches])
        self.patch_targets = np.split(masked, ends[:-1])
        if options.consistency:
            vectors = [ref.lesion_vector(*each) for each in seen]  # type: ignore[arg-type]
            logits = ref.linear(np.stack(vectors), net, "classifier").reshape(2, CASES, -1).mean(0) + np.log(SHARES)
            sharpened = ref.softmax(logits / 0.5)
            aligned = sharpened * np.clip(SHARES / np.array([0.5, 0.3, 0.2]), 0.1, 10)
            self.class_targets = aligned / aligned.sum(1, keepdims=True)
            short = np.maximum(0.95 - self.class_targets.max(1), 0)
            self.class_weights = np.exp(-((2 * short) ** 2) / (2 * 0.2))
            for case in np.flatnonzero(LABELS >= 0):
                self.class_targets[case], self.class_weights[case] = np.eye(CLASSES)[LABELS[case]], 1.0

    def parts(self, net: ref.Params) -> dict[str, float]:
        """Every part of the loss of a student, times its weight."""
        options, heat = self.options, self.options.student_temperature
        seen = [self.found(net, *each) for each in self.crops(masked=True)]
        one = np.zeros((2, 1, 1), bool)
        small = [
            self.encoded(encoder_of(net), image, kept, one)
            for image, kept in zip(self.small, self.batch.small_present, strict=True)
        ]
        cls = np.stack([*(tokens.cls for tokens, _, _ in seen), *(tokens.cls for tokens in small)])
        cls = cls.reshape(4, CASES, WIDTH)
        masked = [tokens.patches[mask] for (tokens, _, _), mask in zip(seen, self.batch.hidden, strict=True)]
        logits = [self.projected(net, each, "patch_head") for each in masked]
        parts = {
            "dino": options.dino * ref.dino(self.projected(net, cls, "head"), self.crop_targets, heat),
            "ibot": options.ibot * ref.ibot(logits, self.patch_targets, heat),
            "koleo": options.koleo * ref.koleo(cls[:2]),
        }
        known = np.flatnonzero(LABELS >= 0)
        if options.supervision == "prototypes":
            weights = -np.log(SHARES)
            logs = ref.log_softmax(self.projected(net, cls, "head") / 0.1).mean(0)  # over all crops
            terms = [-(ref.smoothed(LABELS[case], CLASSES, 0.1) * weights * logs[case]).sum() for case in known]
            return parts | {"supervised": 0.5 * sum(terms) / CASES}
        losses = [
            ref.lesion_loss(found, visible.any(0), lesion, np.array(RATES)) * HAS_MASK[at % CASES]  # type: ignore[arg-type]
            for at, ((_, found, visible), lesion) in enumerate(zip(seen, self.lesions, strict=True))
        ]
        vectors = [
            ref.lesion_vector(tokens, attention, visible)  # type: ignore[arg-type]
            for (tokens, _, visible), attention in zip(seen, self.attention, strict=True)
        ]
        logs = ref.log_softmax(
            ref.linear(np.stack(vectors), net, "classifier").reshape(2, CASES, -1) + np.log(SHARES)
        ).mean(0)
        terms = [
            -(ref.smoothed(LABELS[case], CLASSES, 0.1) * logs[case]).sum() * (LABELS[case] >= 0) for case in range(4)
        ]
        agreed = -(self.class_targets * logs).sum(1) * self.class_weights
        ramp = STEP / (0.2 * TOTAL)
        return parts | {
            "lesion": options.lesion_loss_weight * float(np.mean(losses)) / MASKED_SHARE,
            "supervised": options.supervised * float(sum(terms)) / CASES / LABELLED_SHARE,
            "consistency": ramp * options.consistency * float(agreed.mean()),
        }


def numbers(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: each.detach().double().numpy().copy() for name, each in module.state_dict().items()}


def encoder_of(net: ref.Params) -> dict[str, np.ndarray]:
    return {name.removeprefix("encoder."): each for name, each in net.items() if name.startswith("encoder.")}


@pytest.fixture(params=WAYS, scope="module")
def way(request: pytest.FixtureRequest) -> Options:
    return WAYS[request.param]


def test_the_batch_has_all_that_a_step_can_meet(way: Options) -> None:
    """Crops with and without masked patches, a sequence masked as a whole, a small crop that lacks one."""
    _, batch = made(way)
    per_crop = batch.hidden.sum((1, 2, 3))
    assert (per_crop == 0).any()
    assert len(set(per_crop[per_crop > 0])) > 1
    whole = batch.hidden.all((2, 3))
    assert whole.any()
    assert not (batch.hidden & ~np.tile(PRESENT, (2, 1))[:, :, None, None]).any()
    if way.modality_dropout:
        assert (batch.small_present < np.tile(PRESENT, (2, 1))).any()


def test_every_part_of_the_loss_is_that_of_its_definition(way: Options) -> None:
    task, batch = made(way)
    expected = Expected(task, batch).parts(numbers(task.module.student))
    total = float(task.loss(batch, SEEDS).detach())
    task.after_step(STEP, TOTAL)
    found = task.records()
    assert found == pytest.approx(expected, rel=2e-5)
    assert min(map(abs, expected.values())) > 1e-3
    assert total == pytest.approx(sum(expected.values()), rel=2e-5)


def test_gradients_are_those_of_the_definition_and_reach_the_student_alone(way: Options) -> None:
    """Along a random direction of each parameter, against central differences in float64; targets stay as they are."""
    task, batch = made(way)
    reference, student = Expected(task, batch), numbers(task.module.student)
    task.loss(batch, SEEDS).backward()
    assert all(each.grad is None for each in task.module.teacher.parameters())
    rng, step = np.random.default_rng(5), 1e-5
    for name, parameter in task.module.student.named_parameters():
        assert parameter.grad is not None, name
        direction = rng.standard_normal(parameter.shape)
        up, down = ({**student, name: student[name] + by * direction} for by in (step, -step))
        wanted = (sum(reference.parts(up).values()) - sum(reference.parts(down).values())) / (2 * step)
        given = float((parameter.grad.double().numpy() * direction).sum())
        scale = float(parameter.grad.norm()) * np.linalg.norm(direction)
        assert abs(given - wanted) <= 1e-4 * scale + 1e-6, name


def test_after_a_step_the_teacher_has_moved_towards_the_student_and_remembers_its_logits(way: Options) -> None:
    task, batch = made(way)
    reference = Expected(task, batch)
    task.loss(batch, SEEDS).backward()
    with torch.no_grad():
        for parameter in task.module.student.parameters():
            parameter -= 0.05 * parameter.grad
    before, student = numbers(task.module.teacher.network), numbers(task.module.student)
    task.after_step(STEP, TOTAL)
    momentum = 1 - (1 - 0.992) * 0.5 * (1 + math.cos(math.pi * STEP / TOTAL))
    for name, found in numbers(task.module.teacher.network).items():
        wanted = momentum * before[name] + (1 - momentum) * student[name]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=name)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    logits = (reference.cls_logits, reference.patch_logits)
    memories = (task.module.centre, task.module.patch_centre)
    for memory, rows, start in zip(memories, logits, ((-0.1, 0.2), (0.3, 0.0)), strict=True):
        if way.centring == "sinkhorn":
            close(memory.recent[-len(rows) :].numpy(), rows)  # type: ignore[union-attr]
        else:
            close(memory.centre.numpy(), 0.9 * np.linspace(*start, rows.shape[1]) + 0.1 * rows.mean(0))  # type: ignore[union-attr]
