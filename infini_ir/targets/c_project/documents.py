"""The documents of a project: how it is built, and what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from infini_ir.targets.c_project.project import ProjectMetadata

HOST_SOURCES = ("model.cpp", "runtime.cpp", "device.cpp")


@dataclass(frozen=True)
class Toolchain:
    """What a project says of the vendor's tools: in its CMakeLists.txt and its README.md."""

    title: str
    """What the README calls the device: `Ascend 910B (Ascend C)`."""
    requirements: str
    """Markdown: what must be installed, of which versions."""
    setup: str
    """CMake text after `project(...)`: finds the tools."""
    library: str
    """CMake text that makes the library `model` from `${HOST_SOURCES}` and
    `${KERNEL_SOURCES}`, and links it with the vendor's libraries."""
    languages: str = "CXX"
    """Of the CMake project."""
    build: str = "cmake -B build && cmake --build build -j"
    """Commands that build, for the README."""
    notes: str = ""
    """Markdown after the usual text: limits, environment variables, how to profile."""
    minimum_cmake: str = "3.18"
    files: Mapping[str, str] = field(default_factory=dict)
    """What the target's own files are, for the README: description by path."""
    kernel_sources: Sequence[str] = ()
    """Paths that the vendor's compiler translates; the target's other files are headers.
    Empty: all of its files whose names do not end in `.h` or `.hpp`."""

    def sources_of(self, kernels: Mapping[str, str]) -> tuple[str, ...]:
        """Which of the target's files the vendor's compiler translates."""
        if self.kernel_sources:
            return tuple(self.kernel_sources)
        return tuple(path for path in kernels if not path.endswith((".h", ".hpp")))


def cmake_lists(toolchain: Toolchain, kernels: Mapping[str, str]) -> str:
    """`CMakeLists.txt`: the library `model` and the program `run_model`."""
    return _CMAKE.format(
        minimum=toolchain.minimum_cmake,
        languages=toolchain.languages,
        host=" ".join(HOST_SOURCES),
        kernels=" ".join(toolchain.sources_of(kernels)),
        setup=toolchain.setup.strip(),
        library=toolchain.library.strip(),
    )


_CMAKE = """\
cmake_minimum_required(VERSION {minimum})
project(model LANGUAGES {languages})

if(NOT EXISTS ${{CMAKE_CURRENT_SOURCE_DIR}}/project.json)
  message(FATAL_ERROR "This project is not whole: write it again")
endif()
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(HOST_SOURCES {host})
set(KERNEL_SOURCES {kernels})

{setup}

# The model as a library, with the C interface of infini.h.
{library}
target_include_directories(model PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}})

# A program that runs it on .npy files.
add_executable(run_model main.cpp npy.cpp)
target_link_libraries(run_model PRIVATE model)
target_compile_definitions(run_model PRIVATE
  INFINI_WEIGHTS="${{CMAKE_CURRENT_SOURCE_DIR}}/weights.bin")
"""

_FILES = {
    "CMakeLists.txt": "how it is built",
    "model.cpp": "the host program of this model: sizes, memory, one line a kernel launch",
    "kernels.h": "the launch functions of the kernels",
    "infini.h": "the C interface of the library",
    "runtime.h, runtime.cpp": "memory, checks of sizes and errors: the same in every project",
    "device.h, device.cpp": "the vendor's runtime behind a dozen functions",
    "sizes.h": "division of sizes rounding down",
    "main.cpp, npy.h, npy.cpp": "the program `run_model`",
    "weights.bin": "the parameters: a header, then every weight at its aligned place",
    "project.json": "inputs, outputs, weights and what the compiler reports",
    "ir/": "the model at the levels that it came through",
}


def readme(metadata: ProjectMetadata, toolchain: Toolchain, kernels: Mapping[str, str]) -> str:
    """`README.md`: what the project is, how to build and to run it, what each file is."""
    described = {path: toolchain.files.get(path, "kernels") for path in kernels}
    files = "\n".join(
        f"| {path} | {text} |"
        for path, text in {**described, **_FILES}.items()
        if path != "weights.bin" or metadata.weights
    )
    first = metadata.inputs[0].name if metadata.inputs else ""
    given = f" --input '{first}={_safe(first)}.npy'" if first else ""
    notes = f"\n## Notes\n\n{toolchain.notes.strip()}\n" if toolchain.notes else ""
    return _README.format(
        title=toolchain.title,
        producer=metadata.producer,
        target=metadata.target,
        architecture=metadata.architecture,
        inputs=_table(metadata.inputs),
        outputs=_table(metadata.outputs),
        requirements=toolchain.requirements.strip(),
        build=toolchain.build.strip(),
        given=given,
        files=files,
        notes=notes,
    )


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def _table(specs: Sequence[object]) -> str:
    return "\n".join(f"    {spec}" for spec in specs) or "    none"


_README = """\
# A model for {title}

Written by {producer} for target `{target}`, architecture `{architecture}`.

Inputs:

{inputs}

Outputs:

{outputs}

## Building

{requirements}

```sh
{build}
```

This makes the library `model` and the program `run_model`.

## Running

```sh
build/run_model --list
build/run_model{given} --output-dir outputs
build/run_model --repeat 100
```

Inputs that are not given are random, of the same numbers for the same `--seed`; `--size M=128`
gives a symbolic size. Types that numpy does not have (bf16, 8-bit floats) are read and written
as plain bytes: `np.load(path).view(ml_dtypes.bfloat16)`.

A program of your own includes `infini.h` and links the library:

```c
char error[1024];
infini_model* model = infini_model_create("weights.bin", 0, error, sizeof error);
if (infini_model_run(model, inputs, outputs) != INFINI_OK) puts(infini_model_error(model));
infini_model_destroy(model);
```

`INFINI_SYNCHRONIZE=1` waits after every kernel, so that an error names the kernel.

## Files

| file | what it is |
|---|---|
{files}
{notes}"""
