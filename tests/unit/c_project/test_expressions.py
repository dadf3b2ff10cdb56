"""Symbolic sizes as C++, checked by compiling them."""

import itertools
import subprocess

import pytest

from infini_ir.targets.c_project.assemble import static_source
from infini_ir.targets.c_project.expressions import (
    Names,
    c_comment,
    c_factor,
    c_identifier,
    c_string,
)
from infini_ir.utils.symbolic import Dim

DIMS = (
    "4*M*N + 3", "floordiv(M + 31, 32)*64", "mod(M - 3, 5)", "floordiv(M - 7, 3)", "-M + 5",
    "min(M, 2*N) - max(N, 3)", "floordiv(M, N)", "mod(M, N)", "floordiv(M - 9, N)", "M*M*N",
    "mod(N - M, 4)*floordiv(N - M, 4)", "70000000000*M + 5000000000", "70000000000", "-2",
    "floordiv(floordiv(M + 1, 2) + N, 3)", "0",
)  # fmt: skip


def test_values_are_those_of_the_sizes(tmp_path):
    """Every expression, at sizes of all kinds, 0 among them."""
    names = Names()
    values = list(itertools.product((0, 1, 6, 33), (0, 1, 4, 9)))
    lines = []
    for text in DIMS:
        dim = Dim.parse(text)
        for m, n in values:
            given = f"const int64_t M = {m}, N = {n}; (void)M; (void)N;"
            wanted = dim.evaluate({"M": m, "N": n})
            lines.append(
                f"{{ {given} if (2 * {c_factor(dim, names)} != INT64_C({2 * wanted})) "
                f"return std::puts({c_string(text)}), 1; }}"
            )
    (tmp_path / "sizes.h").write_text(static_source("sizes.h"))
    main = "\n".join(["#include <cstdio>", '#include "sizes.h"', "int main() {", *lines, "}"])
    (tmp_path / "t.cpp").write_text(main)
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "t.cpp", "-o", "t"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "t"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_divisions_of_sizes_are_plain():
    assert Names().expression(Dim.parse("floordiv(M + 63, 64)*4")) == "4 * ((M + 63) / 64)"


def test_names_are_identifiers_and_differ():
    names = Names.reserving(["stream"])
    given = [
        names.symbol(s)
        for s in ("a.b", "a_b", "int", "I", "stream", "_x", "__X", "a$b", "NULL")
    ]
    assert given == ["a_b", "a_b_2", "int_", "I_", "stream_2", "x", "X", "a_b_3", "NULL_"]
    assert names.symbol("a_b") == "a_b_2"
    assert names.expression(Dim.parse("2*a.b + int")) == "2 * a_b + int_"
    assert names.used == {"a.b", "int"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("/layer.0/MatMul", "layer_0_MatMul"), ("3x", "_3x"), ("ключ", "value"), ("", "value")],
)
def test_identifiers(text, wanted):
    assert c_identifier(text) == wanted


def test_strings_and_comments_hold_anything():
    assert c_string('a"\\\n??/é') == '"a\\"\\\\\\012\\?\\?/\\303\\251"'
    assert c_comment("ends in \\") == "ends in /"
    assert "\n" not in c_comment("two\nlines")
