"""The device that models run on."""

from radapt.errors import UsageError


def check_count(device: str, devices: int) -> None:
    """Raise UsageError unless this machine has `devices` devices of the type of `device`; any number for a CPU."""
    import torch

    kind = torch.device(device).type
    available = torch.cuda.device_count() if kind == "cuda" else devices
    if not 1 <= devices <= available:
        raise UsageError(f"Training on {devices} devices of type {kind}: expected 1 to {max(available, 1)}.")


def pick_device(name: str = "auto") -> str:
    """`auto` is `cuda` if a GPU is usable, else `cpu`; another name is checked and returned.

    Raises UsageError for a device that this machine does not have.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"Device {name!r} is not usable ({reason}). Use auto, cpu, cuda or cuda:N.") from error
    return str(device)
