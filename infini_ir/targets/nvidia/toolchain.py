"""From Triton source to PTX and machine code, on a machine that needs no device.

Each kernel is compiled once for sizes that are multiples of 16, which makes its loads and
stores wide, and once for all others; the launcher chooses. Results are kept on disk by all
that decides them.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata, util
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from infini_ir.runtime.host import cpu_count_available
from infini_ir.runtime.package import pack, unpack
from infini_ir.targets.nvidia.emitted import EmittedKernel
from infini_ir.utils.entry_folder import cache_folder
from infini_ir.utils.errors import ArtifactError, CompileError
from infini_ir.utils.object_cache import ObjectCache

_FORMAT = "nvidia kernel 2"
"""Part of every key; changes with what an entry holds."""
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


@dataclass(frozen=True)
class Job:
    """One kernel to compile with one set of facts."""

    kernel: EmittedKernel
    capability: int
    """Compute capability, such as 90."""
    divisible: tuple[int, ...]
    """Arguments that are multiples of 16."""

    def to_json(self) -> dict[str, Any]:
        kernel = self.kernel
        options = {
            **kernel.options,
            "num_warps": kernel.num_warps,
            "num_stages": kernel.num_stages,
        }
        return {
            "name": kernel.name,
            "source": kernel.source,
            "signature": kernel.signature,
            "divisible": list(self.divisible),
            "capability": self.capability,
            "options": options,
        }

    def key(self) -> str:
        """The name of the result in the cache."""
        job = json.dumps(self.to_json(), sort_keys=True)
        return ObjectCache.key(_FORMAT, triton_version(), job)


@dataclass(frozen=True)
class CompiledKernel:
    """Machine code of a kernel, and what a launch must know of it."""

    name: str
    function: str
    threads: int
    shared: int
    """Bytes of dynamic shared memory."""
    scratch: int
    """Bytes of global memory that each program wants."""
    divisible: tuple[int, ...]
    """Arguments that it takes to be multiples of 16."""
    stack: int
    """Bytes of each thread's stack: more than 0 where registers were spilled."""
    ptx: str = field(repr=False)
    cubin: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        facts = {
            "name": self.name,
            "function": self.function,
            "threads": self.threads,
            "shared": self.shared,
            "scratch": self.scratch,
            "divisible": self.divisible,
            "stack": self.stack,
        }
        ptx, text = self.ptx.encode(), json.dumps(facts).encode()
        return pack({"facts.json": text, "kernel.ptx": ptx, "kernel.cubin": self.cubin})

    @staticmethod
    def from_bytes(data: bytes) -> CompiledKernel:
        files = unpack(data)
        facts = json.loads(files["facts.json"])
        facts["divisible"] = tuple(facts["divisible"])
        return CompiledKernel(
            **facts, ptx=files["kernel.ptx"].decode(), cubin=files["kernel.cubin"]
        )


@dataclass(frozen=True)
class Usage:
    """What machine code says of itself."""

    registers: int
    stack: int
    shared: int
    """Bytes of static shared memory."""


def usage_of(cubin: bytes, name: str) -> Usage:
    """What a kernel's machine code uses."""
    found = _USAGE.search(dump(cubin, name, "-res-usage"))
    if found is None:
        raise CompileError(f"cuobjdump does not say what kernel '{name}' uses")
    registers, stack, shared, local = map(int, found.groups())
    return Usage(registers, stack + local, shared)


def dump(cubin: bytes, name: str, option: str) -> str:
    """What the tool that comes with Triton says of machine code, such as `-sass`."""
    with tempfile.TemporaryDirectory(prefix="infini-cubin-") as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [str(tool("cuobjdump")), option, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(
            f"cuobjdump {option} cannot read kernel '{name}': {done.stderr.strip()}"
        )
    return done.stdout


Toolchain = Callable[[Sequence[Job]], "list[CompiledKernel]"]
"""Compiles jobs, in order."""


def architecture_of(capability: int) -> str:
    """The architecture that the machine code is for: from 90 on one with instructions of
    its own, which no other device runs."""
    return f"sm_{capability}a" if capability >= 90 else f"sm_{capability}"


@cache
def triton_version() -> str:
    """The version of Triton here. Raises `CompileError` where it is not installed."""
    if util.find_spec("triton") is None:
        raise CompileError(
            "compiling for NVIDIA needs Triton, which is not installed here: "
            "pip install 'infini-ir[nvidia]'"
        )
    return metadata.version("triton")


def tool(name: str) -> Path:
    """A tool that comes with Triton, such as `cuobjdump`."""
    triton_version()
    spec = util.find_spec("triton")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "backends" / "nvidia" / "bin" / name
    if not path.exists():
        raise CompileError(
            f"Triton's installation has no {name} ({path}); install it again: "
            "pip install --force-reinstall triton"
        )
    return path


def compile_jobs(
    jobs: Sequence[Job], store: ObjectCache | None = None, workers: int | None = None
) -> list[CompiledKernel]:
    """Compile jobs, in order; those that `store` has are not compiled again.

    `CompileError` for the first that fails names the kernel and the file with its source.
    """
    keys = [job.key() for job in jobs]
    found = {key: kernel for key in keys if (kernel := _stored(store, key)) is not None}
    missing = {key: job for key, job in zip(keys, jobs, strict=True) if key not in found}
    if missing:
        count = min(workers or cpu_count_available(), len(missing))
        for key, kernel in _compile_all(missing.items(), count):
            found[key] = kernel
            if store is not None:
                store.store(key, kernel.to_bytes())
    return [found[key] for key in keys]


def _stored(store: ObjectCache | None, key: str) -> CompiledKernel | None:
    data = store.load(key) if store is not None else None
    if data is None:
        return None
    try:
        return CompiledKernel.from_bytes(data)
    except (ArtifactError, KeyError, TypeError, ValueError):
        return None


def _compile_all(
    jobs: Iterable[tuple[str, Job]], count: int
) -> list[tuple[str, CompiledKernel]]:
    """Compile with so many processes, each taking the next job when it is done with one."""
    idle: SimpleQueue[_Worker] = SimpleQueue()
    workers = [_Worker() for _ in range(count)]
    for worker in workers:
        idle.put(worker)

    def run(item: tuple[str, Job]) -> tuple[str, CompiledKernel]:
        key, job = item
        worker = idle.get()
        try:
            return key, worker.compile(job)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(count, "infini-triton")
    try:
        return list(pool.map(run, jobs))
    finally:
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()


class _Worker:
    """A process of `compile_worker`."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        command = [sys.executable, "-m", "infini_ir.targets.nvidia.compile_worker"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )

    def compile(self, job: Job) -> CompiledKernel:
        """Have one job done. Raises `CompileError` where it fails."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(json.dumps(job.to_json()) + "\n")
            stdin.flush()
            line = stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise _failure(job, f"the compiler stopped: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise _failure(job, answer["error"])
        cubin = base64.b64decode(answer["cubin"])
        return CompiledKernel(
            job.kernel.name,
            answer["function"],
            answer["threads"],
            answer["shared"],
            answer["scratch"],
            job.divisible,
            usage_of(cubin, job.kernel.name).stack,
            answer["ptx"],
            cubin,
        )

    def _last_words(self) -> str:
        """The end of what the process wrote before it ended."""
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
        self._log.close()


def _failure(job: Job, reason: str) -> CompileError:
    """An error that names the kernel and says where its source is."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    short = " / ".join(lines[:1] + lines[-1:] if len(lines) > 1 else lines) or "no reason given"
    folder = cache_folder() / "failed"
    path = folder / f"{job.kernel.name}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(job.kernel.source, encoding="utf-8")
        kept = f"its source is kept in {path}"
    except OSError as error:
        kept = f"its source could not be kept ({error})"
    return CompileError(
        f"kernel '{job.kernel.name}' does not compile for sm_{job.capability}: {short}; {kept}"
    )
