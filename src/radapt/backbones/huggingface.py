"""Cards of encoders from any repository in the hub's layout: `hf:<repository>`, or `hf:<folder>` with the same files.

The usual ViTs become timm modules, so that they use the position recipe of their weights and are as fast as those of
the catalog. Other image encoders run as transformers builds them. Code from a repository is never executed.
"""

import json
from pathlib import Path
from typing import Any

from radapt.backbones.card import WeightCard
from radapt.backbones.transformers_models import side_of
from radapt.backbones.weights import hub_is_reachable
from radapt.errors import UsageError
from radapt.locations import expanded
from radapt.parsing.json import read_json
from radapt.remote.offline import is_offline

_RECIPES = {"dinov2": "dinov2", "dinov2_with_registers": "dinov2-registers", "vit": "timm", "vit_msn": "bicubic"}
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh", "quick_gelu": "quick_gelu"}


def hf_card(repo: str, *, offline: bool = False) -> WeightCard:
    """The card of `hf:<repo>`, from its config.json and preprocessor_config.json. UsageError without them."""
    from radapt.backbones.others import measured, timm_card

    config = _json(repo, "config.json", offline)
    if config is None:
        raise UsageError(f"hf:{repo} has no config.json, which describes the architecture.")
    if "pretrained_cfg" in config:  # a timm model on the hub
        return _renamed(timm_card(config["architecture"]), repo, config["pretrained_cfg"])
    config = config.get("vision_config") or config
    kind = str(config.get("model_type", "")).removesuffix("_vision_model")
    images = _json(repo, "preprocessor_config.json", offline) or {}
    plain = kind in _RECIPES or kind in ("clip", "siglip")
    options = _vit_options(kind, config) if plain else (("config", json.dumps(config, sort_keys=True)),)
    return measured(
        WeightCard(
            name=f"hf:{repo}",
            family=kind or "unknown",
            architecture="vit" if plain else "transformers",
            repo=repo,
            licence=f"see {repo}",
            pretraining=(),
            width=0,
            depth=0,
            parameters=0,
            patch=0,
            native_size=side_of(config.get("image_size") or 224),
            mean=tuple(images.get("image_mean") or (0.485, 0.456, 0.406)),
            std=tuple(images.get("image_std") or (0.229, 0.224, 0.225)),
            position_recipe=_RECIPES.get(kind, "timm") if plain else "own",
            options=options,
        )
    )


def _renamed(card: WeightCard, repo: str, settings: dict[str, Any]) -> WeightCard:
    from dataclasses import replace

    mean, std = (tuple(settings.get(key) or getattr(card, key)) for key in ("mean", "std"))
    return replace(card, name=f"hf:{repo}", repo=repo, licence=f"see {repo}", mean=mean, std=std)


def _vit_options(kind: str, config: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """timm's options for a ViT from transformers' configuration. Missing keys have the transformers default."""
    from transformers import AutoConfig

    folder = dict(config)
    model_type = folder.pop("model_type")
    full = AutoConfig.for_model(model_type, **folder).to_dict()
    width = full["hidden_size"]
    hidden = full.get("intermediate_size") or int(width * full.get("mlp_ratio", 4))
    options: dict[str, Any] = {
        "img_size": side_of(full["image_size"]),
        "patch_size": side_of(full["patch_size"]),
        "embed_dim": width,
        "depth": full["num_hidden_layers"],
        "num_heads": full["num_attention_heads"],
        "qkv_bias": full.get("qkv_bias", True),
        "eps": full["layer_norm_eps"],
        "act_layer": _ACTIVATIONS.get(full["hidden_act"], full["hidden_act"]),
    }
    if kind.startswith("dinov2"):
        registers = full.get("num_register_tokens", 0)
        options |= {"init_values": 1.0, "reg_tokens": registers, "no_embed_class": registers > 0}
    if full.get("use_swiglu_ffn"):
        options["swiglu"] = True
        hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)
    if kind == "clip":
        options["pre_norm"] = True
    if kind == "siglip":
        options |= {"class_token": False, "global_pool": "map"}
    options["mlp_ratio"] = (hidden + 0.5) / width  # timm takes the integer part of width × ratio
    return tuple(sorted(options.items()))


def _json(repo: str, name: str, offline: bool) -> dict[str, Any] | None:
    """A small JSON file of a repository or folder; None if it does not exist."""
    folder = expanded(repo)
    if folder.is_dir():
        path = folder / name
        return _parsed(path) if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(repo, name, local_files_only=is_offline(offline) or not hub_is_reachable()))
    except LocalEntryNotFoundError as error:
        if name != "config.json":
            return None
        raise UsageError(
            f"hf:{repo} cannot be looked up: it is not in the cache and the hub cannot be reached. On a machine with "
            f"network, download it by `hf download {repo}`, then name its folder: hf:FOLDER."
        ) from error
    except EntryNotFoundError:
        return None
    except (OSError, ValueError, HFValidationError) as error:
        raise UsageError(f"hf:{repo} cannot be looked up: {str(error).splitlines()[0]}") from error
    return _parsed(path)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        if not isinstance(value := read_json(path), dict):
            raise ValueError(f"it holds a {type(value).__name__}")
        return value
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}). Download the repository again.") from error
