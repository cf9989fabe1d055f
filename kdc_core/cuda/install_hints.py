"""Commands that install the GPU packages, for error messages and ``kdc doctor``."""

from __future__ import annotations

import platform

#: True on NVIDIA Jetson boards, for which TensorRT has no wheels
ON_JETSON = "tegra" in platform.release()
#: pip compiles PyCUDA, which finds CUDA through nvcc; JetPack does not put nvcc on the PATH
PYCUDA = "PATH=$PATH:/usr/local/cuda/bin pip install pycuda"
TENSORRT = (
    "sudo apt install python3-libnvinfer, then use a virtual environment with "
    "--system-site-packages"
    if ON_JETSON
    else "pip install tensorrt (tensorrt-cu12 if the driver supports CUDA 12 only)"
)
