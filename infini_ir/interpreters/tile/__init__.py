"""The reference interpreter of the tile dialect, in numpy: for tests and for checking passes."""

from infini_ir.interpreters.tile.kernel import run_kernel
from infini_ir.interpreters.tile.program import interpret_program

__all__ = ["interpret_program", "run_kernel"]
