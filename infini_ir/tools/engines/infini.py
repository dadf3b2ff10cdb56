"""Our own compiler and runtime, measured as the others are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infini_ir.tools.engines.engine import OURS, Job, Prepared

if TYPE_CHECKING:
    from infini_ir.runtime.model import CompiledModel


class Infini:
    """Infini IR."""

    name = OURS
    packages = ("infini-ir",)
    keeps_code = False

    def load(self) -> None:
        """Import the compiler."""
        import infini_ir.compiler
        import infini_ir.frontends.onnx.importer
        import infini_ir.targets.cpu.target  # noqa: F401

    def prepare(self, job: Job) -> Prepared:
        """Compile the model, or load one that is compiled."""
        from infini_ir.compiler import Compilation, Options
        from infini_ir.runtime.model import CompiledModel, load
        from infini_ir.tools.infini.models import is_artifact

        if is_artifact(job.model):
            return prepared(load(job.model, job.threads), job)
        options = Options(
            job.target, job.precision, job.threads, cache=job.cache, library=job.library
        )
        # Without a progress bar, whose library takes some memory: the others have none.
        program = Compilation(options, keep_texts=False).run(job.model)
        return prepared(CompiledModel(program, job.threads), job)


class InfiniArtifact:
    """Infini IR where models are compiled already: the runtime alone."""

    name = OURS
    packages = ("infini-ir",)
    keeps_code = False

    def load(self) -> None:
        """Import the runtime."""
        import infini_ir.runtime.model  # noqa: F401

    def prepare(self, job: Job) -> Prepared:
        """Load the model."""
        from infini_ir.runtime.model import load

        return prepared(load(job.model, job.threads), job)


class InfiniAgain:
    """Infini IR where a model is compiled that was compiled and called before."""

    name = OURS
    packages = ("infini-ir",)
    keeps_code = True

    def load(self) -> None:
        """Import what looks for kept programs; the rest of the compiler only where none is."""
        import infini_ir.compiler  # noqa: F401

    def prepare(self, job: Job) -> Prepared:
        """Compile the model, with what was kept."""
        from infini_ir.compiler import Options, ready_program
        from infini_ir.runtime.model import CompiledModel

        options = Options(job.target, job.precision, job.threads, library=job.library)
        program, _ = ready_program(job.model, options)
        return prepared(CompiledModel(program, job.threads), job)


def prepared(model: CompiledModel, job: Job) -> Prepared:
    """A compiled model as a call of the job's arrays."""
    values = [job.arrays[spec.name] for spec in model.inputs]
    single = len(model.outputs) == 1
    return Prepared(
        lambda: model(*values),
        lambda result: [result] if single else list(result),
        job.precision,
    )
