"""Kernels, one file a family."""
