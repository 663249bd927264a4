"""Weight cards of timm models outside the catalog, derived from the model itself."""

import difflib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from radapt.backbones.card import WeightCard
from radapt.errors import UsageError

# Words in timm's tags that name the pretraining data.
_TAGS = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-21k",
    "laion2b": "LAION-2B",
    "laion400m": "LAION-400M",
    "datacomp": "DataComp-1B",
    "openai": "WIT-400M",
    "webli": "WebLI",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "sat493m": "SAT-493M",
    "sa1b": "SA-1B",
    "mae": "ImageNet-1k",
    "dino": "ImageNet-1k",
}

# The exceptions that third-party modules raise for unsupported input.
_REFUSALS = (AttributeError, TypeError, AssertionError, RuntimeError, ValueError, LookupError)


@lru_cache(maxsize=64)
def timm_card(model: str) -> WeightCard:
    """The card of `timm:<model>` (with or without a tag). UsageError for an unknown model, with the nearest names."""
    import timm

    name = model.partition(".")[0]
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UsageError(f"timm has no model {model!r}.{hint}")
    tags = timm.list_pretrained(f"{name}.*")
    if "." in model and model not in tags:
        raise UsageError(f"timm has no weights {model!r}. It has: {', '.join(tags) or 'none for this model'}.")
    settings = timm.get_pretrained_cfg(model).to_dict()
    tag = settings.get("tag") or model.partition(".")[2]
    return measured(
        WeightCard(
            name=f"timm:{model}",
            family="timm",
            architecture=f"timm:{model}",
            repo=_repo(settings, name, tag),
            licence=settings.get("license") or "unknown",
            pretraining=tuple(dict.fromkeys(seen for word, seen in _TAGS.items() if word in tag.split("_"))),
            width=0,
            depth=0,
            parameters=0,
            patch=0,
            native_size=settings["input_size"][-1],
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            position_recipe=_recipe(name),
        )
    )


def measured(card: WeightCard) -> WeightCard:
    """`card` with width, depth, parameters and patch measured by a forward pass on the meta device."""
    import torch

    from radapt.backbones.build import build
    from radapt.backbones.encoders import extractor_for

    try:
        module = build(card)
        extractor = extractor_for(module, card.position_recipe)
        depth = len(extractor.widths(module))

        def run(side: int) -> Any:
            with torch.no_grad(), torch.device("meta"):
                return extractor(module, torch.empty(1, 3, side, side, device="meta"), [depth - 1])[0]

        tokens = run(card.native_size)
        patch = _patch(module, card.native_size, tokens.patches.shape[1])
    except _REFUSALS as error:
        raise UsageError(
            f"{card.name} cannot serve as an encoder of images: {error or type(error).__name__}."
        ) from error
    return replace(
        card,
        width=tokens.patches.shape[3],
        depth=depth,
        parameters=sum(p.numel() for p in module.parameters()),
        patch=patch,
        position_recipe=card.position_recipe if _has_positions(module) else "none",
        fixed=not _works(run, card.native_size + patch),
    )


def _patch(module: Any, side: int, count: int) -> int:
    """Pixels per token: as the module declares, if it agrees with `count` tokens on `side` pixels (CNNs round up)."""
    stages = list(getattr(module, "feature_info", None) or [{}])
    declared = [stages[-1].get("reduction") if isinstance(stages[-1], dict) else None]
    declared.append(getattr(getattr(module, "config", None), "patch_size", None))
    likely = [patch for patch in declared if isinstance(patch, int)] + [side // count, 32, 16, 14, 8]
    return next((patch for patch in likely if count in (side // patch, -(-side // patch))), side // count)


def _has_positions(module: Any) -> bool:
    return any(hasattr(module, name) for name in ("pos_embed", "rope", "blocks", "config"))


def _works(run: Callable[[int], Any], side: int) -> bool:
    try:
        run(side)
    except _REFUSALS:
        return False
    return True


def _repo(settings: dict[str, Any], name: str, tag: str) -> str:
    repo = settings.get("hf_hub_id") or ""
    return repo if repo and not repo.endswith("/") else f"timm/{name}{'.' if tag else ''}{tag}"


def _recipe(name: str) -> str:
    if "_dinov2" in name:
        return "dinov2-registers" if "_reg" in name else "dinov2"
    return "timm"
