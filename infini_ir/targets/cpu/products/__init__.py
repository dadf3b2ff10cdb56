"""The products of a kernel: nests recognised, register tiles, the matrix unit, packed weights read."""
