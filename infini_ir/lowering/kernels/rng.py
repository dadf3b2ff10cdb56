"""Random bits by Philox 4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3,
SC 2011): each element computes its own block, so programs need nothing from each other."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from infini_ir.dialects import graph
from infini_ir.lowering.host_builder import HostBuilder, label_of, lowers, origin_of
from infini_ir.lowering.kernel_builder import KernelBuilder
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.scalar_builder import ScalarBuilder, scalar_type

_ROUNDS = 10
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85


@lowers(graph.RngOp)
def lower_rng(op: graph.RngOp, host: HostBuilder) -> None:
    state = host.placement(op.state)
    out = host.destination(op.bits, Placement.is_dense)
    count = out.element_count()
    following = host.destination(op.next_state)
    flat = out.reshaped([count])
    assert flat is not None, "dense memory has any shape"
    if not out.is_empty():
        types = [flat.view_type, state.view_type]
        k = KernelBuilder("rng", types, [count], ["BC"], origin_of(op))
        _write_bits(k)
        host.launch(k, [host.view(flat), host.view(state)], label_of(op))
    step = KernelBuilder("rng_state", [following.view_type, state.view_type], [], [])
    blocks = step.from_index(count.ceil_divide(4))
    key, counter = (step.read(step.views[1], [i]) for i in (0, 1))
    after = step.emit(arith.AddiOp(counter, blocks))
    for i, word in enumerate((key, after)):
        step.store(step.full(word, [], "ui64"), step.views[0], [i], [])
    host.launch(step, [host.view(following), host.view(state)], label_of(op))


def _write_bits(k: KernelBuilder) -> None:
    out, state = k.views
    key, counter = (k.read(state, [i]) for i in (0, 1))

    def body(
        s: ScalarBuilder, start: SSAValue, key: SSAValue, counter: SSAValue
    ) -> list[SSAValue]:
        number = s.from_index(s.add(start, s.coord(0)), "i64")
        block = s.add(counter, s.shr(number, s.constant(2, "i64"), unsigned=True))
        words = _philox(s, [*_halves(s, block), s.constant(0, "i32"), s.constant(0, "i32")],
                        _halves(s, key))  # fmt: skip
        which = s.emit(arith.TruncIOp(s.and_(number, s.constant(3, "i64")), scalar_type("i32")))
        result = words[3]
        for i in (2, 1, 0):
            here = s.compare("eq", which, s.constant(i, "i32"))
            result = s.select(here, words[i], result)
        return [result]

    (bits,) = k.map(
        [k.offsets[0], key, counter], [[], [], []], ["ui32"], ["BC"], body
    )  # fmt: skip
    k.store(bits, out, k.offsets, [0])


def _halves(s: ScalarBuilder, wide: SSAValue) -> list[SSAValue]:
    """The low and the high word of 64 bits."""
    high = s.shr(wide, s.constant(32, "i64"), unsigned=True)
    return [s.emit(arith.TruncIOp(part, scalar_type("i32"))) for part in (wide, high)]


def _philox(s: ScalarBuilder, counter: list[SSAValue], key: list[SSAValue]) -> list[SSAValue]:
    """Four random words of a counter of four words and a key of two."""

    def product(word: SSAValue, multiplier: int) -> list[SSAValue]:
        wide = s.emit(arith.ExtUIOp(word, scalar_type("i64")))
        return _halves(s, s.mul(wide, s.constant(multiplier, "i64")))

    words = list(counter)
    for _ in range(_ROUNDS):
        first, second = product(words[0], _MULTIPLIERS[0]), product(words[2], _MULTIPLIERS[1])
        words = [
            s.xor(s.xor(second[1], words[1]), key[0]),
            second[0],
            s.xor(s.xor(first[1], words[3]), key[1]),
            first[0],
        ]
        key = [
            s.add(half, s.constant(step, "i32"))
            for half, step in zip(key, _KEY_STEPS, strict=True)
        ]
    return words
