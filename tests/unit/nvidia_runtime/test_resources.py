"""Machine code of typical kernels on every architecture: what good code must show."""

import pytest
from onnx import parser

from infini_ir.compiler import Compilation, Options
from infini_ir.targets.nvidia.limits import ARCHITECTURES
from infini_ir.targets.nvidia.program import compiled_kernels
from infini_ir.targets.nvidia.resources import Resources, kernel_resources, opcodes

MODELS = {
    "matmul": "(float16[M,1024] x, float16[1024,4096] w, float16[4096] b) => (float16[M,4096] y) "
    "{ z = MatMul(x, w) t = Add(z, b) y = Relu(t) }",
    "matmul_gelu": "(bfloat16[M,1024] x, bfloat16[1024,4096] w) => (bfloat16[M,4096] y) "
    "{ z = MatMul(x, w) y = Gelu(z) }",
    "matmul_f32": "(float[512,512] x, float[512,512] w) => (float[512,512] y) { y = MatMul(x, w) }",
    "matmul_long": "(float16[16,4096] x, float16[4096,4096] w) => (float16[16,4096] y) "
    "{ y = MatMul(x, w) }",
    "softmax": "(float[M,1024] x) => (float[M,1024] y) { y = Softmax(x) }",
    "layer_norm": "(float16[M,768] x, float16[768] g, float16[768] b) => (float16[M,768] y) "
    "{ y = LayerNormalization(x, g, b) }",
    "elementwise": "(float[4096,4096] x, float[4096,4096] z) => (float[4096,4096] y) "
    "{ s = Sigmoid(x) t = Mul(s, x) y = Add(t, z) }",
    "attention": "(float16[B,8,S,64] q, float16[B,2,S,64] k, float16[B,2,S,64] v) => "
    "(float16[B,8,S,64] y) { y = Attention<is_causal=1>(q, k, v) }",
}
PRODUCTS = ("matmul", "matmul_gelu", "matmul_f32", "matmul_long", "attention")


def built(name: str, architecture: str) -> list[Resources]:
    head = '<ir_version: 10, opset_import: ["" : 23]>'
    model = parser.parse_model(f"{head}\nm {MODELS[name]}")
    options = Options(target=f"nvidia:{architecture}")
    program = Compilation(options, keep_texts=False).run(model)
    return [kernel_resources(kernel) for kernel in compiled_kernels(program)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", MODELS)
def test_code(name: str, architecture: str):
    limits = ARCHITECTURES[architecture]
    kernels = [used for used in built(name, architecture) if "_few" not in used.kernel]
    # The longest kernel is the one that the model is about; others cut and join its work.
    main = max(kernels, key=lambda used: used.instructions)
    assert (main.tensor > 0) == (name in PRODUCTS), main
    if name in PRODUCTS and name != "attention":
        assert main.async_copies + main.bulk_copies > 0, main
    for used in kernels:
        assert used.stack == 0, used
        assert used.shared <= limits.shared_bytes
    # Rows of known length, so what is not one value a column is 16 bytes an access. Few rows
    # are few results for each thread.
    assert name == "matmul_long" or main.wide_stores == main.stores > 0, main
    assert main.wide_loads >= main.async_copies + main.bulk_copies, main
    if name not in PRODUCTS:
        assert main.wide_loads == main.loads > 0, main


def test_opcodes():
    text = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;
        /*0020*/             @UP1  LDGSTS.E.BYPASS.128 [R5], [R2] ;
                                   /* 0x000fe200078e00ff */
    """
    assert opcodes(text) == {"LDC": 1, "LDG.E.128": 1, "LDGSTS.E.BYPASS.128": 1}
