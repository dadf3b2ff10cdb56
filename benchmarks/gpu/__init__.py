"""Kernels and models on an NVIDIA GPU against PyTorch, cuBLAS and the device's limits."""
