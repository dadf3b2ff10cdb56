"""Runs kernels with every buffer between forbidden pages: `guarded_runs.py end native`.

Prints each name before its run, so that the last one says which kernel went too far.
"""

from __future__ import annotations

import sys

import numpy as np
from convolution_cases import CONVOLUTIONS
from product_cases import Product
from test_cpu_attention import BF16_SHAPES, built_for, exact, operands
from test_cpu_products import FEW, FORMS, GROUPED, SMALL, SYMBOLIC, TYPES
from tile_cases import CASES
from tile_programs import GuardedRun, build, reference, same

EDGES = [
    Product((1,), (9,), 900, weight=True),
    Product((2,), (9,), 450, weight=True, epilogue="both"),
    Product((40,), (30,), 1000, a="i64", b="i64", acc="i64", weight=True),
]


def main(side: str, cpu: str) -> None:
    at_end = side == "end"
    for name, made in CASES.items():
        print(name, flush=True)
        case = made()
        run = GuardedRun(build(case.program, cpu), at_end)
        for number, inputs in enumerate(case.inputs):
            given = run(inputs)
            if number == 1 and at_end:
                # Scratch memory begins as NaNs here: what reads it unwritten shows.
                for one, other in zip(given, reference(case.program, inputs), strict=True):
                    same(one, other, name, case.rtol, case.atol, case.exact)
    for product in (*EDGES, *SMALL[::2], *SYMBOLIC[::2], *FORMS, *TYPES[::2], *GROUPED, *FEW):
        print(product, flush=True)
        inputs = product.inputs()
        given = GuardedRun(build(product.program, cpu), at_end)(inputs)
        for one, other in zip(given, product.wanted(inputs), strict=True):
            scale = float(np.max(np.abs(other.astype(np.float64)), initial=1.0))
            same(one, other, str(product), product.tolerance(), product.tolerance() * scale)
    for conv in CONVOLUTIONS[:5]:
        print(conv, flush=True)
        inputs = conv.inputs()
        (one,) = GuardedRun(build(conv, cpu), at_end)(inputs)
        same(one, conv.wanted(inputs).astype(np.float32), str(conv), 1e-4, 1e-4)
    for shape in BF16_SHAPES:
        for causal in (False, True):
            print("attention", shape, causal, flush=True)
            inputs = operands(shape, causal)
            (one,) = GuardedRun(built_for(inputs, causal, cpu), at_end)(inputs)
            wanted = exact(*inputs[:3], inputs[3] if causal else None, causal)
            same(one.astype(np.float32), wanted.astype(np.float32), str(shape), 0.02, 0.02)
    print("done")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
