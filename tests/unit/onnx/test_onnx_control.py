"""If, Loop, Scan, sequences and optionals."""

import numpy as np
import pytest
from onnx_models import imported, results, text_of

from infini_ir.frontends.onnx.backend import BackendRep
from infini_ir.frontends.onnx.errors import SpecializationNeeded
from infini_ir.frontends.onnx.importer import output_descriptions
from infini_ir.interpreters.graph import interpret
from infini_ir.utils.errors import ModelError

F = np.float32


def branches(then: str, other: str) -> str:
    return f"""y = If (c) <
        then_branch = t () => (float[] a) {{ {then} }},
        else_branch = e () => (float[] b) {{ {other} }}>"""


def test_branches_see_outer_values_and_may_reuse_names():
    body = branches("z = Neg(x) a = Add(z, x)", "z = Abs(x) b = Add(z, x)")
    text = f"g (bool c, float[N] x) => (float[N] y) {{ {body} }}"
    assert "graph.if" in text_of(text)
    for flag, wanted in ((True, 0), (False, 2)):
        [y] = results(text, [np.bool_(flag), F([1])])
        assert y.tolist() == [wanted]


def test_sizes_that_differ_between_branches_are_symbols():
    body = branches("a = Identity(x)", "b = Concat<axis=0>(x, x)")
    text = f"g (bool c, float[N] x) => (float[M] y) {{ {body} }}"
    assert "defines" in text_of(text)
    [y] = results(text, [np.bool_(False), F([1, 2])])
    assert y.tolist() == [1, 2, 1, 2]


def test_a_known_condition_chooses_while_importing():
    body = branches("a = Identity(x)", "b = Neg(x)")
    text = f"""g (float[N] x) => (float[N] y) {{
        r = Shape(x) n = Size(r) one = Constant<value_int=1>() c = Equal(n, one) {body} }}"""
    printed = text_of(text)
    assert "graph.if" not in printed and "graph.neg" not in printed


def test_branches_of_different_rank_ask_for_the_condition():
    body = branches("a = Identity(x)", "z = Constant<value_ints=[0]>() b = Unsqueeze(x, z)")
    text = f"g (bool c, float[N] x) => (float[] y) {{ {body} }}"
    with pytest.raises(SpecializationNeeded) as caught:
        imported(text)
    assert caught.value.names == ("c",)


def loop(inputs: str, body: str, outputs: str = "r") -> str:
    return f"{outputs} = Loop ({inputs}) <body = b {body}>"


COUNTED = """(int64 i, bool k, float[2] v) => (bool k2, float[2] w, float[2] s) {
    k2 = Identity(k) w = Add(v, x) s = Neg(w) }"""


@pytest.mark.parametrize("trips", [0, 1, 4])
def test_a_counted_loop_is_a_scan(trips: int):
    text = f"""g (float[2] x, int64 m) => (float[2] r, float[M,2] q) {{
        {loop("m, , x", COUNTED, "r, q")} }}"""
    assert "graph.scan" in text_of(text) and "graph.bind" in text_of(text)
    r, q = results(text, [F([1, 2]), np.int64(trips)])
    assert r.tolist() == [1 + trips, 2 + 2 * trips]
    assert q.shape == (trips, 2)


def test_a_loop_gated_by_a_false_condition_does_nothing():
    text = f"""g (float[2] x, bool c) => (float[2] r, float[M,2] q) {{
        m = Constant<value_int=3>() {loop("m, c, x", COUNTED, "r, q")} }}"""
    r, q = results(text, [F([1, 2]), np.bool_(False)])
    assert (r.tolist(), q.shape) == ([1, 2], (0, 2))


UNTIL = """(int64 i, bool k, float v) => (bool k2, float w {stack}) {{
    two = Constant<value_float=2.0>() w = Mul(v, two) {extra}
    limit = Constant<value_float=100.0>() k2 = Less(w, limit) }}"""


@pytest.mark.parametrize(("limit", "wanted"), [("m", 8.0), ("", 128.0)])
def test_a_loop_with_a_condition_is_a_while(limit: str, wanted: float):
    body = UNTIL.format(stack="", extra="")
    text = f"""g (float x) => (float r) {{
        m = Constant<value_int=3>() t = Constant<value=bool {{1}}>()
        {loop(f"{limit}, t, x", body)} }}"""
    assert "graph.while" in text_of(text)
    assert results(text, [F(1)])[0] == wanted


def test_a_loop_that_stacks_until_a_condition():
    body = UNTIL.format(stack=", float s", extra="s = Identity(w)")
    text = f"""g (float x, int64 m) => (float r, float[M] q) {{
        {loop("m, , x", body, "r, q")} }}"""
    assert "until" in text_of(text)
    _, q = results(text, [F(1), np.int64(50)])
    assert q.tolist() == [2, 4, 8, 16, 32, 64, 128]
    _, q = results(text, [F(1), np.int64(2)])
    assert q.tolist() == [2, 4]


def test_an_endless_loop_is_refused():
    body = "(int64 i, bool k, float v) => (bool k2, float w) { k2 = Identity(k) w = Neg(v) }"
    with pytest.raises(ModelError, match="never ends"):
        imported(f"g (float x) => (float r) {{ {loop(', , x', body)} }}")


GROWING = """(int64 i, bool k, float[A] v) => (bool k2, float[B] w) {
    k2 = Identity(k) w = Concat<axis=0>(v, x) }"""


def test_a_loop_whose_values_grow_is_written_out():
    text = f"g (float[2] x, int64 m) => (float[N] r) {{ {loop('m, , x', GROWING)} }}"
    with pytest.raises(SpecializationNeeded) as caught:
        imported(text)
    assert caught.value.names == ("m",)
    [r] = results(text, [F([1, 2])], {"m": np.int64(2)})
    assert r.tolist() == [1, 2] * 3


def test_scan_takes_directions_and_axes():
    text = """g (float[2] h, float[2,S] x) => (float[2] r, float[2,S] q) {
        r, q = Scan <num_scan_inputs=1, scan_input_axes=[1], scan_input_directions=[1],
                     scan_output_axes=[1], scan_output_directions=[1],
                     body = b (float[2] a, float[2] s) => (float[2] n, float[2] o) {
                         n = Add(a, s) o = Identity(n) }> (h, x) }"""
    x = np.arange(6, dtype=F).reshape(2, 3)
    r, q = results(text, [F([0, 0]), x])
    assert r.tolist() == [3, 12]
    assert q.tolist() == np.cumsum(x[:, ::-1], 1)[:, ::-1].tolist()


def test_scan_before_opset_9_has_a_batch_axis_and_lengths():
    text = """g (int64[2] n, float[2,1] h, float[2,3,1] x) => (float[2,1] r, float[2,3,1] q) {
        r, q = Scan <num_scan_inputs=1, body = b (float[1] a, float[1] s)
            => (float[1] n, float[1] o) { n = Add(a, s) o = Identity(n) }> (n, h, x) }"""
    x = np.arange(6, dtype=F).reshape(2, 3, 1)
    r, q = results(text, [np.array([3, 2]), np.zeros((2, 1), F), x], opset=8)
    assert r.ravel().tolist() == [3, 7]
    assert q.ravel().tolist() == [0, 1, 3, 3, 7, 0]


def test_sequences_exist_only_while_importing():
    text = """g (float[2] x, float[3] y) => (float[2] a, int64 n, seq(float[]) s) {
        e = SequenceEmpty() p = SequenceInsert(e, x) q = SequenceInsert(p, y)
        zero = Constant<value_int=0>() a = SequenceAt(q, zero)
        n = SequenceLength(q) s = SequenceErase(q) }"""
    module, _ = imported(text)
    assert output_descriptions(module) == ["a", "n", "s[1]"]
    a, n, s = results(text, [F([1, 2]), F([3, 4, 5])])
    assert (a.tolist(), int(n), s.tolist()) == ([1, 2], 2, [1, 2])


def test_sequence_map_runs_its_body_for_each_element():
    text = """g (float[4] x) => (float[4] y) {
        two = Constant<value_int=2>() s = SplitToSequence(x, two)
        m = SequenceMap <body = b (float[N] a) => (float[N] c) { c = Neg(a) }> (s)
        y = ConcatFromSequence<axis=0>(m) }"""
    assert results(text, [F([1, 2, 3, 4])])[0].tolist() == [-1, -2, -3, -4]


def test_optionals():
    text = """g (float[2] x) => (bool h, bool e, float[2] y) {
        o = Optional(x) h = OptionalHasElement(o) e = OptionalHasElement() y = OptionalGetElement(o)
    }"""
    h, e, y = results(text, [F([1, 2])])
    assert (bool(h), bool(e), y.tolist()) == (True, False, [1, 2])


def reference_backend(text: str) -> BackendRep:
    """The backend on the reference interpreter."""
    from onnx_models import model

    proto = model(text)

    def build(given):
        module, ctx = imported(proto, given)
        return lambda arrays: interpret(module, list(arrays), ctx), output_descriptions(module)

    rep = BackendRep(proto, build)
    rep.prepare()
    return rep


def test_the_backend_specialises_at_the_first_run():
    rep = reference_backend(
        "g (float[2,3] x, int64[1] a) => (float[] y) { y = ReduceSum(x, a) }"
    )
    x = np.ones((2, 3), F)
    assert rep.run([x, np.array([0])])[0].shape == (1, 3)
    assert rep.run([x, np.array([1])])[0].shape == (2, 1)
    assert len(rep.specializer.programs) == 2
    assert rep.run([x, np.array([0])]).y.shape == (1, 3)
    assert len(rep.specializer.programs) == 2


def test_the_backend_specialises_a_shape_that_infers():
    rep = reference_backend(
        "g (float[2,3] x, int64[1] s) => (float[N] y) { y = Reshape(x, s) }"
    )
    assert rep.run([np.ones((2, 3), F), np.array([-1])])[0].shape == (6,)


def test_the_backend_takes_and_gives_sequences():
    rep = reference_backend("g (seq(float[N]) s) => (int64 n, seq(float[N]) t) "
                            "{ n = SequenceLength(s) t = SequenceErase(s) }")  # fmt: skip
    n, t = rep.run([[F([1]), F([2, 3])]])
    assert int(n) == 2 and [v.tolist() for v in t] == [[1]]
