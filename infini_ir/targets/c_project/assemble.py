"""From a legalised module and a target's texts to a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Toolchain:
    """What a project says of the vendor's tools: in its CMakeLists.txt and its README.md."""

    title: str
    """What the README calls the device: `Ascend 910B (Ascend C)`."""
    requirements: str
    """Markdown: what must be installed, of which versions."""
    setup: str
    """CMake text after `project(...)`: finds the tools. It may read `KERNEL_SOURCES`."""
    library: str
    """CMake text that makes the library `model` from `HOST_SOURCES` and `KERNEL_SOURCES`,
    and links it with the vendor's libraries."""
    languages: str = "CXX"
    """Of the CMake project."""
    build: str = "cmake -B build && cmake --build build -j"
    """Commands that build, for the README."""
    notes: str = ""
    """Markdown after the usual text: limits, environment variables, how to profile."""
    minimum_cmake: str = "3.18"
    files: Mapping[str, str] = field(default_factory=dict)
    """What the target's own files are, for the README: description by path."""
    kernels: Sequence[str] = ()
    """Paths of the sources that the vendor's compiler translates; the other files that the
    target gives are headers. Empty: all of them."""
