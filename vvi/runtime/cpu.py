"""Which instructions of the processor a run may use."""

from __future__ import annotations

import os

#: What oneDNN reads: AVX2, AVX512_CORE, AVX512_CORE_BF16, ... or ALL.
LIMIT = "ONEDNN_MAX_CPU_ISA"


def limit() -> str:
    """Return the newest instructions that convolutions may use; empty for all."""
    value = os.environ.get(LIMIT, "").upper()
    return "" if value in ("ALL", "DEFAULT") else value
