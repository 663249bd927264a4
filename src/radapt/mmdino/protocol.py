"""`mmdino`: a backbone adapted to all sequences of a cohort at once, labelled cases or not, and the one classifier that
answers from any of them (see `radapt.mmdino`)."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from radapt.backbones.build import build
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.backbones.position import RECIPES
from radapt.cohorts.case_table import cohort_digest
from radapt.cohorts.cohort import Cohort
from radapt.digests import ByteDigests
from radapt.durable import write_json
from radapt.errors import UsageError
from radapt.features.token_store import Precision
from radapt.mmdino.adapt import adapt, check_crops
from radapt.mmdino.adapt_facts import FACTS, adaptation_facts
from radapt.mmdino.folder import AdaptedModel, TrainedAdaptation, restore_adaptation
from radapt.mmdino.fusion.fit_fusion import fit_fusion
from radapt.mmdino.fusion.fusion_model import FusionModel
from radapt.mmdino.fusion.token_kind import PooledTokens
from radapt.mmdino.options import RENAMED, Options, options_of
from radapt.mmdino.training_labels import has_two_labels
from radapt.models.folder import SavedModel
from radapt.protocols.fitted import Fitted, Reads
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.length import Length
from radapt.protocols.protocol import Protocol
from radapt.training.checkpoint import fit_key

if TYPE_CHECKING:
    from radapt.backbones import Backbone, WeightCard, WeightSource
    from radapt.backbones.lazy import LazyBackbone
    from radapt.features.token_pass import MakeStore
    from radapt.images import Recipe


@dataclass(frozen=True)
class MmDino(Protocol[ImageProblem]):
    """An adaptation by `radapt.mmdino.adapt`, scored on every subset of the sequences.

    Its options are `preset`, one of `radapt.mmdino.options.PRESETS`, and whatever fields of `Options` are to differ
    from that. Unlabelled cases of train are learned from, too; val chooses the strength of the classifier.
    """

    name: ClassVar[str] = "mmdino"
    reads: ClassVar[Reads] = "images"
    uses_masks: ClassVar[bool] = True
    renamed_options: ClassVar[Mapping[str, str]] = RENAMED

    preset: str
    options: Options

    @classmethod
    def known_options(cls) -> tuple[str, ...]:
        return ("preset", *(each.name for each in fields(Options)))

    @classmethod
    def of(cls, preset: str = "default", **changed: Any) -> "MmDino":
        """Raises UsageError for an unknown preset or a value out of range. The word `none` or `None` stands for no
        value where an option may have none."""
        empty = {name for name, value in changed.items() if _is_none(value) and name in _may_be_none()}
        return cls(preset, options_of(preset, **changed | dict.fromkeys(empty)))

    @property
    def settings(self) -> dict[str, Any]:
        return {"preset": self.preset, **self.options.plain()}

    def recipe_read(self, recipe: "Recipe") -> "Recipe":
        """The foreground instead of the lesion: it weighs patches and slices by lesions that it predicts itself."""
        return recipe.looking("foreground") if recipe.look == "lesion" else recipe

    def suits(self, card: "WeightCard") -> bool:
        """Plain vision transformers only, but for a fusion. Raises UsageError for crops smaller than a patch of one."""
        if self.options.trained == "fusion":
            return True
        if not self._is_plain(card):
            return False
        self.check_suits(card)
        return True

    def check_suits(self, card: "WeightCard") -> None:
        """Raises UsageError for an encoder that cannot be adapted, or not with these crops. Looked up on shapes
        alone."""
        if self.options.trained == "fusion":
            return
        self._check_kind(card)
        check_crops(self.options, card.patch)
        if self.options.trained == "partial" and self.options.blocks > card.depth:
            raise UsageError(
                f"blocks is {self.options.blocks}, and {card.name} has {card.depth}. Choose 1 to that many."
            )

    def settled(self, source: "WeightSource", cohort: Cohort, modalities: tuple[str, ...] = ()) -> "MmDino":
        """With `trained: auto` decided for an encoder with weights of this `source` (see `Options.settled`). One that
        was adapted to `modalities` before is trained further, and without labels in train there is nothing but the
        encoder to train."""
        fuses = source.kind != "random" and not modalities and has_two_labels(cohort)
        return replace(self, options=self.options.settled(pretrained=fuses))

    def length(self, samples: int) -> Length:
        own = self.options.fusion if self.options.stores_tokens else self.options
        return Length.within(own.epochs, own.steps, own.batch, samples)

    def shortened(self, length: int) -> "MmDino":
        if self.options.stores_tokens:
            return replace(self, options=replace(self.options, fusion=replace(self.options.fusion, epochs=length)))
        return replace(self, options=replace(self.options, epochs=length))

    def _is_plain(self, card: "WeightCard") -> bool:
        """Whether it is a plain vision transformer. Most cards say so; building one to see takes seconds."""
        if card.plain is not None or card.position_recipe not in RECIPES:
            return bool(card.plain)
        try:
            self._check_kind(card)
        except UsageError:
            return False
        return True

    def token_store(
        self, encoder: "LazyBackbone", cohort: Cohort, recipe: "Recipe", dtype: str, cache: Path
    ) -> "MakeStore | None":
        """Those of a fusion that reads every slice of the recipe, of whatever it looks at but lesions."""
        if encoder.source is None or encoder.modalities or recipe.look == "lesion":
            return None
        own = self.settled(encoder.source, cohort).options
        if own.trained != "fusion" or recipe.count is None or recipe.count > own.slices:
            return None
        precision: Precision = "bfloat16" if dtype == "bfloat16" else "float32"
        return lambda backbone: PooledTokens.of(backbone, own.fusion, precision).store(cache)

    def _check_kind(self, card: "WeightCard") -> None:
        if card.plain:
            return
        MultiModalViT(
            build(card), modalities=("any",), mean=card.mean, std=card.std, position_recipe=card.position_recipe
        )

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted:
        """Raises DataError if images cannot be read or training diverges, UsageError for a backbone that is no plain
        vision transformer."""
        backbone = problem.backbone()
        ready = self.settled(backbone.source, problem.cohort, backbone.modalities)
        seed = int(rng.integers(2**62))
        return (ready._fit_fusion if ready.options.stores_tokens else ready._fit_encoder)(problem, backbone, seed)

    def _fit_fusion(self, problem: ImageProblem, backbone: "Backbone", seed: int) -> Fitted:
        machine = problem.machine
        if machine.devices > 1:
            raise UsageError("What is trained on stored tokens is trained by one process; leave out --devices.")
        key = self._key(problem, problem.cohort, backbone.identity, seed)
        fusion = fit_fusion(
            problem.cohort, backbone, self.options, recipe=problem.recipe, cache=problem.slices, seed=seed,
            precision=machine.precision, checkpoint=machine.checkpoints and machine.checkpoints / f"{key}.pt",
            progress=machine.progress,
        )  # fmt: skip
        if machine.folder is not None:
            facts = adaptation_facts(
                fusion, problem.cohort, preset=self.preset, backbone=backbone.name, weights=backbone.source.identity,
                machine=machine,
            )  # fmt: skip
            write_json(machine.folder / FACTS, facts)
        model = fusion.model.of(problem.cohort, problem.slices, machine.progress)
        return Fitted(model, model, fusion.record)

    def _fit_encoder(self, problem: ImageProblem, backbone: "Backbone", seed: int) -> Fitted:
        cohort = problem.cohort if problem.choose else _without_val(problem.cohort)
        machine = problem.machine
        key = self._key(problem, cohort, backbone.identity, seed)
        adapted = adapt(
            cohort, backbone, self.options, recipe=problem.recipe, seed=seed, device=machine.device,
            devices=machine.devices, precision=machine.precision,
            checkpoint=machine.checkpoints and machine.checkpoints / f"{key}.pt", cache=problem.slices.folder,
            progress=machine.progress,
        )  # fmt: skip
        if machine.folder is not None:
            facts = adaptation_facts(
                adapted, cohort, preset=self.preset, backbone=backbone.name, weights=backbone.source.identity,
                machine=machine,
            )  # fmt: skip
            write_json(machine.folder / FACTS, facts)
        model = AdaptedModel.of(adapted, problem.cohort, problem.slices)
        details = {"preset": self.preset, "modalities": list(adapted.modalities)}
        notes = adapted.record.notes
        if problem.method == "cv":
            notes += ("Chosen on val, not by inner folds: adapting once more for each of them would cost hours.",)
        # The study's rules decide, not those of `radapt adapt`.
        return Fitted(model, model, replace(adapted.record, details=details, notes=notes, decision=None))

    def restore(self, saved: SavedModel, backbone: "Backbone | None") -> TrainedAdaptation | FusionModel:
        """A fusion needs its encoder; an adapted encoder is in the folder, so no backbone is needed."""
        if "fusion" in saved.card.facts:
            return FusionModel.restored(saved, backbone)
        return TrainedAdaptation(restore_adaptation(saved))

    def _key(self, problem: ImageProblem, cohort: Cohort, identity: str, seed: int) -> str:
        digest = cohort_digest(cohort, ByteDigests(problem.slices.folder), masks=True)
        return fit_key(
            protocol=self.name, options=self.options.plain(), seed=seed, precision=problem.machine.precision,
            data=[digest, problem.recipe.digest], network=identity,
        )  # fmt: skip


def _without_val(cohort: Cohort) -> Cohort:
    """The cohort with val's labels taken away: nothing is chosen on them."""
    pairs = zip(cohort, cohort.unlabelled, strict=True)
    return replace(cohort, cases=tuple(blank if case.split == "val" else case for case, blank in pairs))


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value.lower() == "none"


def _may_be_none() -> set[str]:
    """Options that may have no value."""
    kinds = typing.get_type_hints(Options, include_extras=False)
    return {name for name, kind in kinds.items() if type(None) in typing.get_args(kind)}
