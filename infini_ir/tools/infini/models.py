"""Models given on the command line: an ONNX file to compile, or a compiled one to load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from infini_ir.runtime.artifact import MAGIC
from infini_ir.utils.errors import ModelError

if TYPE_CHECKING:
    from infini_ir.compiler import Options
    from infini_ir.runtime.model import CompiledModel


def is_artifact(path: str) -> bool:
    """Whether a file is a compiled model, by its name or its first bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(MAGIC))
    except OSError as error:
        raise ModelError(f"cannot read model '{path}': {error.strerror}") from error
    return head == MAGIC or Path(path).suffix == ".infini"


def open_model(path: str, options: Options, title: str) -> CompiledModel:
    """The model ready to call; an ONNX model is compiled, with a progress bar."""
    if is_artifact(path):
        from infini_ir.runtime.model import load

        return load(path, options.threads)
    from infini_ir.compiler import ready_program
    from infini_ir.runtime.model import CompiledModel
    from infini_ir.tools.infini.progress import progress

    with progress(title) as tell:
        program, _ = ready_program(path, options, tell, keep_texts=False)
    return CompiledModel(program, options.threads)
