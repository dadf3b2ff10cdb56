"""`infini completion`: a script that makes the shell complete commands and options."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a SHELL.

    \b
    bash: infini completion bash > ~/.local/share/bash-completion/completions/infini
    zsh:  infini completion zsh > "${fpath[1]}/_infini"
    fish: infini completion fish > ~/.config/fish/completions/infini.fish
    """
    from click.shell_completion import get_completion_class

    from infini_ir.tools.infini.cli import cli

    made = get_completion_class(shell)
    assert made is not None
    # Not `source()`, which for bash starts bash to ask for its version.
    complete = made(cli, {}, "infini", "_INFINI_COMPLETE")
    click.echo(complete.source_template % complete.source_vars())
