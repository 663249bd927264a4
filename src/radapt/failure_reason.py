"""What to say about an error that stopped a cell: out of memory, a full disk."""

import sys

from radapt.errors import FULL, unwritable

_CPU_ALLOCATOR = "DefaultCPUAllocator: can't allocate memory"
_LOWER = (
    "Set lower what decides the memory: 'batch' of the protocol, 'image: size', or the number of slices with 'image: "
    "slices: every' or 'count'; or run on a machine with more memory."
)


def reason_of(error: BaseException) -> str:
    """The error in a sentence or two, never empty; for one of memory with the peak, and what to set lower."""
    if isinstance(error, OSError) and error.errno in FULL:
        return str(unwritable(error.filename or "A file", error))
    text = " ".join(str(error).split())
    if not _is_of_memory(error):
        return text or type(error).__name__
    what = f" ({text[:200].rstrip('. ')})" if text else ""
    return f"Out of memory{what}.{_peak()} {_LOWER}"


def _is_of_memory(error: BaseException) -> bool:
    # By its name, because torch must not be imported to print an error.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or _CPU_ALLOCATOR in str(error)


def _peak() -> str:
    """The most memory that this process has held, as a sentence; empty on systems that do not say it."""
    peak = peak_gib()
    return "" if peak is None else f" This process held {peak:.1f} GiB at most."


def peak_gib() -> float | None:
    """The most memory that this process has held, in GiB; None on systems that do not say it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
