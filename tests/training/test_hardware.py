"""Test the memory settings of a training process."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from kdc_lab.training.hardware import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
np.full(1 << 26, 1, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.full(1 << 26, 1, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_keep_freed_memory_avoids_page_faults() -> None:
    # 20 maps of 64 MiB: at least 20 * 32 faults with huge pages, 20 * 16,384 without
    assert faults("given back") >= 640
    assert faults("kept") < 64
