"""The command line as a process: exit codes, messages, and what it does not import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glta_cli import __version__
from glta_cli.core.errors import BusyError, GltaError, InputError, InputErrors, InterruptedRunError
from glta_cli.main import report

HEAVY = {"torch", "transformers", "pydantic", "polars", "numpy", "rich", "tqdm", "pluggy", "yaml"}
PLUGINS = {"glta_datasets", "glta_encoders", "glta_backbones", "glta_baselines", "glta_loggers"}
MODULES_AFTER = """
import atexit, sys
atexit.register(lambda: print("\\n".join(sys.modules), file=sys.stderr))
sys.argv = ["glta", *{arguments!r}]
from glta_cli.main import main
main()
"""

HELD_IN_A_COMMAND = """
import sys, time
import glta_cli.main, glta_cli.recipe.files

def hold(name):
    open(pipe, "w").close()
    time.sleep(60)

pipe = sys.argv[1]
sys.argv = ["glta", "recipes", "copy", "quickstart"]
glta_cli.recipe.files.find_recipe = hold
glta_cli.main.main()
"""

HELD_WHILE_IMPORTING = """
import sys, time

class Held:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            open(pipe, "w").close()
            time.sleep(60)

pipe = sys.argv[1]
sys.meta_path.insert(0, Held())
from glta_cli.main import main
main()
"""

RAISES = """
import sys
import glta_cli.main, glta_cli.recipe.files

class Panic(BaseException):
    pass

def panic(name):
    raise {error}

sys.argv = ["glta", "recipes", "show", "quickstart"]
glta_cli.recipe.files.find_recipe = panic
glta_cli.main.main()
"""

HOSTILE = "a\x1b[31m\u202e\u200b\n\x9b2J"


def glta(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "glta_cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def modules_of(*arguments: str) -> set[str]:
    finished = subprocess.run(
        [sys.executable, "-c", MODULES_AFTER.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return {name.partition(".")[0] for name in finished.stderr.split()}


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), (), ("recommend", "--help"), ("recipes", "--help"), ("plugins", "--help")],
)
def test_a_first_look_imports_nothing_heavy(arguments):
    assert modules_of(*arguments) & (HEAVY | PLUGINS) == set()


def test_listing_what_is_installed_loads_no_torch(workspace_root):
    assert modules_of("plugins") & {"torch", "transformers", "polars", "numpy"} == set()
    assert modules_of("runs") & {"torch", "transformers", "polars", "numpy"} == set()
    assert modules_of("recipes") & {"torch", "transformers", "polars", "numpy"} == set()


def test_without_a_command_it_shows_the_first_screen():
    shown = glta()
    assert shown.returncode == 0
    assert shown.stdout == glta("--help").stdout
    assert "glta recommend --user 42" in shown.stdout


def test_every_summary_fits_its_line():
    commands = glta("--help").stdout.partition("Commands:")[2]
    for name in (
        "init",
        "prepare",
        "pretrain-graph",
        "align",
        "finetune",
        "evaluate",
        "recommend",
        "reproduce",
        "doctor",
        "plugins",
        "recipes",
        "runs",
    ):
        assert f"  {name} " in commands
    for line in commands.splitlines():
        assert not line.endswith("..."), line


@pytest.mark.parametrize("group", ["runs", "recipes", "plugins"])
def test_every_summary_of_a_subcommand_fits_its_line_too(group):
    commands = glta(group, "--help").stdout.partition("Commands:")[2]
    assert commands.count("\n") > 2
    assert "..." not in commands


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "prepare",
        "pretrain-graph",
        "align",
        "finetune",
        "evaluate",
        "recommend",
        "reproduce",
        "doctor",
        "plugins",
        "recipes",
        "runs",
    ],
)
def test_every_command_gives_an_example_of_itself(command):
    assert f"Example: glta {command}" in glta(command, "--help").stdout


@pytest.mark.parametrize("command", ["recommend", "similar"])
def test_each_of_several_examples_has_a_line(command):
    lines = glta(command, "--help").stdout.splitlines()
    examples = [line for line in lines if "Example:" in line]
    assert len(examples) > 1
    assert all(line.startswith(f"  Example: glta {command}") and line.count("Example:") == 1 for line in examples)


def test_the_version_is_the_packages():
    assert glta("--version").stdout == f"glta {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recomend", "--user", "42"), "No such command 'recomend'. Did you mean 'recommend'?"),
        (("recommend",), "--user: nobody is asked for"),
        (("recommend", "--user", "1", "-k", "0"), "Invalid value for '-k'"),
        (("align", "--device", "gpu"), "'gpu' is not one of cpu, cuda, cuda:N, mps, auto"),
        (("align", "--sed", "1"), "No such option: --sed"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, message):
    finished = glta(*arguments)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_unknown_recipe_is_the_users_error(workspace_root):
    finished = glta("finetune", "--recipe", "quikstart")
    assert finished.returncode == 2
    assert finished.stderr == "quikstart: no such recipe\n  hint: did you mean 'quickstart'?\n"


def test_a_wrong_override_is_shown_without_a_traceback(workspace_root):
    finished = glta("finetune", "--recipe", "quickstart", "--set", "graph.los=bpr")
    assert finished.returncode == 2
    assert finished.stderr == "--set graph.los: unknown key\n  hint: did you mean 'loss'?\n"


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(workspace_root, place):
    command = ["finetune", "--recipe", "quikstart"]
    arguments = ["--debug", *command] if place == "before" else [*command, "--debug"]
    finished = glta(*arguments)
    assert finished.returncode == 2
    assert finished.stderr.startswith("Traceback")
    assert finished.stderr.endswith("quikstart: no such recipe\n  hint: did you mean 'quickstart'?\n")


def test_debug_may_come_from_the_environment(workspace_root):
    assert glta("finetune", "--recipe", "quikstart", GLTA_DEBUG="1").stderr.startswith("Traceback")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (GltaError("failed", location="a.txt", hint="try again"), 1, "a.txt: failed\n  hint: try again\n"),
        (InputError("wrong"), 2, "wrong\n"),
        (InputErrors([InputError("one", location="x:1:1"), InputError("two")]), 2, "x:1:1: one\ntwo\n"),
        (BusyError("busy"), 75, "busy\n"),
        (InterruptedRunError("stopped", signal_number=signal.SIGINT), 130, "stopped\n"),
        (InterruptedRunError("stopped", signal_number=signal.SIGTERM), 143, "stopped\n"),
        (
            KeyError("x"),
            1,
            "internal error: KeyError: 'x'\n  hint: run it again with --debug and report the traceback\n",
        ),
    ],
)
def test_an_error_becomes_its_message_and_exit_code(capsys, error, code, message):
    assert report(error, debug=False) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    ],
)
def test_memory_that_runs_out_is_told_with_what_needs_less(capsys, error):
    assert report(error, debug=False) == 1
    said = capsys.readouterr().err
    assert said.startswith("out of memory")
    assert "batch_size" in said
    assert "internal" not in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_quietly(tmp_path: Path, number, code):
    pipe = tmp_path / "reached"
    os.mkfifo(pipe)
    process = subprocess.Popen([sys.executable, "-c", HELD_IN_A_COMMAND, str(pipe)], stderr=subprocess.PIPE, text=True)
    pipe.open().close()  # returns when the command has got that far
    time.sleep(0.1)
    process.send_signal(number)
    _, shown = process.communicate(timeout=20)
    assert process.returncode == code
    assert shown in {"interrupted\n", "terminated\n"}


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")]
)
def test_a_signal_while_modules_are_imported_ends_it_quietly_too(tmp_path: Path, number, code, said):
    pipe = tmp_path / "reached"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-c", HELD_WHILE_IMPORTING, str(pipe)], stderr=subprocess.PIPE, text=True
    )
    pipe.open().close()  # returns when the import has got that far
    process.send_signal(number)
    _, shown = process.communicate(timeout=20)
    assert (process.returncode, shown) == (code, said)


def test_a_signal_between_the_imports_and_the_command_ends_it_quietly_too(tmp_path: Path):
    pipe, script = tmp_path / "reached", tmp_path / "glta"
    os.mkfifo(pipe)
    script.write_text(
        f"from glta_cli.main import main\nimport time\nopen({str(pipe)!r}, 'w').close()\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)
    pipe.open().close()
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=20)
    assert (process.returncode, shown) == (130, "interrupted\n")


def test_whoever_imports_the_command_line_keeps_the_signals_it_has():
    code = "import signal, glta_cli.main; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_a_signal_to_be_ignored_is_ignored_from_the_start(tmp_path: Path):
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import os; os.kill(os.getpid(), signal.SIGINT)\n"
    )
    held = code + "import glta_cli.main; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    assert subprocess.run([sys.executable, "-c", held], capture_output=True, text=True).stdout == "True\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ('Panic("index out of range")', "Panic: index out of range"),
        ('EOFError("half a file")', "EOFError: half a file"),
        ('BrokenPipeError(32, "Broken pipe")', "BrokenPipeError: [Errno 32] Broken pipe"),
    ],
)
def test_no_error_is_taken_for_a_user_who_left_or_shown_with_a_traceback(error, told):
    finished = subprocess.run([sys.executable, "-c", RAISES.format(error=error)], capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.lstrip().startswith(f"internal error: {told}\n  hint: ")
    assert "Traceback" not in finished.stderr


def test_what_the_system_refuses_anywhere_is_told_with_its_path():
    code = RAISES.format(error='PermissionError(13, "Permission denied", "/data/x\\x1b")')
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.startswith("/data/x\\x1b: cannot be used: Permission denied\n  hint: `ls -ld ")


@pytest.mark.parametrize(
    "arguments",
    [
        (HOSTILE,),
        (f"--{HOSTILE}",),
        ("recommend", "--user", HOSTILE, "--run", HOSTILE),
        ("recommend", "--user", "1", "-k", HOSTILE),
        ("align", "--device", HOSTILE),
        ("recipes", "show", HOSTILE),
        ("recipes", "validate", HOSTILE),
        ("evaluate", "--set", f"{HOSTILE}=1"),
        ("evaluate", "--set", f"graph.loss={HOSTILE}"),
        ("prepare", HOSTILE),
        ("prepare", "table", "--source", HOSTILE),
        ("plugins", "show", "encoder", HOSTILE),
        ("plugins", "--kind", HOSTILE),
    ],
)
def test_nothing_a_user_gives_commands_the_terminal_that_shows_the_error(workspace_root: Path, arguments):
    for debug in ([], ["--debug"]):
        finished = glta(*arguments, *debug)
        assert finished.returncode == 2
        assert finished.stdout == ""
        assert all(line.isprintable() for line in finished.stderr.split("\n"))
        assert "internal error" not in finished.stderr


def test_a_plugins_message_commands_no_terminal(site: Path, workspace_root: Path) -> None:
    (site / "own" / "__init__.py").write_text(f"raise ValueError({HOSTILE!r} * 1000)")
    for command in (("plugins",), ("recipes", "validate", "quickstart")):
        finished = glta(*command, PYTHONPATH=str(site))
        assert finished.returncode == 0
        assert "ValueError: a" in finished.stdout + finished.stderr
        assert all(line.isprintable() for line in (finished.stdout + finished.stderr).split("\n"))


def test_a_reader_that_leaves_early_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "glta_cli", "plugins", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    process.wait(timeout=20)
    assert process.stderr.read() == b""


# ------------------------------------------------------------------------------------------------------- plugins

PLUGIN = """
import os, sys, time
from glta_cli.plugin import EncoderDeclaration, hookimpl

if "SLOW" in os.environ:
    print("importing", flush=True, file=sys.stderr)
    time.sleep(30)

@hookimpl
def glta_graph_encoders():
    yield EncoderDeclaration(name="own", summary="for a test", target="own.code:Encoder", config="own.code:Own")
"""
LEAVING = """
import os
import sys
import torch
from glta_cli.plugin import Settings
from torch import nn

class Own(Settings):
    dimension: int = 8

class Encoder(nn.Module):
    def __init__(self, graph, settings):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self):
        print("hello")
        if "TALKS" in os.environ or ("LATER" in os.environ and not hasattr(self, "called")):
            self.called = True
            return torch.zeros(60, 8) + self.weight, torch.zeros(40, 8) + self.weight
        sys.exit(0)

    def extra_loss(self, users, items):
        return self.weight.sum()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with a plugin."""
    package, metadata = tmp_path / "site" / "own", tmp_path / "site" / "own-1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").write_text(PLUGIN)
    (package / "code.py").write_text(LEAVING)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[glta]\nown = own\n")
    return package.parent


def test_sigterm_while_a_plugin_is_imported_ends_the_command(site: Path, workspace_root: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "glta_cli", "recipes", "validate", "quickstart"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site), "SLOW": "1"},
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "importing\n"
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (143, "", "terminated\n")


@pytest.mark.parametrize(
    ("later", "told"),
    [
        ({}, "encoder 'own' of own 1.0: SystemExit: 0\n"),
        ({"LATER": "1"}, "error in plugin own 1.0, {site}/own/code.py:21: SystemExit: 0\n"),
    ],
)
def test_code_of_a_plugin_cannot_end_the_command_as_if_all_went_well(
    site: Path, workspace_root: Path, tiny_recipe_file: Path, later: dict[str, str], told: str
) -> None:
    finished = glta(
        *("pretrain-graph", "--recipe", str(tiny_recipe_file), "--set", "graph={encoder: own, options: {}}"),
        PYTHONPATH=str(site),
        **later,
    )
    assert finished.returncode == 1
    assert told.format(site=site) in finished.stderr


def test_what_a_plugin_prints_while_it_runs_is_no_result(
    site: Path, workspace_root: Path, tiny_recipe_file: Path
) -> None:
    finished = glta(
        *("pretrain-graph", "--recipe", str(tiny_recipe_file), "--set", "graph={encoder: own, options: {}}", "--json"),
        PYTHONPATH=str(site),
        TALKS="1",
    )
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["details"]["encoder"] == "own"
    assert "hello\n" in finished.stderr


@pytest.mark.parametrize("way", [("--quiet",), ("-q",), ()])
def test_quiet_leaves_results_warnings_and_errors(tmp_path: Path, workspace_root: Path, way: tuple[str, ...]) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item\n" + "".join(f"u{n % 7},i{n % 11}\n" for n in range(77)))
    environment = {} if way else {"GLTA_QUIET": "1"}
    named = ("table", "--source", str(log), "--min-rating", "none", "--kcore", "0")
    loud = glta("prepare", *named)
    assert "next: " in loud.stderr
    quiet = glta("prepare", *named, *way, **environment)
    assert quiet.stdout == loud.stdout
    assert [line.split(":")[0] for line in quiet.stderr.splitlines()] == ["warning"]
    wrong = glta("prepare", "tabel", *way, **environment)
    assert wrong.returncode == 2
    assert "did you mean 'table'" in wrong.stderr
    changes = ["dataset.name=table", f"dataset.source={log}", "dataset.min_rating=null", "graph.training.epochs=1"]
    sets = [word for change in changes for word in ("--set", change)]
    trained = glta("pretrain-graph", *way, *sets, **environment)
    assert trained.returncode == 0, trained.stderr
    assert "pretrain-graph of run quickstart" in trained.stdout
    assert all(line.startswith("warning") for line in trained.stderr.splitlines()), trained.stderr


@pytest.mark.parametrize("arguments", [("--no-plugins", "plugins", "--json"), ("plugins", "--json", "--no-plugins")])
def test_no_plugins_beats_the_environment(site: Path, arguments: tuple[str, ...]) -> None:
    shown = glta(*arguments, PYTHONPATH=str(site), GLTA_LOAD_PLUGINS="own").stdout
    assert "lightgcn" in shown
    assert '"own"' not in shown
    assert '"own"' in glta("plugins", "--json", PYTHONPATH=str(site), GLTA_LOAD_PLUGINS="own").stdout
