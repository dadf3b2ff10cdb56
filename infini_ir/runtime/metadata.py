"""What the runtime must know of a program besides its code and weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from infini_ir.runtime.host import host_arch, host_flags
from infini_ir.runtime.signature import TensorSpec, input_symbols
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.errors import ArtifactError
from infini_ir.utils.symbolic import Dim

WEIGHT_ALIGNMENT = 64
"""Every weight starts at a multiple of this from the section's base, itself so aligned."""

NATIVE, LAUNCH_PLAN = "native", "launch-plan"
"""Forms of code: a flat image for this machine's processor, or kernels for a device with
the plan of their launches (`infini_ir.runtime.launch_plan`)."""

REQUIRED_ENTRIES = (
    "infini_main",
    "infini_run",
    "infini_worker",
    "infini_stop",
    "infini_release",
    "infini_enter",
    "infini_share",
    "infini_swap",
)


@dataclass(frozen=True)
class Check:
    """A condition the program tests while running, told by its index as the status.

    `message` is a `str.format` text with up to two values, `{0}` and `{1}`.
    """

    message: str
    of_input: bool = True
    """Whether a wrong input caused it (`SizeError`) or the model itself (`ModelError`)."""

    def __post_init__(self) -> None:
        try:
            self.message.format(0, 0)
        except (IndexError, KeyError) as error:
            raise ValueError(f"check '{self.message}' asks for more than two values") from error

    def to_json(self) -> dict[str, Any]:
        return {"message": self.message, "of_input": self.of_input}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Check:
        return Check(str(data["message"]), bool(data["of_input"]))


@dataclass(frozen=True)
class WeightEntry:
    """Where a weight lies in the weight section."""

    name: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        size = item_size(self.dtype)
        for n in self.shape:
            size *= n
        return size

    def to_json(self) -> list[Any]:
        return [self.name, self.offset, self.dtype, list(self.shape)]

    @staticmethod
    def from_json(data: list[Any]) -> WeightEntry:
        name, offset, dtype, shape = data
        return WeightEntry(str(name), int(offset), str(dtype), tuple(map(int, shape)))


def weight_table(
    weights: Iterable[tuple[str, str, tuple[int, ...]]],
) -> tuple[WeightEntry, ...]:
    """Lay (name, dtype, shape) out in order, each aligned to `WEIGHT_ALIGNMENT`."""
    entries, offset = [], 0
    for name, dtype, shape in weights:
        entry = WeightEntry(name, offset, dtype, tuple(shape))
        entries.append(entry)
        end = offset + entry.nbytes
        offset = -(-end // WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT
    return tuple(entries)


@dataclass(frozen=True)
class Metadata:
    """Everything about a program but its bytes. JSON in artifacts."""

    target: str
    """The target that made the code, such as `cpu`."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    entries: dict[str, int]
    """Offsets into the image, by entry point's name; see `REQUIRED_ENTRIES`."""
    arch: str
    """Architecture the code is for: in `host_arch`'s spelling where the form is native, else
    as the device's maker names it, such as `sm_90`."""
    flags: tuple[str, ...] = ()
    """Processor features the code needs, in `host_flags`' spelling."""
    form: str = NATIVE
    """What the code is: `NATIVE` or `LAUNCH_PLAN`."""
    symbols: tuple[str, ...] = ()
    """Symbolic sizes in the order of the context's symbol table: those that inputs define
    and those that the program defines while running."""
    arena: Dim = field(default_factory=lambda: Dim.of(0))
    """Bytes of scratch memory, from symbols that inputs define."""
    scratch: Dim = field(default_factory=lambda: Dim.of(0))
    """Bytes after the arena for each worker, from symbols that inputs define."""
    max_workers: int | None = None
    """Threads that can be of use; None where more are always better. 1 for small programs,
    which then never touch the pool."""
    work: Dim | None = None
    """Nanoseconds that a call takes on one thread, roughly, from symbols that inputs define;
    None where it is not known. Short calls do not wake other threads."""
    checks: tuple[Check, ...] = ()
    weights: tuple[WeightEntry, ...] = ()
    producer: str = ""
    """Name and version of the compiler."""
    report: dict[str, Any] = field(default_factory=dict)
    """What the compiler has to say of its decisions; plain JSON."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Free-form facts, such as sizes of IR texts; plain JSON."""

    def __post_init__(self) -> None:
        if self.form not in (NATIVE, LAUNCH_PLAN):
            raise ArtifactError(
                f"the program's code has the form '{self.form}', which this version of "
                "infini_ir does not know; compile the model again with this version"
            )
        missing = [name for name in REQUIRED_ENTRIES if name not in self.entries]
        if missing and self.form == NATIVE:
            raise ArtifactError(
                f"the program has no entry point {', '.join(missing)}; compile the model again"
            )
        known = set(self.symbols)
        unknown = (
            input_symbols(self.inputs) | self.arena.symbols() | self.scratch.symbols()
        ).union(*(spec.symbols() for spec in (*self.inputs, *self.outputs))) - known
        if unknown:
            raise ArtifactError(
                f"sizes use symbols that the program does not list: {', '.join(sorted(unknown))}; "
                "compile the model again"
            )

    @property
    def weights_size(self) -> int:
        """Bytes of the weight section."""
        return max((w.offset + w.nbytes for w in self.weights), default=0)

    def check_host(self, what: str) -> None:
        """Raise `ArtifactError` where this machine's processor cannot run the code; `what`
        names it. Code for a device is checked when it is run, by the device's driver."""
        if self.form != NATIVE:
            return
        if self.arch != host_arch():
            raise ArtifactError(
                f"{what} was compiled for {self.arch}, but this machine is {host_arch()}; "
                "compile the model for this machine"
            )
        missing = sorted(set(self.flags) - host_flags())
        if missing:
            raise ArtifactError(
                f"{what} needs processor features that this machine does not have: "
                f"{', '.join(missing)}; compile the model for this machine"
            )

    def to_json(self) -> dict[str, Any]:
        return {
            "producer": self.producer,
            "target": self.target,
            "arch": self.arch,
            "flags": list(self.flags),
            "form": self.form,
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
            "symbols": list(self.symbols),
            "arena": str(self.arena),
            "scratch": str(self.scratch),
            "max_workers": self.max_workers,
            "work": None if self.work is None else str(self.work),
            "entries": self.entries,
            "checks": [check.to_json() for check in self.checks],
            "weights": [weight.to_json() for weight in self.weights],
            "report": self.report,
            "extra": self.extra,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Metadata:
        """The reverse of `to_json`. `KeyError`, `TypeError` or `ValueError` for anything else."""
        workers = data["max_workers"]
        return Metadata(
            producer=str(data["producer"]),
            target=str(data["target"]),
            arch=str(data["arch"]),
            flags=tuple(map(str, data["flags"])),
            form=str(data.get("form", NATIVE)),
            inputs=tuple(map(TensorSpec.from_json, data["inputs"])),
            outputs=tuple(map(TensorSpec.from_json, data["outputs"])),
            symbols=tuple(map(str, data["symbols"])),
            arena=Dim.parse(data["arena"]),
            scratch=Dim.parse(data["scratch"]),
            max_workers=None if workers is None else int(workers),
            work=None if data["work"] is None else Dim.parse(data["work"]),
            entries={str(name): int(offset) for name, offset in data["entries"].items()},
            checks=tuple(map(Check.from_json, data["checks"])),
            weights=tuple(map(WeightEntry.from_json, data["weights"])),
            report=dict(data["report"]),
            extra=dict(data["extra"]),
        )
