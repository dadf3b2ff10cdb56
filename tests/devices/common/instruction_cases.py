"""Every instruction of the buffer form as a kernel of its own, with what it must give.

All kernels make one module, so that a test compiles once. A kernel loads its inputs (two rows
of 100 elements, rows 128 apart), does one thing to both rows at once, and stores the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

Compute = Callable[..., np.ndarray]
ROWS, COUNT, PITCH = 2, 100, 128
SIZE = ROWS * PITCH
ROOM = 1024
"""Bytes between allocations: four bytes a lane."""
TYPES = {
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "i32": np.int32,
    "i8": np.int8,
}


@dataclass(frozen=True)
class InstructionCase:
    """
    One instruction. `text` uses the locals %a, %b, %c (inputs), %d (result) and %m (a mask),
    writes their types as $a and so on, and has the indices %zero and %all (the count of both
    rows together). `needs` is what a target's machine must have.
    """

    name: str
    needs: tuple[str, str]
    inputs: tuple[str, ...]
    output: str
    text: str
    compute: Compute
    tolerance: float = 0.0

    def check(self, given: np.ndarray, inputs: Sequence[np.ndarray]) -> None:
        """Compare what an instruction gave with what it is to compute."""
        with np.errstate(all="ignore"):
            wanted = self.compute(*inputs)
        assert given.dtype == wanted.dtype
        if self.tolerance:
            least = self.tolerance * np.nanmax(np.abs(wanted))
            np.testing.assert_allclose(given, wanted, rtol=self.tolerance, atol=least)
        else:
            np.testing.assert_array_equal(given, wanted)

    def locals(self) -> dict[str, str]:
        """Element types by name."""
        return dict(zip("abc", self.inputs, strict=False)) | {"d": self.output, "m": "i1"}

    def kernel(self, number: int) -> str:
        """The kernel's text."""
        views = [f"%x{i}: {_view(t)}" for i, t in enumerate(self.inputs)]
        types = {name: _local(dtype) for name, dtype in self.locals().items()}
        lines = [
            f"tile.kernel @k{number}({', '.join([*views, f'%y: {_view(self.output)}'])}) "
            "grid(%i : 1 by 1) {",
            "%zero = arith.constant 0 : index",
            f"%rows = arith.constant {ROWS} : index",
            f"%n = arith.constant {COUNT} : index",
            f"%all = arith.constant {PITCH + COUNT} : index",
        ]
        for place, (name, type) in enumerate(types.items()):
            lines.append(f"%{name} = buffer.alloc at {place * ROOM} : {type}")
        for i, (name, dtype) in enumerate(zip("abc", self.inputs, strict=False)):
            lines.append(
                f"buffer.copy_in %{name}[%zero], %x{i}[%zero, %zero] {_SLICE} : "
                f"{types[name]}, {_view(dtype)}"
            )
        text = self.text
        for name, type in types.items():
            text = text.replace(f"${name}", type)
        store = f"buffer.copy_out set %y[%zero, %zero], %d[%zero] {_SLICE} : "
        return "\n".join([*lines, text, f"{store}{_view(self.output)}, {types['d']}", "}"])

    def draw(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Inputs: numbers of either sign; integers of the whole range."""
        drawn: list[np.ndarray] = []
        for dtype in self.inputs:
            if dtype.startswith("i"):
                low, high = (-100, 100) if dtype == "i8" else (-(2**31), 2**31)
                values = rng.integers(low, high, (ROWS, COUNT))
                values[:, :5] = (1, 0, -1, 70, 70)
                values[1, ::2] //= 1 << 20 if dtype == "i32" else 1
            else:
                values = rng.standard_normal((ROWS, COUNT)) * 3
            drawn.append(values.astype(TYPES[dtype]))
        if len(drawn) > 1 and self.inputs[0] == self.inputs[1]:
            drawn[1][:, 50:60] = drawn[0][:, 50:60]
        return drawn


_SLICE = f"axes [0, 1] extents (%rows, %n) pitches [{PITCH}, 1]"


def _view(dtype: str) -> str:
    return f"!tile.view<[{ROWS}, {COUNT}], {dtype}>"


def _local(dtype: str) -> str:
    return f"!buffer.local<{SIZE}, {dtype}, vector>"


def module_text(cases: Sequence[InstructionCase]) -> str:
    """A module whose program runs all cases: inputs `c0_0`, `c0_1`, .., outputs `y0`, .."""
    kernels = [case.kernel(i) for i, case in enumerate(cases)]
    inputs = [(f"c{i}_{j}", t) for i, c in enumerate(cases) for j, t in enumerate(c.inputs)]
    outputs = [(f"y{i}", c.output) for i, c in enumerate(cases)]
    arguments = ", ".join(f"%{n}: {_view(t)}" for n, t in [*inputs, *outputs])
    names = {
        "inputs": ", ".join(f'"{n}"' for n, _ in inputs),
        "outputs": ", ".join(f'"{n}"' for n, _ in outputs),
        "types": ", ".join(f"!graph.tensor<[{ROWS}, {COUNT}], {t}>" for _, t in outputs),
    }
    lines = [
        f"tile.program @main inputs {len(inputs)} signature {{inputs = [{names['inputs']}], "
        f"outputs = [{names['outputs']}], output_types = [{names['types']}]}} {{",
        f"^bb0({arguments}):",
    ]
    for i, case in enumerate(cases):
        views = [*(f"%c{i}_{j}" for j in range(len(case.inputs))), f"%y{i}"]
        types = ", ".join(_view(t) for t in (*case.inputs, case.output))
        lines.append(f"tile.launch @k{i}({', '.join(views)}) : {types}")
    return "\n".join(["builtin.module {", *kernels, *lines, "}", "}"])


# The cases


def _unary(name: str, dtype: str, compute: Compute, tolerance: float = 0.0) -> InstructionCase:
    text = f"buffer.unary {name} %d[%zero], %a[%zero], %all : $d, $a"
    needs = (name, dtype)
    return InstructionCase(f"{name}-{dtype}", needs, (dtype,), dtype, text, compute, tolerance)


def _binary(name: str, dtype: str, compute: Compute, tolerance: float = 0.0) -> InstructionCase:
    text = f"buffer.binary {name} %d[%zero], %a[%zero], %b[%zero], %all : $d, $a, $b"
    types = (dtype, dtype)
    return InstructionCase(
        f"{name}-{dtype}", (name, dtype), types, dtype, text, compute, tolerance
    )


def _literal(value: float, dtype: str) -> str:
    return str(int(value)) if dtype.startswith("i") else f"{float(value):.6e}"


def _scalar(
    name: str, dtype: str, value: float, compute: Compute, tolerance: float = 0.0
) -> InstructionCase:
    text = (
        f"%s = arith.constant {_literal(value, dtype)} : {dtype}\n"
        f"buffer.binary_scalar {name} %d[%zero], %a[%zero], %s, %all : $d, $a, {dtype}"
    )
    number = np.array(value).astype(TYPES[dtype])
    return InstructionCase(
        f"{name}-scalar-{dtype}",
        (f"{name}_scalar", dtype),
        (dtype,),
        dtype,
        text,
        lambda a: compute(a, number),
        tolerance,
    )


def _chosen(mask: np.ndarray, a: np.ndarray) -> np.ndarray:
    return np.where(mask, a, np.zeros_like(a))


def _comparison(name: str, dtype: str) -> InstructionCase:
    """A comparison seen through a selection of the left side or zero."""
    relation = getattr(np, _RELATIONS[name])
    text = (
        f"%s = arith.constant {_literal(0, dtype)} : {dtype}\n"
        "buffer.fill %d[%zero], %s, %all : $d, " + dtype + "\n"
        f"buffer.compare {name} %m[%zero], %a[%zero], %b[%zero], %all : $m, $a, $b\n"
        "buffer.select %d[%zero], %m[%zero], %a[%zero], %d[%zero], %all : $d, $m, $a, $d"
    )
    return InstructionCase(
        f"compare-{name}-{dtype}",
        (f"compare_{name}", dtype),
        (dtype, dtype),
        dtype,
        text,
        lambda a, b: _chosen(relation(a, b), a),
    )


def _scalar_comparison(name: str, dtype: str, value: int) -> InstructionCase:
    relation = getattr(np, _RELATIONS[name])
    text = (
        f"%s = arith.constant {_literal(value, dtype)} : {dtype}\n"
        f"%t = arith.constant {_literal(0, dtype)} : {dtype}\n"
        "buffer.fill %d[%zero], %t, %all : $d, " + dtype + "\n"
        f"buffer.compare_scalar {name} %m[%zero], %a[%zero], %s, %all : $m, $a, {dtype}\n"
        "buffer.select %d[%zero], %m[%zero], %a[%zero], %d[%zero], %all : $d, $m, $a, $d"
    )
    return InstructionCase(
        f"compare-scalar-{name}-{dtype}-{value}",
        (f"compare_scalar_{name}", dtype),
        (dtype,),
        dtype,
        text,
        lambda a: _chosen(relation(a, np.array(value).astype(a.dtype)), a),
    )


_RELATIONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}


def _masks(name: str, text: str, compute: Compute) -> InstructionCase:
    """Masks come from bytes and go to bytes; %b's mask is in %m, %a's in a second one."""
    before = (
        f"%k = buffer.alloc at {4 * ROOM} : $m\n"
        "buffer.mask_from_bytes %k[%zero], %a[%zero], %all : $m, $a\n"
        "buffer.mask_from_bytes %m[%zero], %b[%zero], %all : $m, $b\n"
    )
    after = "\nbuffer.mask_to_bytes %d[%zero], %m[%zero], %all : $d, $m"
    return InstructionCase(
        f"mask-{name}",
        ("select", "f32"),
        ("i8", "i8"),
        "i8",
        before + text + after,
        lambda a, b: compute(a != 0, b != 0).astype(np.int8),
    )


def _mask_binary(name: str, compute: Compute) -> InstructionCase:
    text = f"buffer.mask_binary {name} %m[%zero], %k[%zero], %m[%zero], %all : $m, $m, $m"
    return _masks(name, text, compute)


def _cast(source: str, target: str, rounding: str, compute: Compute) -> InstructionCase:
    text = f"buffer.cast {rounding} %d[%zero], %a[%zero], %all : $d, $a"
    return InstructionCase(
        f"cast-{source}-{target}-{rounding}",
        ("cast", f"{source} {target}"),
        (source,),
        target,
        text,
        compute,
    )


def _saturated(target: str, whole: Callable[[np.ndarray], np.ndarray]) -> Compute:
    ends = np.iinfo(TYPES[target])
    return lambda a: np.clip(whole(a.astype(np.float64)), ends.min, ends.max).astype(
        TYPES[target]
    )


def _reduce(kind: str, dtype: str, compute: Compute, tolerance: float = 0.0) -> InstructionCase:
    """The reduction of each row, at every element of it."""
    lines = []
    for row in range(ROWS):
        lines += [
            f"%at{row} = arith.constant {row * PITCH} : index",
            f"%one{row} = arith.constant {row * PITCH + 3} : index",
            f"buffer.reduce {kind} %d[%one{row}], %a[%at{row}], %n : $d, $a",
            f"%v{row} = buffer.extract %d[%one{row}] : $d -> {dtype}",
            f"buffer.fill %d[%at{row}], %v{row}, %n : $d, {dtype}",
        ]

    def spread(a: np.ndarray) -> np.ndarray:
        return np.broadcast_to(compute(a, axis=1, keepdims=True), a.shape).astype(a.dtype)

    return InstructionCase(
        f"reduce-{kind}-{dtype}",
        (f"reduce_{kind}", dtype),
        (dtype,),
        dtype,
        "\n".join(lines),
        spread,
        tolerance,
    )


def _select(dtype: str) -> InstructionCase:
    """By bytes: the side that is not taken holds NaN and infinity."""
    text = (
        "buffer.mask_from_bytes %m[%zero], %c[%zero], %all : $m, $c\n"
        "buffer.select %d[%zero], %m[%zero], %a[%zero], %b[%zero], %all : $d, $m, $a, $b"
    )
    return InstructionCase(
        f"select-{dtype}",
        ("select", dtype),
        (dtype, dtype, "i8"),
        dtype,
        text,
        lambda a, b, c: np.where(c != 0, a, b),
    )


def _iota() -> InstructionCase:
    text = (
        "%s = arith.constant -7 : i32\nbuffer.iota %d[%zero], %s, %all : $d, i32\n"
        "buffer.binary add %d[%zero], %d[%zero], %a[%zero], %all : $d, $d, $a"
    )

    def compute(a: np.ndarray) -> np.ndarray:
        return a + (np.arange(ROWS)[:, None] * PITCH + np.arange(COUNT) - 7).astype(np.int32)

    return InstructionCase("iota-i32", ("iota", "i32"), ("i32",), "i32", text, compute)


def _copy(dtype: str) -> InstructionCase:
    text = "buffer.copy %d[%zero], %a[%zero], %all : $d, $a"
    return InstructionCase(f"copy-{dtype}", ("copy", dtype), (dtype,), dtype, text, lambda a: a)


def _insert() -> InstructionCase:
    """The first element of each row, a half larger, at its last place; the others as they are."""
    lines = ["buffer.copy %d[%zero], %a[%zero], %all : $d, $a"]
    for row in range(ROWS):
        lines += [
            f"%at{row} = arith.constant {row * PITCH} : index",
            f"%end{row} = arith.constant {row * PITCH + COUNT - 1} : index",
            f"%v{row} = buffer.extract %a[%at{row}] : $a -> f32",
            f"%h{row} = arith.constant 5.000000e-01 : f32",
            f"%w{row} = arith.addf %v{row}, %h{row} : f32",
            f"buffer.insert %w{row}, %d[%end{row}] : f32, $d",
        ]

    def compute(a: np.ndarray) -> np.ndarray:
        result = a.copy()
        result[:, -1] = a[:, 0] + np.float32(0.5)
        return result

    return InstructionCase(
        "insert-f32", ("copy", "f32"), ("f32",), "f32", "\n".join(lines), compute
    )


def _positive(function: Compute) -> Compute:
    return lambda a: function(np.where(a < 0, np.nan, a))


def cases() -> list[InstructionCase]:
    """All of them; a target runs those that its machine has."""
    result: list[InstructionCase] = []
    for dtype in ("f16", "f32", "i32"):
        result += [
            _binary("add", dtype, np.add),
            _binary("sub", dtype, np.subtract),
            _binary("mul", dtype, np.multiply),
            _scalar("add", dtype, 3, np.add),
            _scalar("sub", dtype, 3, np.subtract),
            _scalar("mul", dtype, -5, np.multiply),
            _unary("neg", dtype, np.negative),
        ]
        result += [_comparison(name, dtype) for name in _RELATIONS]
        result += [_scalar_comparison(name, dtype, 70) for name in _RELATIONS]
    result += [_scalar_comparison(name, "i32", -(1 << 30)) for name in ("lt", "eq")]
    for dtype in ("f16", "f32"):
        result += [
            _binary("max", dtype, np.maximum),
            _binary("min", dtype, np.minimum),
            _scalar("max", dtype, 1, np.maximum),
            _scalar("min", dtype, 1, np.minimum),
            _unary("abs", dtype, np.abs),
            _unary("relu", dtype, lambda a: np.maximum(a, a.dtype.type(0))),
        ]
    result += [
        _binary("div", "f32", np.divide, 2e-7),
        _scalar("div", "f32", 3, np.divide, 2e-7),
        _unary("exp", "f32", np.exp, 2e-6),
        _unary("ln", "f32", _positive(np.log), 1e-6),
        _unary("sqrt", "f32", _positive(np.sqrt), 2e-7),
        _unary("rsqrt", "f32", _positive(lambda a: 1 / np.sqrt(a)), 1e-6),
        _unary("reciprocal", "f32", lambda a: 1 / a, 2e-7),
        _unary("floor", "f32", np.floor),
        _unary("ceil", "f32", np.ceil),
        _unary("bit_not", "i32", np.invert),
        _binary("bit_and", "i32", np.bitwise_and),
        _binary("bit_or", "i32", np.bitwise_or),
        _binary("bit_xor", "i32", np.bitwise_xor),
        _scalar("bit_and", "i32", 0xFFF, np.bitwise_and),
        _mask_binary("bit_and", np.logical_and),
        _mask_binary("bit_or", np.logical_or),
        _mask_binary("bit_xor", np.logical_xor),
        _masks("not", "buffer.mask_not %m[%zero], %m[%zero], %all : $m, $m", lambda a, b: ~b),
        *(_select(dtype) for dtype in TYPES),
        *(_copy(dtype) for dtype in TYPES),
        _iota(),
        _insert(),
        _cast("f16", "f32", "exact", lambda a: a.astype(np.float32)),
        _cast("bf16", "f32", "exact", lambda a: a.astype(np.float32)),
        _cast("f32", "f16", "nearest_even", lambda a: a.astype(np.float16)),
        _cast("f32", "bf16", "nearest_even", lambda a: a.astype(ml_dtypes.bfloat16)),
        _cast("i32", "f32", "nearest_even", lambda a: a.astype(np.float32)),
        _cast("i8", "f32", "exact", lambda a: a.astype(np.float32)),
        _cast("i8", "i32", "exact", lambda a: a.astype(np.int32)),
        _cast("f32", "i32", "trunc", _saturated("i32", np.trunc)),
        _cast("f32", "i32", "nearest_even", _saturated("i32", np.rint)),
        _cast("f32", "i8", "trunc", _saturated("i8", np.trunc)),
        _reduce("add", "f32", np.sum, 2e-6),
        _reduce("add", "i32", np.sum),
        _reduce("max", "f32", np.max),
        _reduce("min", "f32", np.min),
    ]
    return result
