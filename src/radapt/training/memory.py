"""Peak memory of training, and recognising out-of-memory errors."""

import threading

import psutil
import torch

_EVERY_S = 0.02
_MB = 2.0**20


class PeakMemory:
    """Peak memory in a `with` block, above what was in use when it began.

    On a GPU, torch counts what it allocates. Elsewhere a thread reads the resident memory of the process 50 times a
    second: it misses shorter peaks, and memory that the process allocated earlier and uses again.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "PeakMemory":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._start = torch.cuda.memory_allocated(self._device)
            return self
        self._process = psutil.Process()
        self._start = self._peak = int(self._process.memory_info().rss)
        self._thread = threading.Thread(target=self._watch, name="radapt-memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def mb(self) -> float:
        """Peak so far, in MiB."""
        if self._device.type == "cuda":
            return (torch.cuda.max_memory_allocated(self._device) - self._start) / _MB
        self._measure()
        return (self._peak - self._start) / _MB

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._measure()

    def _measure(self) -> None:
        self._peak = max(self._peak, int(self._process.memory_info().rss))


def ran_out(error: BaseException) -> bool:
    """Whether an error means that a GPU or the machine is out of memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def release(device: torch.device) -> None:
    """Free the GPU memory that torch caches, so that smaller batches fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
