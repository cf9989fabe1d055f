"""Check and time the CUDA kernels and TensorRT engines on this machine."""
