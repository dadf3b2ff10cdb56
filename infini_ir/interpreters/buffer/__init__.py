"""Reference interpreter of kernels in buffer form, which asserts what hardware would demand."""

from infini_ir.interpreters.buffer.kernel import run_buffer_kernel
from infini_ir.interpreters.buffer.local import CoreLimits

__all__ = ["CoreLimits", "run_buffer_kernel"]
