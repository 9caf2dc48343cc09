"""How this process returns memory to the system."""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3
"""malloc.h"""
LARGE_BYTES = 1024 * 1024


def return_large_blocks() -> None:
    """Have glibc give the memory of every freed model back at once.

    By itself it raises the limit above which blocks are mapped on their own as soon as one of them is freed, and keeps
    those below in heaps (one for each thread) that seldom shrink: after some rounds a centre would hold several models
    that nobody uses. Elsewhere than on glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
