"""Memory that a run on a CPU has freed stays with it, for the next step needs as much again."""
import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST = 32 * 2**20  # bytes; glibc takes no higher mmap threshold


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks below 32 MB. By default it returns what a step frees to the system, and each page comes back by a fault,
    filled with zeros: 33,000 faults a step of the demo, a tenth of its time. Nothing happens where the library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGEST)
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
