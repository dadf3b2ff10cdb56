"""What measures a model: an engine prepares a job, and gives a call to time.

Each engine is in a file of its own, imported when it is used. One that cannot run a
job raises; what it raises is its reason, which reports show beside the others' numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any, Protocol

import numpy as np

from infini_ir.utils.errors import OptionError

OURS = "infini"
ENGINES = {
    OURS: "infini_ir.tools.engines.infini:compiling",
    "onnxruntime": "infini_ir.tools.engines.onnxruntime:OnnxRuntime",
    "openvino": "infini_ir.tools.engines.openvino:OpenVino",
    "torch": "infini_ir.tools.engines.torch:TorchCompile",
    "iree": "infini_ir.tools.engines.iree:Iree",
}
"""Where the class of each engine is, or a function that makes it."""


@dataclass(frozen=True)
class Job:
    """A model to run, and how."""

    model: str
    """Path of an ONNX file; for our own engine it may be a compiled model."""
    arrays: Mapping[str, np.ndarray]
    """Inputs by name."""
    outputs: tuple[str, ...]
    """Names of the outputs, in the model's order."""
    threads: int
    precision: str = "f32"
    network: str | None = None
    """The network of `models.torch_zoo` that the file was exported from."""
    target: str = "cpu"
    """For our own engine, as are the following."""
    library: bool = False
    cache: bool = True


@dataclass(frozen=True)
class Prepared:
    """A job ready to run."""

    call: Callable[[], Any]
    """What is timed: one inference, from the inputs to all outputs."""
    read: Callable[[Any], Sequence[np.ndarray]]
    """The outputs of a call as arrays, in the model's order; not timed."""
    precision: str
    """What it computes in, which may not be what was asked for."""


class Engine(Protocol):
    """A runtime that may be installed."""

    name: str
    packages: tuple[str, ...]
    """What `pip install` wants for it; the first has the version."""
    keeps_code: bool
    """Whether it keeps on disk what it compiles: only a fresh process then shows the cost."""

    def load(self) -> None:
        """Import the runtime, which is no part of preparing a model."""
        ...

    def prepare(self, job: Job) -> Prepared:
        """Load and compile. Raises whatever the runtime raises for what it cannot do."""
        ...


def find_engine(name: str) -> Engine:
    """The engine called `name`, which need not be installed. `module:attribute` is found too."""
    place = name if ":" in name else ENGINES.get(name)
    if place is None:
        raise OptionError(f"there is no engine '{name}'; there are: {', '.join(others())}")
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)()


def others() -> list[str]:
    """The engines that are not ours."""
    return [name for name in ENGINES if name != OURS]


def version(engine: Engine) -> str | None:
    """What is installed of it, or None."""
    try:
        versions = [metadata.version(package) for package in engine.packages]
    except metadata.PackageNotFoundError:
        return None
    return versions[0]


def choose_engines(texts: Sequence[str]) -> list[str]:
    """Names from `--against`: each a list with commas; `all` is whatever is installed.

    Raises `OptionError` for a name that is not known or not installed.
    """
    asked = [part.strip() for text in texts for part in text.split(",") if part.strip()]
    chosen: list[str] = []
    for name in asked:
        if name == "all":
            chosen += [other for other in others() if version(find_engine(other))]
            continue
        if name == OURS:
            raise OptionError("--against wants another engine; infini is always measured")
        engine = find_engine(name)
        if version(engine) is None:
            raise OptionError(
                f"--against {name} wants a package that is not installed; install it with: "
                f"pip install {' '.join(engine.packages)}"
            )
        chosen.append(name)
    return list(dict.fromkeys(chosen))


def reason(error: Exception) -> str:
    """What an engine says that it cannot do, in a line."""
    text = " ".join(str(error).split())
    return (text or type(error).__name__)[:300]
