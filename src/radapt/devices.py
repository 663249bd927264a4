"""Which processor the encoder runs on."""

from radapt.errors import UsageError


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
