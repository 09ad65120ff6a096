"""Which instructions and cores of the processor a run may use, and its memory."""

from __future__ import annotations

import os

#: What oneDNN reads: AVX2, AVX512_CORE, AVX512_CORE_BF16, ... or ALL.
LIMIT = "ONEDNN_MAX_CPU_ISA"


def limit() -> str:
    """Return the newest instructions that convolutions may use, or "" for all."""
    value = os.environ.get(LIMIT, "").upper()
    return "" if value in ("ALL", "DEFAULT") else value


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> int:
    """Return the memory of this machine in bytes, 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return 0
