"""In which number format an encoder runs."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "auto")


def auto_dtype(device: "str | torch.device" = "cpu") -> str:
    """`bfloat16` where the machine computes faster in it, else `float32`. Decided by what the machine is, never by a
    timing, so that the answer (a part of every cache key) is the same tomorrow.

    CUDA: compute capability 8.0 on. CPU: AMX units, or AVX-512 BF16 on AMD, where it is about twice as fast. Intel
    without usable AMX has the same instructions, but they gain nothing over float32 there: measured 0.5–0.7×.
    """
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    if kind != "cpu":
        return "float32"
    return "bfloat16" if cpu_likes_bfloat16(_cpu_facts()) else "float32"


def cpu_likes_bfloat16(facts: str) -> bool:
    """Whether a CPU described like Linux's /proc/cpuinfo gains from bfloat16."""
    words = set(facts.split())
    if "amx_bf16" in words:
        return True
    return "avx512_bf16" in words and "AuthenticAMD" in words


def _cpu_facts() -> str:
    """The first processor's entry of /proc/cpuinfo; empty where there is none (then float32 it is)."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return ""
