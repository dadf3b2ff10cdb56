"""The writer of LLVM IR: what is known is carried along, and computed once."""

import ctypes

import pytest

from infini_ir.runtime.image import Image
from infini_ir.targets.cpu import features
from infini_ir.targets.cpu.image import linker
from infini_ir.targets.cpu.llvm import toolchain
from infini_ir.targets.cpu.llvm.writer import ZERO, Function, Module, Sum, V, integer


def _function() -> Function:
    return Module().function("define i64 @f(i64 %x, i64 %y)")


X, Y = V("%x", "i64"), V("%y", "i64")


def test_addends_go_through_products_and_sums():
    f = _function()
    value = f.add(f.mul(f.add(X, integer(3)), integer(8)), f.sub(Y, integer(4)))
    assert isinstance(value, Sum) and value.offset == 20
    assert sum("mul" in line for line in f.text().split("\n")) == 1
    assert f.sub(f.add(X, integer(5)), X).number == 5
    assert f.add(f.add(X, integer(5)), integer(-5)) is X


def test_unused_sums_leave_nothing_behind():
    f = _function()
    f.add(X, integer(3))
    assert "add" not in f.text()
    f.emit(f"ret i64 {f.add(X, integer(3)).text}")
    assert f.text().count("add nsw i64 %x, 3") == 1


def test_an_address_takes_the_addend():
    f = _function()
    first = f.gep(V("%p", "ptr"), f.add(X, integer(3)), "float")
    second = f.gep(V("%p", "ptr"), f.add(X, integer(4)), "float")
    lines = [line for line in f.text().split("\n") if "getelementptr" in line]
    assert len(lines) == 3
    assert first.text != second.text
    assert "i64 3" in lines[1] and "i64 4" in lines[2]


def test_values_of_other_blocks_are_computed_again():
    f = _function()
    f.mul(X, integer(8))
    f.start("other")
    f.mul(X, integer(8))
    assert f.text().count("mul nsw i64 %x, 8") == 2


@pytest.mark.parametrize("x, y", [(0, 0), (7, -3), (-5, 11), (1 << 40, 1 << 20)])
def test_the_numbers_are_right(x: int, y: int):
    f = _function()
    f.start("work")
    a = f.sub(integer(10), f.add(f.mul(f.sub(X, integer(2)), integer(-3)), integer(1)))
    b = f.add(f.mul(integer(5), f.add(Y, integer(9))), f.mul(a, f.add(Y, integer(1))))
    total = f.sub(f.add(b, integer(4)), f.add(a, integer(6)))
    f.emit(f"ret i64 {f.add(total, ZERO).text}")
    text = f.text().replace("br label %body\nbody:", "br label %work")
    cpu = features.host()
    image = linker.link([toolchain.compile_ir(f"{text}\nattributes #0 = {{ nounwind }}", cpu)])
    run = Image.from_bytes(image.code).function(
        image.entries["f"], ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
    )
    first = 10 - ((x - 2) * -3 + 1)
    assert run(x, y) == (5 * (y + 9) + first * (y + 1) + 4) - (first + 6)
