"""What this CPU can do, beyond what its architecture's name says."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path


def has_bf16() -> bool:
    """Whether it multiplies bfloat16."""
    return "avx512_bf16" in flags()


def is_x86() -> bool:
    """Whether a network in bytes is known to be faster: on x86-64; elsewhere it was not measured.

    It takes 0.6 of the time of one in float32 with VNNI and 0.7 with AVX2 alone.
    """
    return platform.machine().lower() in ("x86_64", "amd64")


def has_vnni() -> bool:
    """Whether it sums products of bytes in one instruction.

    Without, on x86, two products are summed in 16 bits and can overflow
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    """
    return not flags().isdisjoint({"avx512_vnni", "avx_vnni"})


@lru_cache(maxsize=1)
def flags() -> frozenset[str]:
    """Extensions by Linux's names; none where it does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(
        word for name, _, rest in lines if name.strip() == "flags" for word in rest.split()
    )
