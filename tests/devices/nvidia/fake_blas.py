"""cuBLAS over the fake driver: column-major products in numpy, with the library's checks.

Rules from the cuBLAS documentation of `cublasGemmStridedBatchedEx`: each leading dimension is
at least the rows of the stored matrix; the handle has a stream.
"""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

from infini_ir.runtime.cuda.blas import SIGNATURES
from tests.devices.nvidia.fake_driver import FakeDriver

_TYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
INVALID_VALUE = 7


class FakeBlas:
    """The library that `Blas` wraps."""

    def __init__(self, driver: FakeDriver):
        self.driver = driver
        self.products: list[tuple[int, int, int, int]] = []
        """Sizes m, n, k, batch as the library counts them."""
        self._streams: dict[int, int] = {}
        for name, arguments in SIGNATURES.items():
            prototype = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)
            setattr(self, name, prototype(self._guarded(name)))

    def _guarded(self, name: str) -> Any:
        body = getattr(self, "_" + name)

        def call(*arguments: Any) -> int:
            try:
                return body(*arguments) or 0
            except Exception as error:
                self.driver.failures.append(f"{name}: {error}")
                return INVALID_VALUE

        return call

    def _cublasCreate_v2(self, out: Any) -> None:
        out[0] = len(self._streams) + 1
        self._streams[out[0]] = 0

    def _cublasSetStream_v2(self, handle: int, stream: int) -> None:
        self._streams[handle] = stream

    def _cublasSetWorkspace_v2(self, handle: int, pointer: int, size: int) -> None:
        self.driver.check(pointer, size, "the workspace")

    def _cublasGemmStridedBatchedEx(self, handle: int, *call: Any) -> None:
        ta, tb, m, n, k, alpha, *rest = call
        a, at, lda, sa, b, bt, ldb, sb, beta, c, ct, ldc, sc, batch, compute, _ = rest
        scalar = ctypes.c_double if compute == 70 else ctypes.c_float
        assert scalar.from_address(alpha).value == 1 and scalar.from_address(beta).value == 0
        assert lda >= max(1, k if ta else m) and ldb >= max(1, n if tb else k) and ldc >= m
        assert at == bt == ct and (compute == 70) == (at == 1)
        self.products.append((m, n, k, batch))

        def matrix(pointer: int, rows: int, columns: int, leading: int) -> np.ndarray:
            """The transpose of a column-major matrix, sharing its memory."""
            if rows == 0 or columns == 0:
                return np.zeros((columns, rows), _TYPES[at])
            flat = self.driver.view(pointer, _TYPES[at], leading * (columns - 1) + rows)
            size = flat.itemsize
            return np.ndarray((columns, rows), flat.dtype, flat, 0, (leading * size, size))

        def run() -> None:
            wide = np.float64 if compute == 70 else np.float32
            size = np.dtype(_TYPES[at]).itemsize
            for i in range(batch):
                left = matrix(a + i * sa * size, *((k, m) if ta else (m, k)), lda)
                right = matrix(b + i * sb * size, *((n, k) if tb else (k, n)), ldb)
                left, right = (left if ta else left.T), (right if tb else right.T)
                result = left.astype(wide) @ right.astype(wide)
                matrix(c + i * sc * size, m, n, ldc)[...] = result.T.astype(_TYPES[at])

        self.driver._put(self._streams[handle], run)
