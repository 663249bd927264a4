"""Which processor the encoder runs on."""

from radapt.errors import UsageError


def check_count(device: str, devices: int) -> None:
    """Raises UsageError unless this machine has so many devices of the kind of `device`; a CPU is as many as wanted."""
    import torch

    kind = torch.device(device).type
    here = torch.cuda.device_count() if kind == "cuda" else devices
    if not 1 <= devices <= here:
        raise UsageError(f"Training on {devices} devices of type {kind}: expected 1 to {max(here, 1)}.")


def pick_device(name: str = "auto") -> str:
    """`auto` becomes `cuda` where a GPU is usable, else `cpu`; another name is checked and kept.

    Raises UsageError for a device this machine does not have.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"Device {name!r} cannot be used here ({reason}). Use auto, cpu, cuda or cuda:N.") from error
    return str(device)
