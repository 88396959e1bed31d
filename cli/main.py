"""The program ``aec``: finds the command and turns every way it can end into an exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from .. import __version__

__all__ = ["COMMANDS", "INTERRUPTED", "main", "program", "run"]

COMMANDS = {
    "compress": ".compress:compress",
    "decompress": ".decompress:decompress",
    "info": ".info:info",
    "verify": ".verify:verify",
    "bench": ".bench:bench",
    "train": ".train:train",
}
"""Commands in the order of the help, each with its module, seen from this package, and the name of
its click command there. The help imports all of these modules: none may import torch at its top."""

INTERRUPTED = 128 + signal.SIGINT


class LazyGroup(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module, __package__), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def program() -> None:
    """Compress pictures with a learned codec, and get the same pixels back on every machine."""


def run(args: Sequence[str] | None = None) -> int:
    """Runs the program with these arguments, or those of the process, and returns its exit code."""
    try:
        code = program.main(args, prog_name="aec", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("aec: interrupted", err=True)
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """Runs the program and ends the process."""
    received: list[int] = []

    def end(number: int, _frame: object) -> NoReturn:
        received.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the last is not known to Windows
            number = getattr(signal, name, None)
            # All end like Ctrl-C, so that half-written files are removed; nohup stays in force.
            usual = (signal.SIG_DFL, signal.default_int_handler)
            if number is not None and signal.getsignal(number) in usual:
                signal.signal(number, end)
    try:
        code = run()
    except BaseException:
        if not received:
            raise
    # Code that is not Python's, imports too, may make another error of a signal, or swallow it.
    sys.exit(128 + received[0] if received else code)
