"""Options that commands share, and the forms of their values."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infini_ir.utils.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from infini_ir.compiler import Options

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Most threads that a call uses."
)
seed_option = click.option("--seed", type=int, default=0, help="Of the random inputs.")
shape_option = click.option(
    "--shape",
    "sizes",
    metavar="NAME=SIZE,...",
    multiple=True,
    help="Sizes of the model's symbols, such as B=1,S=128.",
)
input_shape_option = click.option(
    "--input", "inputs", metavar="NAME=SHAPE", multiple=True, help="Shape of an input."
)
data_option = click.option(
    "--data",
    metavar="NAME=FILE",
    multiple=True,
    help="Inputs to measure with, as for infini run.",
)


def _use_cache(ctx: click.Context, parameter: click.Parameter, folder: str | None) -> None:
    """Until the command ends, in the processes that it starts too."""
    if folder is None:
        return
    if Path(folder).exists() and not Path(folder).is_dir():
        raise OptionError(f"--cache wants a folder, and '{folder}' is a file")
    before = os.environ.get(CACHE_VARIABLE)

    def restore() -> None:
        os.environ.pop(CACHE_VARIABLE, None)
        if before is not None:
            os.environ[CACHE_VARIABLE] = before

    os.environ[CACHE_VARIABLE] = str(Path(folder).resolve())
    ctx.call_on_close(restore)


CACHE_VARIABLE = "INFINI_CACHE_DIR"
cache_option = click.option(
    "--cache",
    metavar="DIR",
    expose_value=False,
    callback=_use_cache,
    help=f"Where code and what tuning found are kept, as ${CACHE_VARIABLE} says otherwise.",
)
precision_option = click.option(
    "--precision",
    default="f32",
    help="f32, or bf16 (cpu): values between kernels and factors of products are bf16.",
)
target_option = click.option(
    "--target",
    default="cpu",
    help="Device and architecture, such as cpu:x86-64-v3 or nvidia:sm_90; see `infini targets`.",
)


@dataclass(frozen=True)
class Compiling:
    """How to compile, as the options of a command say."""

    target: str = "cpu"
    precision: str = "f32"
    library: bool = False
    tune: str | None = None
    check_semantics: bool = False
    no_cache: bool = False
    threads: int | None = None

    def options(self, inputs: dict[str, Any] | None = None) -> Options:
        """The compiler's options; `inputs` as it takes them. Raises `OptionError`."""
        from infini_ir.compiler import Options

        return Options(
            self.target,
            self.precision,
            self.threads,
            inputs or None,
            self.check_semantics,
            cache=not self.no_cache,
            library=self.library,
            tune=None if self.tune is None else parse_sizes([self.tune]),
        )


def compile_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how to compile; the command gets all as its `compiling`."""

    @functools.wraps(function)
    def collected(**given: Any) -> Any:
        own = {field.name: given.pop(field.name) for field in fields(Compiling)}
        return function(compiling=Compiling(**own), **given)

    decorated: Any = collected
    for option in (
        threads_option,
        cache_option,
        click.option("--no-cache", is_flag=True, help="Generate all code anew."),
        click.option(
            "--check-semantics",
            is_flag=True,
            help="Compare results before and after each pass.",
        ),
        click.option(
            "--library",
            is_flag=True,
            help="Let the vendor's library do the products that it can.",
        ),
        click.option(
            "--tune",
            is_flag=False,
            flag_value="",
            metavar="[NAME=SIZE,...]",
            help="Measure plans of kernels on this machine first, for these sizes of symbols (cpu, nvidia).",
        ),
        precision_option,
        target_option,
    ):
        decorated = option(decorated)
    return decorated


def split_pair(text: str, wanted: str) -> tuple[str, str]:
    """The two sides of `name=value`; wrong usage where there are none."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"'{text}' is not of the form {wanted}")
    return name, value


def parse_sizes(texts: Sequence[str]) -> dict[str, int]:
    """Symbol sizes from `B=1,S=128`."""
    sizes: dict[str, int] = {}
    for part in (part for text in texts for part in text.split(",") if part.strip()):
        name, value = split_pair(part.strip(), "NAME=SIZE")
        try:
            sizes[name.strip()] = int(value)
        except ValueError:
            raise click.UsageError(f"--shape {part}: '{value}' is not a whole number") from None
        if sizes[name.strip()] < 0:
            raise click.UsageError(f"--shape {part}: a size is not negative")
    return sizes


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Shapes (`x=1x3x224x224`, `ids=B,128`) or fixed values (`n=shape.npy`) of inputs."""
    overrides: dict[str, Any] = {}
    for text in texts:
        name, value = split_pair(text, "NAME=1x3x224x224 or NAME=FILE.npy")
        overrides[name] = fixed_value(value) if value.endswith(".npy") else parse_shape(value)
    return overrides


def parse_shape(text: str) -> tuple[int | str, ...]:
    """Sizes with `x` or commas between them; names are symbols, nothing is a scalar."""
    if not text.strip():
        return ()
    parts = text.split(",") if "," in text else _at_x(text)
    return tuple(_size(part.strip(), text) for part in parts)


def _at_x(text: str) -> list[str]:
    """`1x3xHxW` in parts. A symbol with an x in its name wants the form with commas."""
    return text.split("x")


def _size(text: str, whole: str) -> int | str:
    if text.isdigit():
        return int(text)
    if text.isidentifier():
        return text
    raise click.UsageError(
        f"'{whole}' is no shape; give sizes or names with x or commas between them, as 1x3xHxW"
    )


def fixed_value(path: str) -> np.ndarray:
    """The array of a .npy file."""
    from infini_ir.tools.infini.inputs import read_npy

    return read_npy(path, f"'{path}'")


def check_writable(path: str | Path, *, folder: bool = False) -> None:
    """Refuse an output, a file or a folder, that cannot be written before the work is done."""
    import tempfile

    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return  # a device or a pipe, which is written to as it is
    place = Path(os.path.realpath(path))
    above = place.parent
    if place.is_dir() and not folder:
        raise OptionError(f"cannot write '{path}': it is a folder; name a file")
    if not above.is_dir():
        raise OptionError(f"cannot write '{path}': there is no folder '{above}'; make it first")
    written = place if place.is_dir() else above
    try:
        tempfile.TemporaryFile(dir=written).close()
    except OSError as error:
        raise OptionError(
            f"cannot write '{path}': no file can be made in '{written}' "
            f"({error.strerror or error}); name another place"
        ) from error


def check_cache() -> None:
    """Refuse a cache folder in which nothing can be kept, where keeping is what a command does."""
    import tempfile

    from infini_ir.utils.entry_folder import cache_folder

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OptionError(
            f"nothing can be kept in '{folder}' ({error.strerror or error}); name a folder that "
            "can be written with --cache"
        ) from error
