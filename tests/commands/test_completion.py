"""What a shell completes, asked the way bash asks, and what that does not import."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from glta_cli.plugin.registry import installed
from glta_cli.recipe.shipped_files import shipped_recipes

HEAVY = {"torch", "transformers", "pydantic", "polars", "numpy", "rich"}


def completed(line: str, folder: Path, **environment: str) -> list[str]:
    """The words offered for the last one of a line; fails where something heavy was imported for them."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from glta_cli.main import main\nmain()"
    )
    words = line.split(" ")
    finished = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "_GLTA_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            **environment,
        },
    )
    assert finished.returncode == 0, finished.stderr
    assert HEAVY & set(finished.stderr.split()) == set()
    return finished.stdout.split()


@pytest.mark.parametrize("command", ["finetune --recipe", "evaluate --recipe", "recipes show"])
def test_recipes_are_completed_and_files_beside_them(tmp_path: Path, command: str) -> None:
    for name in ("shop.yaml", "other.txt"):
        (tmp_path / name).touch()
    assert completed(f"glta {command} ", tmp_path) == [*sorted(shipped_recipes()), "shop.yaml"]
    assert completed(f"glta {command} sh", tmp_path) == ["shop.yaml"]


def test_files_in_folders_are_completed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "shop.yaml").touch()
    assert completed("glta finetune --recipe mi", tmp_path) == ["mine/"]
    assert completed("glta finetune --recipe mine/", tmp_path) == ["mine/shop.yaml"]


def test_runs_are_completed_from_the_workspace_of_the_command_line(tmp_path: Path) -> None:
    for root, names in (("one", ["shop", "team/shop", "trial"]), ("two", ["other"])):
        for name in names:
            path = tmp_path / root / "runs" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    one = str(tmp_path / "one")
    assert completed("glta evaluate --run ", tmp_path, GLTA_DATA_DIR=one) == ["shop", "team/shop", "trial"]
    assert completed("glta runs show tr", tmp_path, GLTA_DATA_DIR=one) == ["trial"]
    two = tmp_path / "two"
    assert completed(f"glta evaluate --data-dir {two} --run ", tmp_path, GLTA_DATA_DIR=one) == ["other"]


def test_components_are_completed(tmp_path: Path) -> None:
    datasets = sorted(each.name for each in installed().components if each.kind == "dataset")
    assert completed("glta prepare ", tmp_path) == datasets
    assert completed("glta plugins show ba", tmp_path) == ["backbone", "baseline"]
    assert "ease" in completed("glta plugins show baseline e", tmp_path)
    assert "popularity,ease" in completed("glta evaluate --baselines popularity,e", tmp_path)


def test_the_script_is_shown_and_its_options_are_in_nobodys_way() -> None:
    def glta(option: str) -> str:
        # Typer looks for the shell that the command was given in: one that stays until it is done.
        line = f"{shlex.quote(sys.executable)} -m glta_cli {option}; exit"
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True).stdout

    assert "complete -o default -F _glta_completion glta" in glta("--show-completion")
    shown = glta("--help")
    assert "--show-completion" not in shown
    assert "glta --install-completion" in shown
