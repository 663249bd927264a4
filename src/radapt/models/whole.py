"""A network trained from scratch, written down whole: `model.safetensors`, and `model.json` with what it reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radapt.durable import atomic_path, write_json
from radapt.errors import UsageError
from radapt.models.files import FACTS, WEIGHTS, read_facts, read_weights
from radapt.versions import __version__

if TYPE_CHECKING:
    from torch import nn

_FORMAT = 1


def save_whole(folder: Path, network: "nn.Module", method: str, facts: Mapping[str, Any]) -> None:
    """Write every weight of `network`, and then `facts` with the `method` that made it."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as part:
        save_file(state, part)
    write_json(folder / FACTS, {"format": _FORMAT, "radapt": __version__, "method": method, **facts})


def read_whole(folder: Path, method: str, needed: Sequence[str]) -> dict[str, Any]:
    """What `model.json` says, `labels` with whole numbers as keys.

    Raises UsageError if nothing readable, a model of another method, or only a part of one is there.
    """
    facts = read_facts(folder)
    if facts.get("method") != method:
        raise UsageError(f"{folder} holds a model of protocol {facts.get('method')!r}, not of {method!r}.")
    missing = sorted({*needed, "labels"} - set(facts))
    if missing:
        raise UsageError(f"{folder / FACTS} lacks {', '.join(missing)}; it was not written by radapt.")
    try:
        return {**facts, "labels": {int(value): str(name) for value, name in facts["labels"].items()}}
    except (AttributeError, ValueError) as error:
        raise UsageError(f"{folder / FACTS} has labels that are not {{number: name}}: {facts['labels']!r}.") from error


def load_whole(folder: Path, network: "nn.Module", device: str) -> None:
    """Put the weights of `folder` into `network`, every one of them, on a device and in eval mode.

    Raises UsageError if they cannot be read or belong to another network.
    """
    try:
        network.load_state_dict(read_weights(folder / WEIGHTS), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UsageError(f"The weights in {folder / WEIGHTS} do not fit {FACTS} beside them: {first}") from error
    network.to(device).eval()
