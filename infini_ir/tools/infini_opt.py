"""`infini-opt`: reads a module or an ONNX model, runs passes, prints a module or code.

infini-opt model.onnx -p graph-simplify,graph-dce --timing
infini-opt kernels.mlir --pipeline=tile --target llvm:x86-64-v3
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import IO, Any, NoReturn

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.parser.generic_parser import ParserState
from xdsl.passes import ModulePass, PassPipeline
from xdsl.printer import Printer
from xdsl.utils.arg_spec import ArgSpec, parse_pipeline
from xdsl.utils.exceptions import (
    ArgSpecParseError,
    DiagnosticException,
    ParseError,
    VerifyException,
)
from xdsl.utils.lexer import Input
from xdsl.utils.mlir_lexer import MLIRLexer
from xdsl.xdsl_opt_main import xDSLOptMain

from infini_ir import __version__, universe
from infini_ir.dialects.context import CompilerContext
from infini_ir.tools.declared import declare_weights
from infini_ir.tools.failures import BROKEN_PIPE, INTERRUPTED, describe, location_text, one_line
from infini_ir.utils.errors import CompileError, InfiniError, OptionError
from infini_ir.utils.pass_report import IrDumps, PassReport
from infini_ir.utils.weights import WeightStore

SEPARATOR = b"// -----"
_USER_ERRORS = (DiagnosticException, ParseError, InfiniError)


class PassError(CompileError):
    """A pass that failed or left a module that is not valid, with the place."""


class Lexer(MLIRLexer):
    """xDSL's lexer, whose pattern takes exponential time for a string that is not closed."""

    _unescaped_characters_regex = re.compile(
        r'"(?:[^"\\\n\v\f]++|\\(?:["nt\\]|[0-9A-Fa-f]{2}))*+"'
    )


class LocatingParser(Parser):
    """A parser that notes where in the text each operation begins."""

    def __init__(self, ctx: Context, text: str, name: str) -> None:
        super().__init__(ctx, "", name)
        self._parser_state = ParserState(Lexer(Input(text, name)))
        self.starts: dict[Operation, int] = {}

    def parse_operation(self) -> Operation:
        start = self._current_token.span.start
        op = super().parse_operation()
        self.starts[op] = start
        return op


class InfiniOptMain(xDSLOptMain):
    """xDSL's optimizer driver with our dialects, passes, frontends and outputs."""

    version_format = f"infini-opt {__version__} (xdsl {{xdsl_version}})"

    ctx: CompilerContext  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, args: Sequence[str] | None = None) -> None:
        self.lines: dict[Operation, int] = {}
        super().__init__("Runs passes over modules of the compiler's dialects.", args)

    # What there is

    def register_all_dialects(self) -> None:
        self.ctx = CompilerContext()
        for name, factory in universe.DIALECTS.items():
            self.ctx.register_dialect(name, factory)

    def register_all_passes(self) -> None:
        self.available_passes.update(universe.PASSES)

    def register_all_targets(self) -> None:
        self.available_targets.update(universe.TARGETS)

    def register_all_frontends(self) -> None:
        self.available_frontends["mlir"] = self._parse_mlir
        self.available_frontends["onnx"] = self._parse_onnx

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        super().register_all_arguments(arg_parser)
        _drop(arg_parser, "--print-between-passes", "--time-passes", "--shrink")
        _shorten_help(arg_parser)
        add = arg_parser.add_argument
        add("--pipeline", choices=universe.PIPELINES, help="a named pipeline; as -p NAME")
        add(
            "--device",
            default="cpu",
            metavar="TARGET",
            help="target that named pipelines compile for, such as cpu:x86-64-v3 or nvidia:sm_90",
        )
        add(
            "--cpu",
            dest="device",
            type=lambda name: f"cpu:{name}",
            help="the same for a processor: --cpu NAME is --device cpu:NAME",
        )
        add(
            "--print-ir-after-all",
            action="store_true",
            help="print the module after every pass",
        )
        add("--print-ir-after-change", action="store_true", help="... that changed it")
        add("--print-ir-after", default="", metavar="PASS,...", help="... after these passes")
        add("--print-ir-before", default="", metavar="PASS,...", help="... before these")
        add("--timing", action="store_true", help="time and operations of each pass (stderr)")
        add("--statistics", action="store_true", help="operations by name (stderr)")
        add(
            "--check-semantics",
            action="store_true",
            help="name the first pass that changes results",
        )
        add(
            "--reproducer",
            metavar="FILE",
            help="where to write a failing input and its pipeline",
        )
        add("--traceback", action="store_true", help="show where an error comes from")
        add("--list-passes", action=_ListPasses, help="the passes and their options")
        add("--list-targets", action=_ListTargets, help="the outputs and the machines")

    # Input

    def get_input_name(self) -> str:
        return self.args.input_file or "<stdin>"

    def parse_chunk(
        self, chunk: IO[bytes], file_extension: str, start_offset: int = 0
    ) -> ModuleOp | None:
        try:
            return super().parse_chunk(chunk, file_extension, start_offset)
        except ParseError as error:
            error.span = replace(error.span, line_offset=start_offset)
            raise

    def _parse_mlir(self, io: IO[bytes]) -> ModuleOp:
        name, data = self.get_input_name(), io.read()
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise OptionError(
                f"{name}: not a text (byte {error.start} is not UTF-8); models want the suffix "
                ".onnx or --frontend onnx"
            ) from error
        parser = LocatingParser(self.ctx, text, name)
        module = parser.parse_module(not self.args.no_implicit_module)
        if not isinstance(module, ModuleOp):
            raise OptionError(f"{name}: the outermost operation is not builtin.module")
        starts = _line_starts(text)
        self.lines = {op: starts(position) for op, position in parser.starts.items()}
        self.ctx.weights, self.ctx.decisions = WeightStore(), []
        declare_weights(self.ctx.weights, module, random=self.args.check_semantics)
        return module

    def _parse_onnx(self, io: IO[bytes]) -> ModuleOp:
        from infini_ir.frontends.onnx.importer import import_model

        for name in universe.DIALECTS:
            self.ctx.get_optional_dialect(name)
        return import_model(self.args.input_file or io.read(), self.ctx)

    def prepare_input(self) -> tuple[list[tuple[IO[bytes], int]], str]:
        stream, suffix = self.get_input_stream()
        suffix = self.args.frontend or suffix
        if suffix not in self.available_frontends:
            stream.close()
            raise OptionError(
                f"{self.get_input_name()}: no frontend for '.{suffix}' (there are: "
                f"{', '.join(self.available_frontends)}); choose one with --frontend"
            )
        if not self.args.split_input_file:
            return [(stream, 0)], suffix
        with stream:
            parts = stream.read().split(SEPARATOR)
        chunks: list[tuple[IO[bytes], int]] = []
        line = 0
        for part in parts:
            chunks.append((BytesIO(part), line))
            line += part.count(b"\n")
        return chunks, suffix

    # Passes

    def setup_pipeline(self) -> None:
        self.report = PassReport()
        observers: list[Any] = [] if self.args.disable_verify else [self._verify]
        dumps = IrDumps(
            sys.stderr,
            _names(self.args.print_ir_after),
            _names(self.args.print_ir_before),
            self.args.print_ir_after_all,
            self.args.print_ir_after_change,
        )
        if dumps.after or dumps.before or dumps.after_all or dumps.after_change:
            observers.append(dumps)
        if self.args.check_semantics:
            from infini_ir.passes.check_semantics import SemanticsChecker

            observers.append(SemanticsChecker(self.ctx))
        self.report.observers = observers
        self.pipeline = PassPipeline(tuple(self._passes()), self.report)

    def _passes(self) -> Iterator[ModulePass]:
        try:
            specs = list(parse_pipeline(self.args.passes))
        except ArgSpecParseError as error:
            reason = one_line(str(error).splitlines()[-1])
            raise OptionError(f"--passes '{self.args.passes}': {reason}") from error
        if self.args.pipeline is not None:
            specs.insert(0, ArgSpec(self.args.pipeline, {}))
        for spec in specs:
            if spec.name in universe.PIPELINES and not spec.parameters:
                yield from universe.pipeline(spec.name, self.args.device)
            else:
                yield self._pass(spec)

    def _pass(self, spec: ArgSpec) -> ModulePass:
        factory = self.available_passes.get(spec.name)
        if factory is None:
            near = difflib.get_close_matches(spec.name, self.available_passes, 1)
            hint = f"did you mean '{near[0]}'?" if near else "--list-passes lists them"
            raise OptionError(f"unknown pass '{spec.name}'; {hint}")
        try:
            return factory().from_spec(spec)
        except (ValueError, TypeError) as error:
            raise OptionError(f"pass '{spec.name}': {one_line(error)}") from error

    def _verify(
        self, previous: ModulePass | None, module: ModuleOp, following: ModulePass | None
    ) -> None:
        try:
            module.verify()
        except VerifyException as error:
            if self.args.verify_diagnostics:
                raise
            where, what = self._culprit(module)
            after = f"after pass '{previous.name}': " if previous is not None else ""
            raise PassError(f"{where}{after}{what}{one_line(error)}") from error

    def _culprit(self, module: ModuleOp) -> tuple[str, str]:
        """Place and name of the innermost operation that does not verify."""
        for op in reversed(list(module.walk())):
            try:
                op.verify(verify_nested_ops=False)
            except VerifyException:
                line = self.lines.get(op)
                place = f"{self.get_input_name()}:{line}" if line else location_text(op)
                return (f"{place}: " if place else ""), f"'{op.name}': "
        return f"{self.get_input_name()}: ", ""

    def apply_passes(self, prog: ModuleOp) -> None:
        before = prog.clone() if self.args.reproducer else None
        count = _histogram(prog) if self.args.statistics else None
        self.report.rows.clear()
        try:
            super().apply_passes(prog)
        except Exception:
            if before is not None:
                self._write_reproducer(before)
            raise
        finally:
            if self.args.timing:
                sys.stderr.write(self.report.table())
            if count is not None:
                sys.stderr.write(_statistics(count, _histogram(prog), self.ctx))

    def _write_reproducer(self, module: ModuleOp) -> None:
        failed = self.report.running or self.report.done
        command = ["infini-opt", "%s", "-p", f"'{_specs(self.pipeline.passes)}'"]
        command += ["--check-semantics"] if self.args.check_semantics else []
        with open(self.args.reproducer, "w") as out:
            out.write(f"// RUN: {' '.join(command)}\n")
            if failed:
                out.write(f"// Fails in or after pass '{failed}'.\n")
            Printer(stream=out, print_debuginfo=True).print_op(module)
            out.write("\n")

    # Output

    def run(self) -> None:
        """Process every chunk. Errors leave as exceptions."""
        chunks, suffix = self.prepare_input()
        output = self.prepare_output()
        try:
            for number, (chunk, offset) in enumerate(chunks):
                if number:
                    output.write("// -----\n")
                with chunk:
                    self._run_chunk(chunk, suffix, offset, output)
                output.flush()
        finally:
            if output is not sys.stdout:
                output.close()

    def _run_chunk(self, chunk: IO[bytes], suffix: str, offset: int, output: IO[str]) -> None:
        try:
            self.lines = {}
            module = self.parse_chunk(chunk, suffix, offset)
            self.lines = {op: line + offset for op, line in self.lines.items()}
            if module is not None:
                self.apply_passes(module)
                output.write(self.output_resulting_program(module))
        except _USER_ERRORS as error:
            if not self._is_wanted(error):
                raise
            output.write(f"{error}\n")
            for note in getattr(error, "__notes__", ()):
                output.write(f"{note}\n")

    def _is_wanted(self, error: Exception) -> bool:
        if isinstance(error, ParseError):
            return self.args.parsing_diagnostics
        return self.args.verify_diagnostics


class _ListPasses(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from xdsl.passes import get_pass_option_infos

        for name, factory in sorted(universe.PASSES.items()):
            made = factory()
            print(f"{name}\n    {_summary(made)}")
            for option in get_pass_option_infos(made):
                default = (
                    f" = {option.default_value}" if option.default_value is not None else ""
                )
                print(f"    {{{option.name}}}: {option.expected_type}{default}")
        print(f"pipelines: {', '.join(universe.PIPELINES)}")
        parser.exit()


class _ListTargets(argparse.Action):
    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from infini_ir.targets.cpu.features import NAMES
        from infini_ir.targets.registry import ENTRIES

        for name, factory in universe.TARGETS.items():
            print(
                f"{name}\n    {_summary(factory()) if name != 'mlir' else 'The module as text.'}"
            )
        print(f"machines (llvm:NAME, asm:NAME, --cpu NAME): {', '.join(NAMES)}")
        devices = (f"{e.name}:{a}" for e in ENTRIES.values() for a in e.architectures)
        print(f"devices (--device NAME): {', '.join(devices)}")
        parser.exit()


def _summary(thing: Any) -> str:
    """The first sentence of a docstring."""
    text = one_line(thing.__doc__ or "")
    return text.split(". ")[0].rstrip(".") + "."


def _drop(parser: argparse.ArgumentParser, *flags: str) -> None:
    """Take back options of xDSL's driver that ours replace."""
    for flag in flags:
        action = parser._option_string_actions[flag]
        action.help = argparse.SUPPRESS
        for name in action.option_strings:
            del parser._option_string_actions[name]


def _shorten_help(parser: argparse.ArgumentParser) -> None:
    """xDSL's help lists every pass; ours has --list-passes."""
    actions = parser._option_string_actions
    actions["--passes"].help = "passes with their options: a,b{x=1}; see --list-passes"
    actions["--target"].help = "mlir, llvm[:MACHINE] or asm[:MACHINE]; see --list-targets"
    actions["--target"].type = _target_spec


def _target_spec(text: str) -> str:
    """`llvm:x86-64-v3` in xDSL's form."""
    name, colon, machine = text.partition(":")
    return f'{name}{{cpu="{machine}"}}' if colon else text


def _names(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in sorted(names - universe.PASSES.keys()):
        raise OptionError(f"unknown pass '{name}'; --list-passes lists them")
    return names


def _specs(passes: Sequence[ModulePass]) -> str:
    return ",".join(str(one.spec()) for one in passes)


def _line_starts(text: str) -> Any:
    """A function from a position in `text` to its line's number."""
    from bisect import bisect_right

    starts = [0]
    while (end := text.find("\n", starts[-1])) >= 0:
        starts.append(end + 1)
    return lambda position: bisect_right(starts, position)


def _histogram(module: ModuleOp) -> Counter[str]:
    return Counter(op.name for op in module.walk())


def _statistics(before: Counter[str], after: Counter[str], ctx: CompilerContext) -> str:
    names = sorted(before | after, key=lambda name: (-after[name], name))
    width = max(map(len, names))
    lines = [f"{'operation':{width}}  {'before':>7}  {'after':>7}"]
    lines += [f"{name:{width}}  {before[name]:7}  {after[name]:7}" for name in names]
    lines.append(f"{'total':{width}}  {before.total():7}  {after.total():7}")
    for by, count in Counter(decision.by for decision in ctx.decisions).items():
        lines.append(f"decisions of {by}: {count}")
    return "\n".join(lines) + "\n"


def main(args: Sequence[str] | None = None) -> int:
    """Run the tool; the exit code."""
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        InfiniOptMain(arguments).run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (Exception, ArgSpecParseError) as error:
        return _fail(error, "--traceback" in arguments)
    return 0


def _fail(error: BaseException, show: bool) -> int:
    if show:
        traceback.print_exception(error)
    line, code = describe(error)
    print(line, file=sys.stderr)
    return code


def run() -> NoReturn:
    """Entry point of `python -m infini_ir.tools.infini_opt`."""
    sys.exit(main())


if __name__ == "__main__":
    run()
