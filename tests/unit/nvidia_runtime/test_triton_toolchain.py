"""Triton source to machine code without a device; the cache; errors."""

import pytest
from triton_kernels import ADD_SOURCE, MATMUL_SOURCE, add_kernel, matmul_kernel

from infini_ir.runtime.launch_plan import Launch, Pointer
from infini_ir.targets.nvidia import toolchain
from infini_ir.targets.nvidia.emitted import Argument, EmittedKernel
from infini_ir.targets.nvidia.launch_plan import VariantChoice, is_multiple, variants_of
from infini_ir.targets.nvidia.resources import kernel_resources
from infini_ir.targets.nvidia.toolchain import CompiledKernel, Job, compile_jobs
from infini_ir.utils.errors import CompileError
from infini_ir.utils.object_cache import ObjectCache
from infini_ir.utils.symbolic import Dim


def test_compile_and_cache(tmp_path, monkeypatch):
    store = ObjectCache(tmp_path)
    jobs = [Job(add_kernel(), 80, (0, 1)), Job(add_kernel(), 80, (0, 1, 2))]
    first = compile_jobs(jobs, store, workers=1)
    assert [kernel.function for kernel in first] == ["add", "add"]
    assert first[0].threads == 128 and first[0].cubin[:4] == b"\x7fELF"
    assert ".target sm_80" in first[0].ptx
    # Only where the size is known to be a multiple are all accesses wide.
    some, wide = (kernel_resources(kernel) for kernel in first)
    assert wide.wide_loads == wide.loads > 0 and some.wide_loads < some.loads
    # No compiler is started for what is in the cache.
    monkeypatch.setattr(toolchain, "_compile_all", None)
    assert compile_jobs(jobs, store) == first
    assert CompiledKernel.from_bytes(first[0].to_bytes()) == first[0]


def test_keys():
    job = Job(add_kernel(), 80, (0,))
    others = [
        Job(add_kernel(), 90, (0,)),
        Job(add_kernel(), 80, ()),
        Job(matmul_kernel(), 80, (0,)),
    ]
    assert len({job.key(), *(other.key() for other in others)}) == 4
    assert job.key() == Job(add_kernel(), 80, (0,)).key()


def test_errors_name_the_kernel_and_keep_its_source(tmp_path, monkeypatch):
    monkeypatch.setenv("INFINI_CACHE_DIR", str(tmp_path))
    bad = EmittedKernel("bad", ADD_SOURCE.replace("add", "bad").replace("x +", "nothing +"),
                        add_kernel().arguments, add_kernel().grid, 4, 1)  # fmt: skip
    with pytest.raises(CompileError) as caught:
        compile_jobs([Job(bad, 80, ())], None, workers=1)
    message = str(caught.value)
    assert "kernel 'bad' does not compile for sm_80" in message and "\n" not in message
    assert "nothing is not defined" in message
    kept = tmp_path / "failed" / "bad.py"
    assert str(kept) in message and kept.read_text() == bad.source


def test_a_compiler_that_dies():
    source = "import os\nos._exit(3)\n"
    with pytest.raises(CompileError, match="the compiler stopped: exit status 3"):
        compile_jobs([Job(EmittedKernel("dies", source, (), (Dim.of(1),), 4, 1), 80, ())])


def test_without_triton(monkeypatch):
    toolchain.triton_version.cache_clear()
    monkeypatch.setattr(toolchain.util, "find_spec", lambda name: None)
    with pytest.raises(CompileError, match=r"pip install 'infini-ir\[nvidia\]'"):
        toolchain.triton_version()
    toolchain.triton_version.cache_clear()


@pytest.mark.parametrize("capability", [80, 89, 90, 100])
def test_a_product_on_each_architecture(capability):
    (kernel,) = compile_jobs([Job(matmul_kernel(), capability, (0, 1, 2))], ObjectCache())
    used = kernel_resources(kernel)
    assert used.tensor > 0 and used.spills == 0 and used.stack == 0
    assert used.async_copies > 0 and used.wide_loads == used.loads
    assert used.wide_stores == used.stores > 0
    assert used.shared >= kernel.shared > 0 and used.registers > 32
    name = toolchain.architecture_of(capability)
    assert f".target {name}" in kernel.ptx
    assert "matmul" in MATMUL_SOURCE


# Variants


def test_multiples():
    assert is_multiple(Dim.parse("64*M + 16")) and not is_multiple(Dim.parse("8*M"))
    assert is_multiple(Dim.parse("3*M*N"), frozenset({"N"}))
    assert not is_multiple(Dim.parse("3*M + N"), frozenset({"N"}))
    assert is_multiple(Dim.parse("64*floordiv(M + 1, 3)"))


def kernel_of(*arguments: Argument) -> EmittedKernel:
    return EmittedKernel("k", "", arguments, (Dim.of(1),), 4, 1)


def launch(*offsets: str) -> Launch:
    return Launch(0, tuple(Pointer("arena", 0, Dim.parse(offset)) for offset in offsets))


X = Argument("x", "*fp32", 0, divisible=True)
N = Argument("n", "i32", symbol="N", divisible=True)


def test_variants():
    assert variants_of(kernel_of(X), [launch("64")]) == [VariantChoice((0,), ())]
    assert variants_of(kernel_of(X), [launch("4")]) == [VariantChoice((), ())]
    both = [VariantChoice((0, 1), (1,)), VariantChoice((0,), ())]
    assert variants_of(kernel_of(X, N), [launch("64*M")]) == both
    # Aligned where N is a multiple, and looked at in each launch.
    checked = [VariantChoice((0, 1), (0, 1)), VariantChoice((), ())]
    assert variants_of(kernel_of(X, N), [launch("4*N")]) == checked
    # Aligned in one launch of two.
    assert variants_of(kernel_of(X), [launch("0"), launch("4")]) == [
        VariantChoice((0,), (0,)),
        VariantChoice((), ()),
    ]
    # Not worth it: one variant without facts.
    plain = Argument("n", "i32", symbol="N")
    assert variants_of(kernel_of(plain), [launch()]) == [VariantChoice((), ())]
