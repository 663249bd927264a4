"""The student: an encoder of any subset of modalities, with the heads that it has during the adaptation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from radapt.backbones.backbone import Backbone
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.mmdino.heads import ClassifierHead, ProjectionHead
from radapt.mmdino.label_encoding import Kind
from radapt.mmdino.lesion_attention import LesionAttention
from radapt.mmdino.options import Options
from radapt.networks import adapt
from radapt.training.seeds import derived


@dataclass(frozen=True)
class SampleLabels:
    """The labels of a cohort: `outputs` classes or findings, and the share of each in training."""

    kind: Kind
    outputs: int
    shares: Tensor  # (outputs,)


class StudentModel(nn.Module):
    """The encoder, and the heads that the losses of the options need.

    `head` projects CLS tokens onto prototypes, `patch_head` masked patches; both are one where it is shared. `reader`
    computes the vectors that `classifier` takes (see `radapt.mmdino.lesion_attention`). With prototypes as classes
    (published) there is no classifier, and the head's logits are those of the classes.
    """

    def __init__(
        self, encoder: MultiModalViT, options: Options, labels: SampleLabels | None, rates: Sequence[float], seed: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.width
        as_classes = options.supervision == "prototypes" and labels is not None
        prototypes = labels.outputs if as_classes and labels else options.prototypes or 0

        def projection(name: str) -> ProjectionHead:
            return ProjectionHead(
                width, prototypes, hidden=options.head_hidden, bottleneck=options.head_bottleneck,
                seed=derived(seed, name),
            )  # fmt: skip

        self.head = projection("head") if options.dino or as_classes or (options.ibot and options.shared_head) else None
        self.patch_head = None
        if options.ibot:
            self.patch_head = self.head if options.shared_head else projection("patch head")
        self.reader = LesionAttention(width, rates if options.lesion_loss_weight else ())
        separate = options.supervision == "classifier" and labels is not None
        self.classifier = ClassifierHead(self.reader.width, labels.outputs) if separate and labels else None

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        modalities: tuple[str, ...],
        options: Options,
        labels: SampleLabels | None,
        rates: Sequence[float],
        seed: int,
    ) -> "StudentModel":
        """Around a backbone's own module, which is changed: all of its weights are trained, or LoRA adapters in it.

        `rates` are the shares of the training crops that each lesion label covers, none without masks.
        """
        encoder = MultiModalViT.of(
            backbone, modalities, positions=options.positions, modality_embedding=options.modality_embedding,
            seed=derived(seed, "modalities"),
        )  # fmt: skip
        encoder.vit.requires_grad_(True)
        if options.trained == "lora":
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(derived(seed, "lora"))
                adapt(encoder.vit, "lora", rank=options.rank)
        encoder.drop_path = options.drop_path
        # Without iBOT, no loss reads masked patches, so they are left out.
        encoder.hidden_blocks = options.hidden_blocks if options.ibot else 0
        encoder.mask_token.requires_grad_(bool(options.ibot))
        return cls(encoder, options, labels, rates, seed).to(backbone.device)

    @property
    def last_layers(self) -> list[nn.Module]:
        """The layers of prototypes, which are frozen at first."""
        heads = {id(head): head for head in (self.head, self.patch_head) if head is not None}
        return [head.last for head in heads.values()]
