"""Which parameters are trained, at which share of the learning rate, and which of them decay."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from radapt.errors import UsageError

# Neither matrices nor scales: a shrinking position or token embedding says nothing simpler. As timm and the
# fine-tuning recipes of MAE and DINOv2 have it.
_NO_DECAY = frozenset(
    {"pos_embed", "cls_token", "reg_token", "mask_token", "dist_token", "register_tokens", "storage_tokens"}
    | {"position_embeddings", "position_embedding", "class_embedding", "positional_embedding", "logit_scale"}
    | {"relative_position_bias_table"}
)


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that share a learning rate (`lr_scale` times that of the regime) and decay or do not.

    For the share `frozen` of all steps, from the first, they stay as they are, and cost no gradient: new heads can
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
    """Groups of the parameters of `module` that have `requires_grad`; the others are in none.

    Biases, norms and every other parameter of at most one dimension do not decay, nor do position and token
    embeddings. With `layer_of`, the parameter called `name` learns at layer_decay^(layers − layer_of(name)) of the
    learning rate: 0 is the first layer, `layers` the head, which learns at the full rate (layer-wise decay as
    in Clark et al., ELECTRA, 2020, and Bao et al., BEiT, 2022).
    """
    members: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            scale = 1.0 if layer_of is None else layer_decay ** (layers - layer_of(name))
            members.setdefault((scale, _decays(name, parameter)), []).append(parameter)
    return [Group(parameters, scale, decay) for (scale, decay), parameters in members.items()]


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """How many numbers of a module are trained, and how many there are; shared ones count once, buffers do not."""
    parameters = list(module.parameters())
    return sum(each.numel() for each in parameters if each.requires_grad), sum(each.numel() for each in parameters)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    words = name.split(".")
    return parameter.ndim > 1 and words[-1] != "bias" and not _NO_DECAY.intersection(words)
