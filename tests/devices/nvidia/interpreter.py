"""Whole tile programs on the CPU: emitted kernels run by Triton's interpreter.

    outputs = run_program(module, inputs, ctx)

The host program is walked by the tile interpreter; each launch runs the Triton text of its
kernel, program after program, on the same memory. What Triton's interpreter does otherwise
than its compiler is put right here: integers wrap, products of bf16 are computed in f32,
conversions to bf16 round, and reductions whose combination is ours are numpy's.

Triton must not have been imported without its interpreter: use this in a process of its own
(`tests.devices.nvidia.runner` has one).
"""

from __future__ import annotations

import os
import sys

if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
    raise ImportError("Triton is imported already, without its interpreter")
os.environ["TRITON_INTERPRET"] = "1"

import importlib.util
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import triton.language as tl
from triton.runtime import interpreter
from xdsl.dialects.builtin import ModuleOp

from infini_ir.dialects import tile
from infini_ir.interpreters.tile import program as host_programs
from infini_ir.interpreters.tile.memory import Memory
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.targets.nvidia.emitter import emit_kernel

Array = np.ndarray

POINTED = {
    "fp16": tl.float16, "bf16": tl.bfloat16, "fp32": tl.float32, "fp64": tl.float64,
    "i8": tl.int8, "i16": tl.int16, "i32": tl.int32, "i64": tl.int64,
}  # fmt: skip


def run_program(module: ModuleOp, inputs: Sequence[Array], ctx: object = None) -> list[Array]:
    """The outputs of a legalised program (see `interpret_program`), its kernels emitted and
    interpreted."""
    emitted: dict[str, _Kernel] = {}

    def launch(
        kernel: tile.KernelOp,
        views: Sequence[Memory],
        symbols: Mapping[str, int] | None = None,
        parameters: Mapping[str, int] | None = None,
        *,
        check_races: bool = False,
    ) -> None:
        name = kernel.sym_name.data
        if name not in emitted:
            emitted[name] = _Kernel(emit_kernel(kernel))
        emitted[name].run(views, symbols or {})

    kept = host_programs.run_kernel
    host_programs.run_kernel = launch
    try:
        return host_programs.interpret_program(module, inputs, ctx)
    finally:
        host_programs.run_kernel = kept


def run_kernel(
    emitted: EmittedKernel, views: Sequence[Array], symbols: Mapping[str, int]
) -> None:
    """One launch over arrays, those that the kernel writes changed."""
    memories = [Memory.of_array(view) for view in views]
    _Kernel(emitted).run(memories, symbols)


class _Kernel:
    """An emitted kernel, loaded as a module."""

    def __init__(self, emitted: EmittedKernel) -> None:
        self.emitted = emitted
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / f"{emitted.name}.py"
        path.write_text(emitted.source)
        spec = importlib.util.spec_from_file_location(f"emitted_{emitted.name}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, "libdevice"):
            module.libdevice = LIBDEVICE  # pyright: ignore[reportAttributeAccessIssue]
        module.range = _range  # pyright: ignore[reportAttributeAccessIssue]
        self.function = getattr(module, emitted.name).rewrite()

    def run(
        self,
        views: Sequence[Memory],
        symbols: Mapping[str, int],
        programs: int | None = None,
    ) -> None:
        """Every program of a launch: as many as the grid says, or as are given."""
        arguments: dict[str, Any] = {}
        for argument in self.emitted.arguments:
            if argument.view is not None:
                memory = views[argument.view]
                address = memory.flat.ctypes.data + memory.offset * memory.flat.itemsize
                arguments[argument.name] = _pointer(address, argument.type)
            else:
                assert argument.symbol is not None
                arguments[argument.name] = _number(symbols[argument.symbol], argument.type)
        count = programs
        if count is None:
            count = math.prod(dim.evaluate(symbols) for dim in self.emitted.grid)
        scope = interpreter._patch_lang(self.function)
        try:
            interpreter.interpreter_builder.set_grid_dim(count, 1, 1)
            for number in range(count):
                interpreter.interpreter_builder.set_grid_idx(number, 0, 0)
                self.function(**arguments)
        finally:
            scope.restore()


def _pointer(address: int, type: str) -> tl.tensor:
    pointer = tl.pointer_type(POINTED[type.removeprefix("*")])
    return tl.tensor(interpreter.TensorHandle(np.array([address], np.uint64), pointer), pointer)


def _number(value: int, type: str) -> tl.tensor:
    kind = POINTED[type]
    array = np.array([value], f"i{int(type[1:]) // 8}")
    return tl.tensor(interpreter.TensorHandle(array, kind), kind)


def _range(*bounds: Any) -> Iterator[tl.tensor]:
    """A loop's counter as the compiler has it: as wide as the widest bound, 32 bits at least."""
    given = [b.handle.data.item() if isinstance(b, tl.tensor) else int(b) for b in bounds]
    wide = any(isinstance(b, tl.tensor) and b.dtype == tl.int64 for b in bounds)
    for value in range(*given):
        yield _number(value, "i64" if wide else "i32")


# What the interpreter lacks -----------------------------------------------------------------


class _Libdevice:
    """The functions of libdevice, by numpy in f64."""

    def __getattr__(self, name: str) -> Callable[..., tl.tensor]:
        rule = _FUNCTIONS[name]

        def call(*operands: tl.tensor) -> tl.tensor:
            semantic = interpreter.interpreter_semantic
            first = operands[0]
            if len(operands) == 2:
                operands = semantic.broadcast_impl_value(*operands)
                first = operands[0]
            with np.errstate(all="ignore"):
                data = rule(*(x.handle.data.astype(np.float64) for x in operands))
            handle = interpreter.TensorHandle(
                np.asarray(data).astype(first.handle.data.dtype), first.handle.dtype
            )
            return tl.tensor(handle, first.type)  # pyright: ignore[reportArgumentType]

        return call


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "atan": np.arctan,
    "atan2": np.arctan2,
    "copysign": np.copysign,
    "cos": np.cos,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "pow": np.power,
    "rint": np.rint,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sin": np.sin,
    "tan": np.tan,
    "tanh": np.tanh,
    "trunc": np.trunc,
}
LIBDEVICE = _Libdevice()

_REDUCTIONS = {"nan_max": np.maximum, "nan_min": np.minimum, "multiply": np.multiply}


def _reduce(self: Any, input: Any) -> Any:
    """A reduction of ours by numpy; the others as they were."""
    rule = _REDUCTIONS.get(getattr(self.combine_fn, "__name__", ""))
    if rule is None:
        return _kept_reduce(self, input)
    data = input[0].handle.data
    result = rule.reduce(data, axis=self.axis, keepdims=self.keep_dims)
    return self.to_tensor(result, input[0].dtype)


def _scan(self: Any, input: Any) -> Any:
    """A running combination of ours by numpy; the others as they were."""
    rule = _REDUCTIONS.get(getattr(self.combine_fn, "__name__", ""))
    if rule is None:
        return _kept_scan(self, input)
    data = input[0].handle.data
    if self.reverse:
        result = np.flip(rule.accumulate(np.flip(data, self.axis), axis=self.axis), self.axis)
    else:
        result = rule.accumulate(data, axis=self.axis)
    return self.to_tensor(np.asarray(result), input[0].dtype)


def _dot(
    self: Any, a: Any, b: Any, d: Any, input_precision: Any, max_num_imprecise_acc: Any
) -> Any:
    """A product in the accumulator's type; bf16 is widened first."""
    wide = [_wide(x) for x in (a, b)]
    product = np.matmul(*(x.astype(d.data.dtype) for x in wide))
    return interpreter.TensorHandle(product + d.data, d.dtype.scalar)


def _splat(self: Any, ret_ty: Any, arg: Any) -> Any:
    """A tile of one number, of the type that the number is held in: comparisons give bools."""
    data = np.full(ret_ty.shape, arg.data.reshape(-1)[0], arg.data.dtype)
    return interpreter.TensorHandle(data, arg.dtype.scalar)


def _cast(self: Any, src: Any, dst_type: Any) -> Any:
    """A conversion; to bf16 to the nearest, as the compiler's, where the interpreter cuts."""
    if dst_type.scalar == tl.bfloat16 and src.data.dtype in (np.float32, np.float64):
        data = src.data.astype(np.float32).astype(ml_dtypes.bfloat16).view(np.uint16)
        return interpreter.TensorHandle(data, dst_type.scalar)
    return _kept_cast(self, src, dst_type)


def _wide(handle: Any) -> Array:
    if handle.dtype.scalar == tl.bfloat16:
        return (handle.data.astype(np.uint32) << 16).view(np.float32)
    return handle.data


_kept_reduce = interpreter.ReduceOps.apply_impl
_kept_cast = interpreter.InterpreterBuilder.cast_impl
_kept_scan = interpreter.ScanOps.apply_impl
interpreter.ReduceOps.apply_impl = _reduce
interpreter.ScanOps.apply_impl = _scan
interpreter.InterpreterBuilder.create_dot = _dot
interpreter.InterpreterBuilder.cast_impl = _cast
interpreter.InterpreterBuilder.create_splat = _splat
interpreter.interpreter_builder.options = interpreter.InterpreterOptions(
    sanitize_overflow=False
)
np.seterr(all="ignore")
