"""Our own compiler and runtime, measured as the others are: compiling, and where that is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from infini_ir.tools.engines.engine import OURS, Job, Prepared

if TYPE_CHECKING:
    from infini_ir.runtime.model import CompiledModel


@dataclass(frozen=True)
class Infini:
    """Infini IR, by one of the ways to a model that can be called."""

    modules: tuple[str, ...]
    """What a process imports that goes this way."""
    model: Callable[[Job], CompiledModel]
    keeps_code: bool = False
    name: str = OURS
    packages: tuple[str, ...] = ("infini-ir",)

    def load(self) -> None:
        """Import what the way needs."""
        for module in self.modules:
            import_module(module)

    def prepare(self, job: Job) -> Prepared:
        """Have the model."""
        return prepared(self.model(job), job)


def compiling() -> Infini:
    """Models are compiled, but for those that are files of compiled ones."""
    modules = ("compiler", "frontends.onnx.importer", "targets.cpu.target")
    return Infini(tuple(f"infini_ir.{module}" for module in modules), _compiled)


def loading() -> Infini:
    """Models are files of compiled ones: the runtime alone."""
    return Infini(("infini_ir.runtime.model",), _loaded)


def compiling_again() -> Infini:
    """Models were compiled and called before: of the compiler comes only what looks for kept
    programs, the rest where there is none."""
    return Infini(("infini_ir.compiler",), _compiled_again, keeps_code=True)


def _compiled(job: Job) -> CompiledModel:
    from infini_ir.compiler import Compilation, Options
    from infini_ir.runtime.model import CompiledModel
    from infini_ir.tools.infini.models import is_artifact

    if is_artifact(job.model):
        return _loaded(job)
    options = Options(
        job.target, job.precision, job.threads, cache=job.cache, library=job.library
    )
    # Without a progress bar, whose library takes some memory: the others have none.
    program = Compilation(options, keep_texts=False).run(job.model)
    return CompiledModel(program, job.threads)


def _loaded(job: Job) -> CompiledModel:
    from infini_ir.runtime.model import load

    return load(job.model, job.threads)


def _compiled_again(job: Job) -> CompiledModel:
    from infini_ir.compiler import Options, ready_program
    from infini_ir.runtime.model import CompiledModel

    options = Options(job.target, job.precision, job.threads, library=job.library)
    program, _ = ready_program(job.model, options)
    return CompiledModel(program, job.threads)


def prepared(model: CompiledModel, job: Job) -> Prepared:
    """A compiled model as a call of the job's arrays."""
    values = [job.arrays[spec.name] for spec in model.inputs]
    single = len(model.outputs) == 1
    return Prepared(
        lambda: model(*values),
        lambda result: [result] if single else list(result),
        job.precision,
    )
