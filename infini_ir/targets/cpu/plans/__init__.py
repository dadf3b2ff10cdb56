"""What is decided for a kernel before code is written: tile sizes, register tiles, costs, packed weights."""
