"""The group of commands, and what they share: errors in one line, exit codes.

Exit codes: 0 done; 1 an error in what was given; 2 wrong usage; 70 a fault of ours;
130 interrupted; 141 nobody reads the output.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from infini_ir.tools.failures import BROKEN_PIPE, INTERRUPTED, describe

COMMANDS = (
    "compile",
    "run",
    "inspect",
    "explain",
    "tune",
    "bench",
    "targets",
    "doctor",
    "cache",
    "completion",
)
_PACKAGE = "infini_ir.tools.infini"


def _set_traceback(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta["infini.traceback"] = True


def traceback_option() -> click.Option:
    """`--traceback`, which stands before or after the command's name."""
    return click.Option(
        ["--traceback"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_set_traceback,
        help="Show where an error comes from.",
    )


class Commands(click.Group):
    """Commands that are imported when used; their errors leave as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [
            *COMMANDS,
            *(name for name in super().list_commands(ctx) if name not in COMMANDS),
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            command: click.Command = import_module(f"{_PACKAGE}.{cmd_name}").command
            command.params.append(traceback_option())
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            discard_output()
            ctx.exit(BROKEN_PIPE)
        except Exception as error:
            if ctx.find_root().meta.get("infini.traceback"):
                traceback.print_exception(error)
            line, code = describe(error)
            click.echo(line, err=True)
            ctx.exit(code)


def discard_output() -> None:
    """Send what is still to be printed nowhere, so that leaving Python does not complain."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = io.StringIO()


def _print_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        from infini_ir import __version__

        click.echo(f"infini {__version__}")
        ctx.exit()


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version.",
)
def cli() -> None:
    """Compile deep-learning models to native code, run them and look into them."""


cli.params.append(traceback_option())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; the exit code."""
    try:
        cli.main(arguments, prog_name="infini", standalone_mode=True)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # before any command was invoked
        line, code = describe(error)
        print(line, file=sys.stderr)
    else:
        code = 0
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        code = BROKEN_PIPE
    except OSError as error:
        discard_output()
        if not code:
            line, code = describe(error)
            print(line, file=sys.stderr)
    return code
