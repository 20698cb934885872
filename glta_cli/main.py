"""The command line: the commands, and the boundary where every error becomes a message and an exit code."""

from __future__ import annotations

from glta_cli.core.early_signals import EndedAtOnce, end_words

early_signals = EndedAtOnce()
with early_signals:
    import gc
    import io
    import os
    import signal
    import sys
    from types import FrameType
    from typing import Annotated

    import typer

    from glta_cli import __version__
    from glta_cli.commands import completion
    from glta_cli.commands.align import align
    from glta_cli.commands.doctor import doctor
    from glta_cli.commands.evaluate import evaluate
    from glta_cli.commands.export import export
    from glta_cli.commands.finetune import finetune
    from glta_cli.commands.import_run import import_run
    from glta_cli.commands.init import init
    from glta_cli.commands.plugins import plugins
    from glta_cli.commands.prepare import prepare
    from glta_cli.commands.pretrain_graph import pretrain_graph
    from glta_cli.commands.recipes import recipes
    from glta_cli.commands.recommend import recommend
    from glta_cli.commands.reproduce import reproduce
    from glta_cli.commands.runs import runs
    from glta_cli.commands.serve import serve
    from glta_cli.commands.similar import similar
    from glta_cli.commands.update import update
    from glta_cli.core.errors import LONGEST_PART, GltaError, InterruptedRunError, ReaderLeft, Terminated, one_line
    from glta_cli.core.printable import bounded, visible
    from glta_cli.core.standard_streams import open_streams
    from glta_cli.core.waiting_threads import wait_patiently
    from glta_cli.core.world import World, launched

# Plain help: rich's panels cost `glta --help` more time than all its other imports together.
app = typer.Typer(
    name="glta",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=completion.is_asked_for(),
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)

ANYWHERE = frozenset({"--debug", "--no-plugins", "--quiet", "-q"})

app.command()(init)
app.command()(prepare)
app.command()(pretrain_graph)
app.command()(align)
app.command()(finetune)
app.command()(evaluate)
app.command()(recommend)
app.command()(similar)
app.command()(serve)
app.command()(update)
app.command()(export)
app.command("import")(import_run)
app.command()(reproduce)
app.command()(doctor)
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
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Results, warnings and errors alone (also GLTA_QUIET=1).")
    ] = False,
    no_plugins: Annotated[
        bool, typer.Option("--no-plugins", help="Load no plugins but glta's own (GLTA_LOAD_PLUGINS=a,b: some).")
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

    `glta --install-completion` has the shell complete commands and names.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line and exit.

    0 done, 1 failed, 2 wrong input, 75 busy, 130 or 143 interrupted, 141 whoever read stdout has gone.
    """
    code, debug = 0, False
    try:
        early_signals.release()
        open_streams()
        arguments, flags = _split_flags(sys.argv[1:])
        debug = "--debug" in flags or os.environ.get("GLTA_DEBUG") == "1"
        if "--no-plugins" in flags:
            os.environ["GLTA_LOAD_PLUGINS"] = ""
        if not flags.isdisjoint({"--quiet", "-q"}):
            os.environ["GLTA_QUIET"] = "1"
        if os.environ.get("GLTA_QUIET") == "1":
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        wait_patiently()
        signal.signal(signal.SIGTERM, _terminate)
        world = launched()
        # Ctrl-C comes back as the code 130.
        code = _among_others(world, arguments, debug=debug) if world.size > 1 else _command(arguments)
        if code == 130 and world.first:
            end_words(signal.SIGINT)
    except KeyboardInterrupt:
        code = 130
        end_words(signal.SIGINT)
    except InterruptedRunError as stopped:
        code = report(stopped, debug=debug)
    except SystemExit as end:
        # Code of a plugin may not decide that all went well.
        guilty = not isinstance(end, Terminated) and _guilty_plugin(end)
        hidden = _behind(end)
        code = report(hidden, debug=debug) if guilty or hidden is not end else _code_of(end)
    except BaseException as error:
        code = report(_behind(error), debug=debug)
    finally:
        # The process ends and its memory with it: searching all modules for garbage would be a tenth of a short answer.
        gc.freeze()
    sys.exit(_flushed(code, debug=debug))


def _command(arguments: list[str]) -> int:
    return app(arguments, prog_name="glta", standalone_mode=False) or 0


def _among_others(world: World, arguments: list[str], *, debug: bool) -> int:
    """The command, where this process is the first of several that were started for it; else what that orders."""
    # Read when torch is imported; else it tells of every second it waited.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from glta_cli.core.process_group import Meeting

    meeting = Meeting(world)
    if not world.first:
        from glta_cli.stages.following import follow

        return follow(meeting, debug=debug)
    from glta_cli.stages.together import in_company

    with in_company(meeting):
        return _command(arguments)


def _behind(error: BaseException) -> BaseException:
    """What really ended the command, where Typer took it for a user who left and would say nothing of it.

    To it the end of a file, such as of half a gzip file, is a prompt without an answer, and any broken pipe, such as to
    a process of our own, is stdout.
    """
    hidden = error.__context__
    if isinstance(error, typer.Abort) and isinstance(hidden, EOFError):
        return hidden
    if isinstance(error, SystemExit) and isinstance(hidden, BrokenPipeError) and not isinstance(error, ReaderLeft):
        return hidden
    return error


def _code_of(end: SystemExit) -> int:
    if isinstance(end.code, str):
        print(visible(end.code, keep="\n"), file=sys.stderr)
        return 1
    return end.code or 0


def _flushed(code: int, *, debug: bool) -> int:
    """The exit code once what is left of the results is written; Python would try that later, and complain."""
    try:
        sys.stdout.flush()
    except ReaderLeft as left:
        return code or _code_of(left)
    except GltaError as error:
        return code or report(error, debug=debug)
    return code


def report(error: BaseException, *, debug: bool) -> int:
    """Print an error on stderr, with its traceback where `debug`, and return its exit code."""
    # Not for every command: these wait for one that fails.
    from glta_cli.core.failures import failure_of_system, is_of_the_system

    if debug:
        import traceback

        print(visible("".join(traceback.format_exception(error)), keep="\n"), end="", file=sys.stderr)
    match error:
        case InterruptedRunError():
            print(error, file=sys.stderr)
            return 128 + error.signal_number
        case GltaError():
            print(error, file=sys.stderr)
            return error.exit_code
        case _ if (usage := _wrong_usage(error)) is not None:
            print(usage, end="", file=sys.stderr)
            return 2
        case _:
            where = _guilty_plugin(error)
            told = failure_of_system(error) if where is None or is_of_the_system(error) else None
            if told is not None:
                print(told, file=sys.stderr)
                return told.exit_code
            print(one_line(f"{where or 'internal error'}: {_shown(error)}"), file=sys.stderr)
            if not debug:
                to_whom = " to its author" if where else ""
                print(f"  hint: run it again with --debug and report the traceback{to_whom}", file=sys.stderr)
            return 1


def _wrong_usage(error: BaseException) -> str | None:
    """The command's usage and what is wrong with it, as Typer words that; None for any other error."""
    show = getattr(error, "show", None)
    # Typer keeps the class of these errors to itself, but for this one.
    if show is None or not isinstance(error, typer.BadParameter.__mro__[1]):
        return None
    shown = io.StringIO()
    show(file=shown)
    return "".join(f"{bounded(visible(line), LONGEST_PART)}\n" for line in shown.getvalue().splitlines())


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
    end_words(number)
    raise Terminated(128 + number)
