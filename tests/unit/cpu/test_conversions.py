"""Half-width floats on a processor without instructions for them, against numpy."""

import ctypes

import ml_dtypes
import numpy as np
import pytest

from infini_ir.runtime.host import host_arch
from infini_ir.runtime.image import Image
from infini_ir.targets.cpu.features import named
from infini_ir.targets.cpu.image.linker import link
from infini_ir.targets.cpu.image.support import support_ir
from infini_ir.targets.cpu.llvm import toolchain

TYPES = {
    "half": np.float16,
    "bfloat": ml_dtypes.bfloat16,
    "float": np.float32,
    "double": np.float64,
}
PAIRS = [
    ("half", "float"),
    ("half", "double"),
    ("float", "half"),
    ("double", "half"),
    ("bfloat", "float"),
    ("float", "bfloat"),
    ("double", "bfloat"),
]

pytestmark = [
    pytest.mark.skipif(host_arch() != "x86-64", reason="runs x86-64 code"),
    pytest.mark.filterwarnings("ignore:invalid value"),  # signalling NaNs are among the cases
]


def converter(source, target):
    operation = (
        "fpext"
        if np.dtype(TYPES[source]).itemsize < np.dtype(TYPES[target]).itemsize
        else "fptrunc"
    )
    text = f"""
define void @convert(ptr %from, ptr %to, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %p = getelementptr {source}, ptr %from, i64 %i
  %x = load {source}, ptr %p
  %y = {operation} {source} %x to {target}
  %q = getelementptr {target}, ptr %to, i64 %i
  store {target} %y, ptr %q
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
    features = named("x86-64")
    linked = link(toolchain.compile_modules([text, support_ir(features)], features, 1))
    pointer = ctypes.c_void_p
    return Image.from_bytes(linked.code).function(
        linked.entries["convert"], None, pointer, pointer, ctypes.c_int64
    )


def cases(source):
    """Every half-width value, the values halfway between two, and their nearest neighbours."""
    values = [np.arange(1 << 16, dtype=np.uint16).view(TYPES[n]) for n in ("half", "bfloat")]
    if source in ("half", "bfloat"):
        return values[source == "bfloat"]
    finite = [np.sort(v[np.isfinite(v)].astype(np.float64)) for v in values]
    middle = [(v[1:] + v[:-1]) / 2 for v in finite]
    special = np.array(
        [np.nan, np.inf, -np.inf, 1e300, -1e300, 65519.99, 65520, 3.4e38, 1e-310]
    )
    with np.errstate(over="ignore", under="ignore"):
        exact = np.concatenate([*finite, *middle, special]).astype(TYPES[source])
    neighbours = [np.nextafter(exact, TYPES[source](s)) for s in (-np.inf, np.inf)]
    return np.concatenate([exact, *neighbours])


def expected(values, target):
    """numpy's answer; ml_dtypes takes a double to bfloat16 in two roundings, so that case is done in one here."""
    with np.errstate(over="ignore", invalid="ignore"):
        if values.dtype != np.float64 or target != "bfloat":
            return values.astype(TYPES[target])
        near = values.astype(np.float32)
        bits = near.view(np.int32)
        inexact = np.isfinite(values) & (near.astype(np.float64) != values)
        over = np.abs(near.astype(np.float64)) > np.abs(values)
        odd = np.where(inexact, (bits - over) | 1, bits).astype(np.int32)
        return odd.view(np.float32).astype(TYPES[target])


@pytest.mark.parametrize("source, target", PAIRS)
def test_conversion(source, target):
    values = np.ascontiguousarray(cases(source))
    result = np.empty(len(values), TYPES[target])
    converter(source, target)(values.ctypes.data, result.ctypes.data, len(values))
    wanted = expected(values, target)
    nan = np.isnan(wanted.astype(np.float64))
    assert (np.isnan(result.astype(np.float64)) == nan).all()
    bits = f"u{result.dtype.itemsize}"
    assert (result.view(bits)[~nan] == wanted.view(bits)[~nan]).all()
