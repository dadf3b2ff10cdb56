"""Machine code of one module's LLVM IR, through llvmlite: the only file that loads LLVM.

Kernels arrive already tiled and vectorised, so a few scalar passes do: the whole O3 pipeline
costs ten times as long and gives the same inner loops.

Loop strength reduction takes most of the time of code generation in kernels of many addresses.
On x86-64 it is left out: addresses come with their constants taken out (`writer.Sum`), which
the instructions' operands hold, and kernels are as fast.

llvmlite takes one global lock around every call into LLVM. LLVM itself is safe as long as
threads share no context, so the two slow calls, passes and code generation, go past the lock;
each module here has its own context and target machine.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from infini_ir.runtime.host import host_arch
from infini_ir.targets.cpu.features import CpuFeatures
from infini_ir.targets.cpu.llvm.library_pages import release_heap, release_library

_machines = threading.local()


def generate(
    text: str, features: CpuFeatures, *, as_object: bool, light: bool = False
) -> bytes:
    """A module's object, or its assembly's text; `light`: in less time, for code that runs
    once a call. (LLVM's scheduling and allocation of a long host program took a sixth of all
    code generation.)"""
    machine = _machine(features, 1 if light else 3)
    with options(features):
        return _generate_by(machine, text, features, as_object)


def release_memory() -> None:
    """Give back the memory of LLVM's own code, until it is used again, and what LLVM took
    from the heap and has freed."""
    function: Any = ffi.lib.LLVMPY_GetBufferSize
    address = ctypes.cast(getattr(function, "_cfn", function), ctypes.c_void_p).value
    release_library(address or 0)
    release_heap()


@cache
def _initialize(arch: str) -> None:
    """Set up the targets: this machine's alone where that does, which takes 12 MB less."""
    if arch == host_arch():
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    release_memory()  # what ran only to load the library, too


@dataclass(frozen=True)
class _Machine:
    """One thread's target machine, and the passes for it."""

    target: llvm.TargetMachine
    builder: llvm.PassBuilder
    passes: llvm.ModulePassManager


def _machine(features: CpuFeatures, level: int) -> _Machine:
    """This thread's machine for `features`: making one costs as much as compiling a small kernel."""
    made = _machines.__dict__.setdefault("made", {})
    key = (features.triple, features.cpu, features.feature_string, level)
    if key not in made:
        made[key] = _new_machine(features, level)
    return made[key]


def _new_machine(features: CpuFeatures, level: int) -> _Machine:
    _initialize(features.arch)
    target = llvm.Target.from_triple(features.triple).create_target_machine(
        cpu=features.cpu,
        features=features.feature_string,
        opt=level,
        reloc="pic",
        codemodel="small",
    )
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(3))
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_loop_rotate_pass()
    return _Machine(target, builder, passes)


class _Switch:
    """An option of LLVM's, set while at least one thread wants it: other users of llvmlite in
    the process generate code as they are used to."""

    def __init__(self, option: str):
        self.option = option
        self._lock = threading.Lock()
        self._users = 0

    @contextmanager
    def on(self) -> Iterator[None]:
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, step: int) -> None:
        with self._lock:
            before, self._users = self._users, self._users + step
            if not before or not self._users:
                value = "true" if self._users else "false"
                llvm.set_option("infini", f"{self.option}={value}")


_no_strength_reduction = _Switch("-disable-lsr")


def options(features: CpuFeatures) -> AbstractContextManager[None]:
    """LLVM's options as code for `features` wants them."""
    return _no_strength_reduction.on() if features.arch == "x86-64" else nullcontext()


def _generate_by(machine: _Machine, text: str, features: CpuFeatures, as_object: bool) -> bytes:
    context = llvm.create_context()
    try:
        module = _parse(text, context)
        try:
            module.triple = features.triple
            module.data_layout = str(machine.target.target_data)
            _unlocked("LLVMPY_RunNewModulePassManager", machine.passes, module, machine.builder)
            return _emit(machine.target, module, as_object)
        finally:
            module.close()
    finally:
        context.close()


def _parse(text: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    try:
        module = llvm.parse_assembly(text, context)
        module.verify()
    except RuntimeError as error:
        raise RuntimeError(
            f"internal error: generated LLVM IR is not valid: {error}"
        ) from error
    return module


def _emit(target: llvm.TargetMachine, module: llvm.ModuleRef, as_object: bool) -> bytes:
    """What `TargetMachine.emit_object` and `emit_assembly` do, past the lock."""
    with ffi.OutputString() as error:
        buffer = _unlocked(
            "LLVMPY_TargetMachineEmitToMemory", target, module, int(as_object), error
        )
        if not buffer:
            raise RuntimeError(f"internal error: LLVM cannot generate code: {error}")
    try:
        return ctypes.string_at(
            ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer)
        )
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def _unlocked(name: str, *arguments: object) -> object:
    """Call a function of llvmlite's library without llvmlite's lock."""
    wrapper = getattr(ffi.lib, name)
    return getattr(wrapper, "_cfn", wrapper)(*arguments)
