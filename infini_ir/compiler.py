"""Compiling: a model in, something to run or to build on a device out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from infini_ir.runtime.model import CompiledModel
from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from infini_ir.dialects.context import CompilerContext
    from infini_ir.frontends.onnx.specialize import Specializer, SpecializingModel
    from infini_ir.runtime.program import Program
    from infini_ir.targets.c_project.project import Project
    from infini_ir.targets.target import Target
    from infini_ir.warm import Keeper

PRECISIONS = ("f32", "bf16")

Source = "str | os.PathLike[str] | bytes | onnx.ModelProto"
Observer = Callable[["ModulePass | None", "ModuleOp", "ModulePass | None"], None]
Progress = Callable[[str, int, int], None]
"""Called with (stage, stages done, stages in all) as a compilation goes on."""


@dataclass(frozen=True)
class Options:
    """How to compile."""

    target: str = "cpu"
    """The device, and after a colon the machine: `cpu`, `cpu:x86-64-v3`."""
    precision: str = "f32"
    """`f32`, or `bf16`: values between kernels and factors of products are bf16, sums and
    all else f32; inputs and outputs keep their types."""
    threads: int | None = None
    inputs: Mapping[str, Any] | None = None
    """Shapes (sequences of ints and names) or fixed values (arrays) of inputs, by name."""
    check_semantics: bool = False
    """Interpret the module before and after each graph pass and compare."""
    cache: bool = True
    """Keep machine code and whole programs on disk and use them again."""
    library: bool = False
    """Let the vendor's library do the products that it can, where the target offers it."""
    tune: Mapping[str, int] | None = None
    """Measure plans of kernels on this machine, or its device, for these sizes of symbols,
    where the target offers it; an empty mapping takes usual sizes."""

    def __post_init__(self) -> None:
        from infini_ir.targets.registry import check

        if self.precision not in PRECISIONS:
            raise OptionError(
                f"unknown precision '{self.precision}'; there are: {', '.join(PRECISIONS)}"
            )
        check(
            self.target,
            library=self.library,
            tune=self.tune is not None,
            precision=self.precision,
        )

    def make_target(self) -> Target:
        """The target, ready to compile for. Raises `OptionError` for one that is not known."""
        from infini_ir.targets.registry import make

        return make(
            self.target,
            cache=self.cache,
            library=self.library,
            tune=self.tune,
            threads=self.threads,
        )


@dataclass
class Compilation:
    """One compilation: the stages, what each took, and the texts asked for."""

    options: Options
    progress: Progress | None = None
    keep_texts: bool = True
    observers: Sequence[Observer] = ()
    """Called between passes: with the one that ended, the module, and the one that follows."""
    ctx: CompilerContext = field(init=False)
    report: dict[str, Any] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    """What each output of the model consists of (`onnx.importer.OUTPUTS`)."""

    def __post_init__(self) -> None:
        from infini_ir.dialects.context import compiler_context

        self.ctx = compiler_context()

    @cached_property
    def target(self) -> Target:
        """What is compiled for."""
        return self.options.make_target()

    def run(self, source: Any) -> Program:
        """Import, optimise, lower and generate code. Raises `OptionError` for a target that
        gives sources to build, not a program."""
        from infini_ir.runtime.program import Program

        built = self.build(source)
        if not isinstance(built, Program):
            raise OptionError(
                f"target '{self.options.target}' gives a project to build with the vendor's "
                "tools, which cannot be run here; write it with `infini compile -o FOLDER`"
            )
        return built

    def build_project(self, source: Any) -> Project:
        """The same for a target that gives sources to build, not a program."""
        from infini_ir.runtime.program import Program

        built = self.build(source)
        assert not isinstance(built, Program), "the table of targets says what each gives"
        return built

    def build(self, source: Any) -> Program | Project:
        """Import, optimise, lower and generate code: a program, or a project of sources."""
        from infini_ir.utils.collector import rarely_collecting

        with rarely_collecting():
            return self._build(source)

    def _build(self, source: Any) -> Program | Project:
        from infini_ir.targets.texts import LazyTexts, module_text

        started = time.perf_counter()
        self._tell("import", 0)
        module = self.import_model(source)
        self._tell("graph passes", 1)
        self.graph_passes(module)
        graph_module = module.clone() if self.keep_texts else None
        self._tell("lowering", 2)
        self.lower(module)
        self._tell("code generation", 3)
        made = {"tile": lambda: module_text(module)}
        if graph_module is not None:
            made["graph"] = lambda: module_text(graph_module)
        built = self.target.build(
            module, self.ctx, report=self.report, texts=LazyTexts({}, made)
        )
        self.report["seconds"] = time.perf_counter() - started
        built.metadata.report.update(self.report)
        self._tell("done", 4)
        return built

    def import_model(self, source: Any) -> ModuleOp:
        """The model as a graph module. A source with a method `module` makes it itself."""
        from infini_ir.frontends.onnx.importer import import_model, output_descriptions

        begin = time.perf_counter()
        if hasattr(source, "module"):
            return source.module(self.ctx)
        module = import_model(source, self.ctx, inputs=dict(self.options.inputs or {}) or None)
        self.outputs = output_descriptions(module)
        self.report["import_seconds"] = time.perf_counter() - begin
        return module

    def graph_passes(self, module: ModuleOp) -> None:
        """Run the graph pipeline."""
        from infini_ir.passes.graph.pipeline import graph_pipeline

        passes = graph_pipeline(
            self.target.composites,
            quantized_weights=self.target.quantized_weights,
            precision=self.options.precision,
            integer_products=self.target.integer_products,
            winograd=self.target.winograd,
        )
        self._run(passes, module, "passes", self.options.check_semantics)

    def lower(self, module: ModuleOp, *, before: str | None = None) -> None:
        """Graph to tile, then the target's passes, or those before the one of that name."""
        from infini_ir.lowering.graph_to_tile import GraphToTilePass

        passes = [GraphToTilePass(), *self.target.passes()]
        names = [p.name for p in passes]
        self._run(
            passes[: None if before is None else names.index(before)], module, "tile_passes"
        )

    def _run(
        self, passes: Sequence[ModulePass], module: ModuleOp, key: str, check: bool = False
    ) -> None:
        """Run passes, recording for each the time and the number of operations after it."""
        from infini_ir.passes.check_semantics import SemanticsChecker

        observers = [*self.observers, *([SemanticsChecker(self.ctx)] if check else [])]
        rows = self.report.setdefault(key, [])
        previous: ModulePass | None = None
        before = _count(module)
        for current in passes:
            for observer in observers:
                observer(previous, module, current)
            begin = time.perf_counter()
            current.apply(self.ctx, module)
            after = _count(module)
            rows.append(
                {
                    "pass": current.name,
                    "seconds": time.perf_counter() - begin,
                    "before": before,
                    "after": after,
                }
            )
            before, previous = after, current
        for observer in observers:
            observer(previous, module, None)

    def _tell(self, stage: str, done: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, 4)


def _count(module: ModuleOp) -> int:
    from infini_ir.utils.rewriting import operations_inside

    return 1 + len(operations_inside(module))


@overload
def compile(
    source: Any,
    *,
    target: Literal["cpu"] = "cpu",
    precision: str = "f32",
    threads: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    check_semantics: bool = False,
    cache: bool = True,
    library: bool = False,
    tune: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> CompiledModel | SpecializingModel: ...


@overload
def compile(
    source: Any,
    *,
    target: str,
    precision: str = "f32",
    threads: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    check_semantics: bool = False,
    cache: bool = True,
    library: bool = False,
    tune: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> CompiledModel | SpecializingModel | Project: ...


def compile(
    source: Any,
    *,
    target: str = "cpu",
    precision: str = "f32",
    threads: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    check_semantics: bool = False,
    cache: bool = True,
    library: bool = False,
    tune: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> CompiledModel | SpecializingModel | Project:
    """Compile an ONNX model: to native code, to a GPU's, or to a project of sources.

    `source`: a path, the bytes of a model, or an `onnx.ModelProto`. `inputs` gives shapes
    (or fixed values) of inputs by name; sizes left symbolic stay so, and one program serves
    all of them. `threads`: how many a call may use (default: the processors available).
    `library`: call the vendor's library for the products that it can do. `tune`: measure
    plans of kernels on this machine or its device, for these sizes of symbols (cpu, nvidia).
    `precision`: `f32`, or `bf16` (cpu) to store values between kernels and multiply in bf16.

    Targets whose code the vendor's tools build (`ascend`, `cambricon`, `cuda-c`, `kunlun`)
    give a `Project`: `project.write(folder)` writes it.

    A model in a file that was compiled and called before, by any process, is loaded as it was
    kept on disk, unless `cache` is false, or `tune` or `check_semantics` are given: see the guide.

    A model that must know values of inputs becomes a `SpecializingModel`, which compiles
    when it is called with values that it has not seen; the source must not change until then.

    Raises `ModelError` for a model that cannot be read or is not supported, `CompileError`
    where the target cannot do it, `OptionError` for unknown options.
    """
    from infini_ir.frontends.onnx.errors import SpecializationNeeded
    from infini_ir.frontends.onnx.specialize import (
        Specializer,
        SpecializingModel,
        with_sizes_built_in,
    )
    from infini_ir.targets.registry import parse

    options = Options(target, precision, threads, inputs, check_semantics, cache, library, tune)

    def specializer() -> Specializer:
        from infini_ir.frontends.onnx.interface import Interface

        build = partial(compile_for, source, options=options, progress=progress)
        return Specializer(Interface.of(source), build, inputs or {})

    if parse(target)[0].gives == "project":
        return Compilation(options, progress).build_project(source)
    try:
        return with_sizes_built_in(_compile_once(source, options, progress)[0], specializer)
    except SpecializationNeeded as needed:
        return SpecializingModel(specializer(), needed)


def compile_for(
    source: Any,
    given: Mapping[str, Any],
    *,
    options: Options | None = None,
    progress: Progress | None = None,
) -> tuple[Callable[[Sequence[Any]], list[np.ndarray]], list[str]]:
    """Compile for given shapes and values of inputs: a function of a list of tensors to a
    list, and what each output of the model consists of (`Compilation.outputs`)."""
    options = replace(options or Options(), inputs=given)
    model, outputs = _compile_once(source, options, progress)

    def run(arrays: Sequence[Any]) -> list[np.ndarray]:
        results = model(*arrays)
        return [results] if len(model.outputs) == 1 else list(results)

    return run, outputs


def ready_program(
    source: Any, options: Options, progress: Progress | None = None, *, keep_texts: bool = True
) -> tuple[Program, list[str]]:
    """The program of a model, compiled or, where it was before, loaded, with what each output
    of the model consists of (`Compilation.outputs`). Raises what `Compilation.run` does."""
    keeper = _keeper(source, options)
    found = keeper.find() if keeper is not None else None
    if keeper is not None and found is not None:
        program, outputs = found
        program.texts = _texts_again(options, keeper)
        if progress is not None:
            progress("done", 4, 4)
        return program, outputs
    compilation = Compilation(options, progress, keep_texts)
    program = compilation.run(source)
    if keeper is not None:
        files = compilation.ctx.weights.files
        program.when_ready = keeper.keeping(compilation.outputs, files)
    return program, compilation.outputs


def _keeper(source: Any, options: Options) -> Keeper | None:
    """None where a compilation does something besides giving a program, or must be anew."""
    if not options.cache or options.check_semantics or options.tune is not None:
        return None
    from infini_ir.warm import Keeper

    return Keeper.of(
        source,
        target=options.target,
        precision=options.precision,
        library=options.library,
        threads=options.threads,
        inputs=options.inputs,
    )


def _texts_again(options: Options, keeper: Keeper) -> Mapping[str, str]:
    from infini_ir.targets.registry import parse
    from infini_ir.warm import TextsAgain

    def compiled() -> Mapping[str, str]:
        return Compilation(options).run(keeper.source).texts

    levels = parse(options.target)[0].levels
    return TextsAgain(("graph", "tile"), levels, compiled, keeper.is_current)


def _compile_once(
    source: Any, options: Options, progress: Progress | None
) -> tuple[CompiledModel, list[str]]:
    program, outputs = ready_program(source, options, progress)
    return CompiledModel(program, threads=options.threads), outputs
