"""Runs kernels with every buffer between forbidden pages: `guarded_runs.py end,start native`.

Prints each name before its runs, so that the last one says which kernel went too far.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from convolution_cases import CONVOLUTIONS
from product_cases import Product
from small_models import MODELS
from test_cpu_attention import BF16_SHAPES, built_for, exact, operands
from test_cpu_products import FEW, FORMS, GROUPED, PARTED, SMALL, SYMBOLIC, TYPES
from test_narrow_weights import CODES, Case
from tile_cases import CASES
from tile_programs import Array, GuardedRun, build, reference, same

import infini_ir
from infini_ir.runtime.model import CompiledModel
from infini_ir.runtime.program import Program

EDGES = [
    Product((1,), (9,), 900, weight=True),
    Product((2,), (9,), 450, weight=True, epilogue="both"),
    Product((16,), (1027,), 420, weight=True, epilogue="both"),
    Product((40,), (30,), 1000, a="i64", b="i64", acc="i64", weight=True),
]


def main(sides: list[str], cpu: str) -> None:
    for name, made in CASES.items():
        print(name, flush=True)
        case = made()
        program = build(case.program, cpu)
        for at_end in (side == "end" for side in sides):
            run = GuardedRun(program, at_end)
            for number, inputs in enumerate(case.inputs):
                given = run(inputs)
                if number == 1 and at_end:
                    # Scratch memory begins as NaNs here: what reads it unwritten shows.
                    for one, other in zip(given, reference(case.program, inputs), strict=True):
                        same(one, other, name, case.rtol, case.atol, case.exact)
    products = (
        *EDGES,
        *SMALL[::2],
        *SYMBOLIC[::2],
        *FORMS,
        *TYPES[::2],
        *GROUPED,
        *FEW,
        *PARTED,
    )
    for product in products:
        print(product, flush=True)
        inputs = product.inputs()
        wanted = product.wanted(inputs)
        for given in _runs(build(product.program, cpu), sides, inputs):
            for one, other in zip(given, wanted, strict=True):
                scale = float(np.max(np.abs(other.astype(np.float64)), initial=1.0))
                same(one, other, str(product), product.tolerance(), product.tolerance() * scale)
    for kind in CODES:
        for k, n, blocks in (
            (64, 33, True),
            (96, 16, True),
            (1056, 33, True),
            (131, 40, False),
        ):
            for rows in (1, 3, 14):
                print(kind, k, n, rows, flush=True)
                case = Case(kind, k, n, blocks=blocks, zeros=True)
                compiled = infini_ir.compile(case.model(rows), target=f"cpu:{cpu}", threads=1)
                x = case.x(rows)
                for (one,) in _runs(compiled.program, sides, [x]):
                    case.check(one, x)
    for conv in CONVOLUTIONS[:5]:
        print(conv, flush=True)
        inputs = conv.inputs()
        wanted = conv.wanted(inputs).astype(np.float32)
        for (one,) in _runs(build(conv, cpu), sides, inputs):
            same(one, wanted, str(conv), 1e-4, 1e-4)
    for shape in BF16_SHAPES:
        for causal in (False, True):
            print("attention", shape, causal, flush=True)
            inputs = operands(shape, causal)
            wanted = exact(*inputs[:3], inputs[3] if causal else None, causal)
            for (one,) in _runs(built_for(inputs, causal, cpu), sides, inputs):
                same(one.astype(np.float32), wanted.astype(np.float32), str(shape), 0.02, 0.02)
    for model in MODELS:
        for precision in ("f32", "bf16"):
            print(model.name, precision, flush=True)
            compiled = infini_ir.compile(
                model.model(), target=f"cpu:{cpu}", precision=precision
            )
            inputs = model.inputs()
            wanted = CompiledModel(compiled.program, 1)(*inputs)
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            for given in _runs(compiled.program, sides, inputs):
                for one, other in zip(given, wanted, strict=True):
                    same(one, other, model.name, 0, 0, exact=True)
    print("done")


def _runs(program: Program, sides: list[str], inputs: list[Array]) -> Iterator[list[Array]]:
    """The outputs with the buffers at each of the sides."""
    for side in sides:
        print(side, flush=True)
        yield GuardedRun(program, side == "end")(inputs)


if __name__ == "__main__":
    main(sys.argv[1].split(","), sys.argv[2])
