"""How a user gets what the GPU path needs, for errors and ``kdc doctor``."""

from __future__ import annotations

import platform

ON_JETSON = "tegra" in platform.release()  # NVIDIA's kernel: TensorRT has no wheels for it
#: PyCUDA is compiled on the spot, and finds CUDA by where nvcc is; JetPack leaves that off the PATH
PYCUDA = "PATH=$PATH:/usr/local/cuda/bin pip install pycuda"
TENSORRT = (
    "sudo apt install python3-libnvinfer, and a virtual environment with --system-site-packages"
    if ON_JETSON
    else "pip install tensorrt (tensorrt-cu12 where the driver speaks CUDA 12)"
)
