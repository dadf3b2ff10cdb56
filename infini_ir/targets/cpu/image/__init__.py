"""A program as one image: the host program, what supports it, and the linker."""
