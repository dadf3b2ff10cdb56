"""Products by cuBLAS, for programs compiled with `library`: bound when such a program runs."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from ctypes import byref, c_double, c_float, c_int, c_longlong, c_size_t, c_void_p
from typing import Any

from infini_ir.runtime.cuda.device import Device, Handle
from infini_ir.runtime.cuda.launches import BufferTable
from infini_ir.runtime.launch_plan import Operand, Product
from infini_ir.utils.errors import ArtifactError, DeviceError

NAMES = ("libcublas.so.13", "libcublas.so.12", "libcublas.so.11")

WORKSPACE = 32 << 20
"""Bytes given to the library for each stream, so that it takes none while a graph is made."""

_P = ctypes.POINTER
_OPERAND = (c_void_p, c_int, c_int, c_longlong)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (_P(c_void_p),),
    "cublasSetStream_v2": (c_void_p, c_void_p),
    "cublasSetWorkspace_v2": (c_void_p, c_void_p, c_size_t),
    "cublasGemmStridedBatchedEx": (
        c_void_p, *[c_int] * 5, c_void_p, *_OPERAND, *_OPERAND, c_void_p, *_OPERAND,
        c_int, c_int, c_int,
    ),
}  # fmt: skip
"""Parameter types as in `cublas_api.h`. All return a status."""

_PLAIN, _TRANSPOSED = 0, 1
_DATA = {"f32": 0, "f64": 1, "f16": 2, "bf16": 14}
_COMPUTE_F32, _COMPUTE_F64 = 68, 70
_ANY_ALGORITHM = -1


class Blas:
    """The library, with a handle for each stream."""

    def __init__(self, library: Any, device: Device):
        self.device = device
        self._functions: dict[str, Any] = {}
        for name, arguments in SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, c_int
            self._functions[name] = function
        self._handles: dict[Handle, int] = {}
        self._lock = threading.Lock()
        one = {"f64": c_double(1.0), "f32": c_float(1.0)}
        zero = {"f64": c_double(0.0), "f32": c_float(0.0)}
        self._scalars = one, zero

    @staticmethod
    def find(device: Device) -> Blas:
        """This machine's library. Raises `ArtifactError` where there is none."""
        for name in NAMES:
            try:
                return Blas(ctypes.CDLL(name), device)
            except OSError:
                continue
        raise ArtifactError(
            "the model was compiled to call cuBLAS, which this machine does not have; install "
            "it, such as with `pip install nvidia-cublas-cu12` and its folder in "
            "LD_LIBRARY_PATH, or compile the model without --library"
        )

    def prepare(
        self, step: Product, symbols: Mapping[str, int], buffers: BufferTable
    ) -> ReadyProduct | None:
        """A product with these sizes; None where its result is empty."""
        sizes = [size.evaluate(symbols) for size in (step.m, step.n, step.k, step.batch)]
        if 0 in (sizes[0], sizes[1], sizes[3]):
            return None
        operands = [
            _Place(operand, buffers, symbols) for operand in (step.lhs, step.rhs, step.out)
        ]
        return ReadyProduct(self, step.dtype, sizes, operands)

    def _call(self, name: str, *arguments: Any) -> None:
        status = self._functions[name](*arguments)
        if status:
            raise DeviceError(f"{name} failed with status {status}")

    def _handle(self, stream: Handle) -> int:
        with self._lock:
            handle = self._handles.get(stream)
            if handle is None:
                made = c_void_p()
                self._call("cublasCreate_v2", byref(made))
                self._call("cublasSetStream_v2", made, stream)
                workspace = self.device.allocate(WORKSPACE, "cuBLAS")
                self._call("cublasSetWorkspace_v2", made, workspace, WORKSPACE)
                handle = self._handles[stream] = made.value or 0
            return handle

    def multiply(
        self,
        stream: Handle,
        dtype: str,
        sizes: Sequence[int],
        lhs: _Matrix,
        rhs: _Matrix,
        out: _Matrix,
    ) -> None:
        """Put a batch of products on the stream."""
        m, n, k, batch = sizes
        data = _DATA[dtype]
        wide = dtype == "f64"
        one, zero = (byref(table["f64" if wide else "f32"]) for table in self._scalars)
        # The library's matrices lie column by column: row by row, it computes the
        # transposed product from the transposed factors in exchange.
        self._call(
            "cublasGemmStridedBatchedEx", self._handle(stream),
            rhs.operation, lhs.operation, n, m, k,
            one, rhs.pointer, data, rhs.leading, rhs.batch,
            lhs.pointer, data, lhs.leading, lhs.batch,
            zero, out.pointer, data, out.leading, out.batch,
            batch, _COMPUTE_F64 if wide else _COMPUTE_F32, _ANY_ALGORITHM,
        )  # fmt: skip


class _Matrix:
    """An operand with its sizes known, and its address once it is filled in."""

    __slots__ = ("batch", "leading", "operation", "pointer")

    def __init__(self, operation: int, leading: int, batch: int):
        self.operation, self.leading, self.batch = operation, leading, batch
        self.pointer = 0


class _Place:
    """Where an operand is, relative to its buffer."""

    def __init__(self, operand: Operand, buffers: BufferTable, symbols: Mapping[str, int]):
        self.buffer = buffers.number(operand.pointer)
        self.offset = operand.pointer.offset.evaluate(symbols)
        self.matrix = _Matrix(
            _TRANSPOSED if operand.transposed else _PLAIN,
            max(1, operand.leading.evaluate(symbols)),
            operand.batch.evaluate(symbols),
        )


class ReadyProduct:
    """A product with everything known but where its operands are."""

    scratch = 0

    def __init__(self, blas: Blas, dtype: str, sizes: Sequence[int], places: Sequence[_Place]):
        self._blas, self._dtype, self._sizes, self._places = blas, dtype, sizes, places

    def fill(self, addresses: Sequence[int]) -> None:
        for place in self._places:
            place.matrix.pointer = addresses[place.buffer] + place.offset

    def run(self, device: Device, stream: Handle) -> None:
        lhs, rhs, out = (place.matrix for place in self._places)
        self._blas.multiply(stream, self._dtype, self._sizes, lhs, rhs, out)
