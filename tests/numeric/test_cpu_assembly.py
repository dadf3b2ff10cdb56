"""The innermost loops of products: accumulators in registers, multiply-adds as wide as can be."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest
from product_cases import Product
from test_narrow_weights import Case
from tile_cases import CASES
from tile_programs import build

import infini_ir
from infini_ir.targets.cpu.features import named

MATMUL = Product((504,), (512,), 512, weight=True, epilogue="bias")
SHORT = Product((504,), (64,), 512, weight=True)
UNPACKED = Product((512,), (512,), 512)
SKINNY = Product((1,), (512,), 4096, weight=True)
ROWS = Product((4,), (512,), 1024, weight=True)
CONVOLUTION = Product((28, 28), (3, 3, 64), 64, weight=True, epilogue="both")
SMALL_IMAGE = Product((7, 7), (3, 3, 128), 256, weight=True, epilogue="both")
DOUBLE = Product((128,), (256,), 256, a="f64", b="f64", acc="f64", weight=True)
HALF = Product((128,), (256,), 256, a="f16", b="f16", acc="f32", out="f16", weight=True)
"""Its conversions take registers of their own, of which AVX2 has too few."""


def innermost_loops(assembly: str) -> list[list[str]]:
    """The instructions from each label to a branch back to it, with no other label between."""
    loops: list[list[str]] = []
    label, body = "", []
    for line in assembly.splitlines():
        if found := re.match(r"(\.LBB\w+):", line):
            label, body = found[1], []
        elif line.startswith("\t") and not line.startswith("\t."):
            body.append(line.strip())
            if re.match(rf"j\w+\s+{re.escape(label)}$", line.strip()):
                loops.append(list(body))
    return loops


def hot_loop(product: Product, cpu: str, instruction: str = "vfmadd") -> list[str]:
    """The innermost loop with the most multiply-adds."""
    loops = innermost_loops(build(product.program, cpu).texts["asm"])
    return max(loops, key=lambda loop: sum(instruction in line for line in loop))


@pytest.mark.skipif(
    not named("native").has_avx512_vnni, reason="this machine has no instruction for bytes"
)
def test_windows_of_bytes():
    """Four products in one instruction, whose factors stay in registers."""
    loops = innermost_loops(
        build(CASES["byte_windows[2-2-2-48]"]().program, "native").texts["asm"]
    )
    loop = max(loops, key=lambda loop: sum("vpdpbusd" in line for line in loop))
    assert sum("vpdpbusd" in line for line in loop) == 1
    assert not [line for line in loop if "vpmull" in line or is_vector_stack_access(line)]


def is_vector_stack_access(line: str) -> bool:
    return "(%rsp" in line and re.search(r"%[xyz]mm", line) is not None


PRODUCTS = [MATMUL, UNPACKED, SKINNY, ROWS, CONVOLUTION, SMALL_IMAGE, DOUBLE, HALF]


@pytest.mark.parametrize(("cpu", "register"), [("x86-64-v4", "zmm"), ("x86-64-v3", "ymm")])
@pytest.mark.parametrize("product", PRODUCTS, ids=str)
def test_accumulators_stay_in_registers(product, cpu, register):
    if product is HALF and register == "ymm":
        pytest.skip("conversions to f32 take more registers than AVX2 has left")
    loop = hot_loop(product, cpu)
    products = [line for line in loop if "vfmadd" in line]
    assert len(products) >= 8
    assert all(f"%{register}" in line for line in products)
    assert not [line for line in loop if is_vector_stack_access(line)]
    # Nothing else is computed: loads, broadcasts and the steps of addresses remain.
    assert not [line for line in loop if re.match(r"v(mul|add|sub|div)|call", line)]


def test_as_many_accumulators_as_registers_hold():
    """14 rows of 2 vectors where there are 32 registers, 6 of 2 where there are 16; each is
    multiplied and added to once in each of the steps that are written out."""
    for cpu, count in (("x86-64-v4", 28), ("x86-64-v3", 12)):
        products = [line for line in hot_loop(MATMUL, cpu) if "vfmadd" in line]
        accumulators = Counter(line.rsplit("%", 1)[1] for line in products)
        assert sorted(accumulators.values()) == [len(products) // count] * count


@pytest.mark.parametrize("product", [MATMUL, SHORT], ids=str)
def test_lines_of_results_are_fetched_row_by_row(product):
    """A turn of the loop asks for one row's lines: all at once would hold up the operands."""
    loop = hot_loop(product, "sapphirerapids")
    assert sum(line.startswith("prefetchw") for line in loop) == 2


@pytest.mark.parametrize(("rows", "panels"), [(1, 4), (2, 4), (3, 2), (4, 2), (6, 2), (8, 1)])
def test_few_rows_read_several_panels_and_ask_ahead(rows, panels):
    """Each panel is a stream from memory; every line of it is asked for once, in the second
    cache (of one panel, between the steps), and the left operand's in the first. The sums of all
    panels stay in registers."""
    loop = hot_loop(Product((rows,), (512,), 2048, weight=True), "sapphirerapids")
    assert sum("vfmadd" in line for line in loop) == 4 * rows * 2 * panels
    asked = [number for number, line in enumerate(loop) if line.startswith("prefetcht1")]
    assert len(asked) == 8 * panels
    between = sum("vfmadd" in line for line in loop[asked[0] : asked[-1]])
    assert panels > 1 or between >= 2 * rows * 2
    assert sum(line.startswith("prefetcht0") for line in loop) == rows
    assert not [line for line in loop if is_vector_stack_access(line)]


def test_strips_that_take_turns_share_the_asking():
    """Two strips of eight rows: each asks for half of what both read next, and what they have
    summed before is not touched in the loop."""
    loop = hot_loop(Product((16,), (2048,), 512, weight=True), "sapphirerapids")
    assert sum("vfmadd" in line for line in loop) == 4 * 8 * 2
    assert sum(line.startswith("prefetcht1") for line in loop) == 4
    assert not [line for line in loop if is_vector_stack_access(line)]


@pytest.mark.parametrize(
    ("product", "instruction"),
    [
        (
            Product((26,), (2048,), 512, a="bf16", b="bf16", out="bf16", weight=True),
            "vdpbf16ps",
        ),
        (Product((26,), (4096,), 512, a="ui8", b="i8", acc="i32", weight=True), "vpdpbusd"),
    ],
    ids=str,
)
def test_strips_of_groups_that_take_turns_share_the_asking(product, instruction):
    """Two strips of thirteen rows: each asks for half of both panels' next part."""
    loop = hot_loop(product, "znver4", instruction)
    assert sum(instruction in line for line in loop) == 2 * 13 * 2
    assert sum(line.startswith("prefetcht1") for line in loop) == 2
    assert not [line for line in loop if is_vector_stack_access(line)]


def test_few_rows_ask_for_nothing_that_is_in_the_second_cache():
    loop = hot_loop(Product((1,), (128,), 512, weight=True), "sapphirerapids")
    assert sum("vfmadd" in line for line in loop) >= 8
    assert not [line for line in loop if line.startswith("prefetcht")]


@pytest.mark.parametrize("name", ("f32-(3,3)-1-11", "bf16-(3,3)-1-30"))
def test_strips_of_windows_stay_in_registers(name):
    """Each element of a row of the input is loaded once for all windows that it is in."""
    built = build(CASES[f"depthwise_convolutions[{name}]"]().program, "x86-64-v4")
    loops = innermost_loops(built.texts["asm"])
    loop = max(loops, key=lambda loop: sum("vfmadd" in line for line in loop))
    assert sum("vfmadd" in line or "vmulps" in line for line in loop) == 9 * 8
    assert not [line for line in loop if is_vector_stack_access(line)]
    if name.startswith("bf16"):
        assert sum("vpmovzxwd" in line for line in loop) == 3 * 10


TILES = [
    Product((512,), (512,), 512, a="bf16", b="bf16", out="bf16", weight=True, epilogue="bias"),
    Product((512,), (2048,), 512, a="bf16", b="bf16", weight=True),
    Product((64,), (512,), 512, a="ui8", b="i8", acc="i32", weight=True),
    Product((28, 28), (3, 3 * 64), 64, a="bf16", b="bf16", weight=True, epilogue="both"),
    Product((28, 28), (3, 3 * 64), 64, a="i8", b="i8", acc="i32", weight=True),
]


def tile_products(product: Product) -> tuple[list[str], list[str]]:
    """The instructions from the first load to the last product of the stretch without labels
    that has the most products of tiles, and those from there to the next with a tile."""
    lines = build(product.program, "sapphirerapids").texts["asm"].splitlines()
    labels = [i for i, line in enumerate(lines) if re.match(r"\.LBB\w+:", line)]
    stretches = [range(a, b) for a, b in pairwise([*labels, len(lines)])]
    products = [[i for i in one if lines[i].startswith("\ttdp")] for one in stretches]
    last = max(products, key=len)[-1]
    first = next(i for i in reversed(range(last)) if lines[i].startswith(".LBB"))
    begin = next(i for i in range(first, last) if lines[i].startswith("\ttileload"))
    others = (i for i in range(last + 1, len(lines)) if re.match("\t(tile|tdp)", lines[i]))
    end = next(others, len(lines))
    return [line.strip() for line in lines[begin : last + 1]], lines[last + 1 : end]


@pytest.mark.parametrize("product", TILES, ids=str)
def test_products_of_tiles(product):
    """Four products for four loads of tiles, and beside them only addresses."""
    hot, _ = tile_products(product)
    counts = Counter(line.split()[0] for line in hot)
    name = "tdpbf16ps" if product.a == "bf16" else f"tdpb{'u' if product.a == 'ui8' else 's'}sd"
    assert counts[name] == counts["tileloadd"] + counts["tileloaddt1"] == 4
    assert not [line for line in hot if re.search(r"%[xyz]mm|call|tilestore|cfg", line)]


def test_parts_of_k_claim_lines_and_pass_the_caches():
    """Where k goes by parts, the rows pass, the next results' lines are claimed after each run,
    and what is finished is written past the caches."""
    product = Product(
        (512,), (2048,), 1024, a="bf16", b="bf16", out="bf16", weight=True, epilogue="bias"
    )
    hot, after = tile_products(product)
    assert sum(line.startswith("tileloaddt1") for line in hot) == 2
    assert sum("prefetchw" in line for line in after) == 4
    assert not [line for line in after if is_vector_stack_spill(line)]
    text = build(product.program, "sapphirerapids").texts["asm"]
    assert "vmovntps" in text and "sfence" in text


def test_blocks_are_finished_between_products_of_the_next():
    """Rows become bf16 after each run of k, and are not left for the end of it."""
    _, after = tile_products(TILES[0])
    assert any("vcvtne" in line for line in after)
    assert not [line for line in after if is_vector_stack_spill(line)]


@pytest.mark.parametrize(("depth", "additions"), [(256, 0), (2048, 1)])
def test_units_that_store_tiles_are_kept_awake(depth, additions):
    """One addition for each run of long sums."""
    product = Product((64,), (depth,), 64, a="ui8", b="i8", acc="i32", weight=True)
    assembly = build(product.program, "sapphirerapids").texts["asm"]
    assert assembly.count("vaddps") == additions


def is_vector_stack_spill(line: str) -> bool:
    """Whether a vector goes to the stack; results of tiles come from there."""
    return re.search(r"%[xyz]mm\d+, -?\d*\(%rsp\)", line) is not None


@pytest.mark.parametrize(
    ("depth", "hints"), [(256, 0), (512, 2), (2048, 2)], ids=("both-fit", "one-fits", "none")
)
def test_tiles_that_pass_leave_the_first_cache(depth, hints):
    """Where strips of both operands are too much for it, loads of the one that passes ask for
    no room."""
    product = Product((512,), (depth,), 512, a="bf16", b="bf16", weight=True)
    hot, _ = tile_products(product)
    assert sum(line.startswith("tileloaddt1") for line in hot) == hints


def groups(a: str, b: str, m: tuple[int, ...] = (504,), k: tuple[int, ...] = (512,)) -> Product:
    return Product(m, k, 128, a=a, b=b, acc="f32" if a == "bf16" else "i32", weight=True)


@pytest.mark.parametrize(
    ("cpu", "product", "instruction", "register", "accumulators"),
    [
        ("znver4", groups("bf16", "bf16"), "vdpbf16ps", "zmm", 28),
        ("znver4", groups("bf16", "bf16", (28, 28), (3, 192)), "vdpbf16ps", "zmm", 28),
        ("cascadelake", groups("ui8", "i8"), "vpdpbusd", "zmm", 28),
        ("icelake-server", groups("i8", "i8"), "vpdpbusd", "zmm", 28),
        ("icelake-server", groups("i8", "i8", (28, 28), (3, 192)), "vpdpbusd", "zmm", 28),
        ("alderlake", groups("ui8", "i8"), "vpdpbusd", "ymm", 12),
        ("alderlake", groups("i8", "i8"), "vpdpbusd", "ymm", 12),
        ("x86-64-v4", groups("ui8", "i8"), "vpmaddwd", "zmm", 28),
        ("x86-64-v3", groups("i8", "i8"), "vpmaddwd", "ymm", 12),
        ("x86-64-v3", groups("bf16", "bf16"), "vfmadd", "ymm", 8),
    ],
    ids=str,
)
def test_groups_stay_in_registers(cpu, product, instruction, register, accumulators):
    loops = innermost_loops(build(product.program, cpu).texts["asm"])
    hot = max(loops, key=lambda loop: sum(instruction in line for line in loop))
    products = [line for line in hot if instruction in line]
    assert len(products) >= accumulators
    assert all(f"%{register}" in line for line in products)
    assert not [line for line in hot if is_vector_stack_access(line) or "call" in line]
    if instruction != "vpmaddwd":
        sums = {line.rsplit("%", 1)[1] for line in products}
        assert len(sums) == accumulators


def nibbles_hot_loop(rows: int, cpu: str, instruction: str) -> list[str]:
    """The innermost loop of rows times 4-bit weights with the most of an instruction."""
    case = Case("i4", 256, 4096, blocks=True, zeros=False)
    texts = infini_ir.compile(case.model(rows), target=f"cpu:{cpu}").program.texts
    loops = innermost_loops(texts["asm"])
    return max(loops, key=lambda loop: sum(instruction in line for line in loop))


@pytest.mark.parametrize("rows", (1, 2, 4))
def test_few_rows_times_nibbles(rows: int):
    """A block of 32 neighbours for one scale: 24 products of bytes a row and panel, beside them
    what takes the nibbles apart, and what joins the slices; sums stay in registers."""
    loop = nibbles_hot_loop(rows, "icelake-server", "vpdpbusd")
    panels = max(1, 4 // rows)
    counts = Counter(line.split()[0] for line in loop)
    assert counts["vpdpbusd"] == 24 * rows * panels
    assert counts["vpandd"] == 8 * panels and counts["vpsrld"] == 4 * panels
    assert counts["vcvtdq2ps"] == 3 * rows * panels
    assert not [line for line in loop if is_vector_stack_access(line)]


@pytest.mark.parametrize("rows", (8, 16, 64))
def test_rows_times_nibbles(rows: int):
    """A permutation makes floats of 16 nibbles, which all rows of a strip are multiplied with."""
    loop = nibbles_hot_loop(rows, "x86-64-v4", "vfmadd")
    counts = Counter(line.split()[0] for line in loop)
    permutations = counts["vpermps"] + counts["vpermd"]
    assert permutations == 16 and counts["vfmadd231ps"] % permutations == 0
    assert counts["vfmadd231ps"] >= 8 * permutations
    assert not [line for line in loop if is_vector_stack_access(line)]
