"""Parameter groups: which parameters are trained, with which learning rate, and with or without weight decay."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from radapt.errors import UsageError

# Weight decay makes no position or token embedding simpler. timm and the fine-tuning recipes of MAE and DINOv2 also
# leave them out.
_NO_DECAY = frozenset(
    {"pos_embed", "cls_token", "reg_token", "mask_token", "dist_token", "register_tokens", "storage_tokens"}
    | {"position_embeddings", "position_embedding", "class_embedding", "positional_embedding", "logit_scale"}
    | {"relative_position_bias_table"}
)


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that share a learning rate (`lr_scale` times that of the `TrainConfig`) and whether they decay.

    They stay frozen for the first fraction `frozen` of all steps and cost no gradient: new heads can
    settle before a pretrained network moves (Kumar et al., Fine-tuning can distort pretrained features, 2022).
    """

    parameters: list[nn.Parameter]
    lr_scale: float = 1.0
    decay: bool = True
    frozen: float = 0.0

    def __post_init__(self) -> None:
        """Raises UsageError for a share outside 0…1."""
        if not 0 <= self.frozen <= 1:
            raise UsageError(f"Group with frozen = {self.frozen}: expected a share of the steps, from 0 to 1.")


def parameter_groups(
    module: nn.Module,
    *,
    layer_of: Callable[[str], int] | None = None,
    layers: int = 0,
    layer_decay: float = 1.0,
) -> list[Group]:
    """Groups of the trained parameters of `module`; frozen parameters are in no group.

    Weight decay leaves out biases, norms, every other parameter of at most one dimension, and position and token
    embeddings. With `layer_of`, the learning rate of the parameter `name` is multiplied by
    layer_decay^(layers − layer_of(name)): 0 is the first layer, `layers` the head (layer-wise decay as in
    Clark et al., ELECTRA, 2020, and Bao et al., BEiT, 2022).
    """
    members: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            scale = 1.0 if layer_of is None else layer_decay ** (layers - layer_of(name))
            members.setdefault((scale, _decays(name, parameter)), []).append(parameter)
    return [Group(parameters, scale, decay) for (scale, decay), parameters in members.items()]


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """(trained, total) parameters of a module; shared parameters count once, buffers do not count."""
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    words = name.split(".")
    return parameter.ndim > 1 and words[-1] != "bias" and not _NO_DECAY.intersection(words)
