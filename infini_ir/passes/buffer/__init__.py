"""Passes to and on the buffer form of kernels, for cores with on-chip memory."""
