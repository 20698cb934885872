"""The command line: the commands, and the boundary where every error becomes a message and an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated

import typer

from glta_cli import __version__
from glta_cli.commands.align import align
from glta_cli.commands.evaluate import evaluate
from glta_cli.commands.finetune import finetune
from glta_cli.commands.plugins import plugins
from glta_cli.commands.prepare import prepare
from glta_cli.commands.pretrain_graph import pretrain_graph
from glta_cli.commands.recipes import recipes
from glta_cli.commands.recommend import recommend
from glta_cli.commands.reproduce import reproduce
from glta_cli.commands.runs import runs
from glta_cli.core.errors import GltaError, InterruptedRunError, Terminated

# Plain help: rich's panels cost `glta --help` more time than all its other imports together.
app = typer.Typer(
    name="glta",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)

ANYWHERE = frozenset({"--debug", "--no-plugins"})

app.command()(prepare)
app.command()(pretrain_graph)
app.command()(align)
app.command()(finetune)
app.command()(evaluate)
app.command()(recommend)
app.command()(reproduce)
app.add_typer(runs, name="runs")
app.add_typer(recipes, name="recipes")
app.add_typer(plugins, name="plugins")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"glta {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def first_screen(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (also GLTA_DEBUG=1).")] = False,
    no_plugins: Annotated[
        bool, typer.Option("--no-plugins", help="Load glta's own plugins only (GLTA_LOAD_PLUGINS=a,b loads some).")
    ] = False,
) -> None:
    """Train and serve recommendation models by Graph-Language Token Alignment.

    Ten films for one user, from nothing:

    \b
        glta recommend --user 42

    Step by step, where each step runs what it needs of those before:

    \b
        glta prepare movielens-1m
        glta finetune --recipe movielens-1m
        glta evaluate
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong input, 75 busy, 130 or 143 interrupted."""
    arguments, flags = _split_flags(sys.argv[1:])
    debug = "--debug" in flags or os.environ.get("GLTA_DEBUG") == "1"
    if "--no-plugins" in flags:
        os.environ["GLTA_LOAD_PLUGINS"] = ""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(arguments, prog_name="glta")
    except SystemExit as end:
        if end.code == 130:
            print("interrupted", file=sys.stderr)
        elif not isinstance(end, Terminated) and _guilty_plugin(end):
            # Code of a plugin may not decide that all went well.
            sys.exit(report(end, debug=debug))
        raise
    except Exception as error:
        sys.exit(report(error, debug=debug))
    finally:
        # The process ends and its memory with it: searching all modules for garbage would be a tenth of a short answer.
        gc.freeze()


def report(error: BaseException, *, debug: bool) -> int:
    """Print an error on stderr, with its traceback where `debug`, and return its exit code."""
    if debug:
        traceback.print_exception(error)
    match error:
        case InterruptedRunError():
            print(error, file=sys.stderr)
            return 128 + error.signal_number
        case GltaError():
            print(error, file=sys.stderr)
            return error.exit_code
        case _:
            where = _guilty_plugin(error)
            print(f"{where or 'internal error'}: {_shown(error)}", file=sys.stderr)
            if not debug:
                to_whom = " to its author" if where else ""
                print(f"  hint: run it again with --debug and report the traceback{to_whom}", file=sys.stderr)
            return 1


def _shown(error: BaseException) -> str:
    """The error as it shows itself, if it can."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return "an exception that cannot be shown"


def _guilty_plugin(error: BaseException) -> str | None:
    """The plugin that raised an unexpected error, where that was one; what loaded none has none to blame."""
    registry = sys.modules.get("glta_cli.plugin.registry")
    where = None if registry is None else registry.culprit(error)
    return None if where is None else f"error in {where}"


def _split_flags(arguments: list[str]) -> tuple[list[str], frozenset[str]]:
    """These are taken wherever they stand, so that they can be added to the end of a command that failed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = ANYWHERE.intersection(arguments[:end])
    kept = [argument for argument in arguments[:end] if argument not in flags]
    return kept + arguments[end:], flags


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that half-written folders are removed on the way out."""
    print("terminated", file=sys.stderr)
    raise Terminated(128 + number)
