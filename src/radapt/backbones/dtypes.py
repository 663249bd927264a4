"""The dtype that an encoder runs in."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "auto")


def auto_dtype(device: "str | torch.device" = "cpu") -> str:
    """`bfloat16` if the machine computes faster in it, else `float32`. Decided by the hardware, never by a timing, so
    that the dtype, a part of every cache key, is always the same.

    CUDA: compute capability 8.0 or higher. CPU: AMX units, or AVX-512 BF16 on AMD, where it is about twice as fast.
    Intel without usable AMX has the same instructions, but they are slower than float32: measured 0.5–0.7×.
    """
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    if kind != "cpu":
        return "float32"
    return "bfloat16" if cpu_favours_bfloat16(_cpu_facts()) else "float32"


def scratch_dtype(device: "str | torch.device" = "cpu") -> str:
    """The dtype in which a network without pretrained weights is trained: as `auto_dtype`, but float32 with AMX units,
    where the gradients of 3D convolutions in bfloat16 were not compared (see `training.small_convolutions`)."""
    import torch

    amx = torch.device(device).type == "cpu" and "amx_bf16" in _cpu_facts().split()
    return "float32" if amx else auto_dtype(device)


def cpu_favours_bfloat16(facts: str) -> bool:
    """Whether a CPU, described as in Linux's /proc/cpuinfo, gains from bfloat16."""
    words = set(facts.split())
    if "amx_bf16" in words:
        return True
    return "avx512_bf16" in words and "AuthenticAMD" in words


def _cpu_facts() -> str:
    """The first processor's entry of /proc/cpuinfo; empty without that file (float32 is then used)."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return ""
