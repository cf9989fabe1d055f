"""The decoder on an NVIDIA GPU: kernels.cu and its host code. Importing it touches no GPU."""
