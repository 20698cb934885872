"""What the README shows works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from glta_cli import testing
from glta_cli.main import app
from glta_cli.plugin import HOOK_OF_KIND


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme, flags=re.DOTALL)


def commands(readme: str) -> list[list[str]]:
    found = [
        shlex.split(line.removeprefix("$ "), comments=True)
        for block in blocks(readme, "console")
        for line in block.replace("\\\n", " ").splitlines()
        # Where commands have a prompt, what has none is output.
        if line.startswith("$ glta ") or (line.startswith("glta ") and "$ " not in block)
    ]
    return [words[1:] for words in found]


def test_every_command_of_the_readme_parses(readme: str) -> None:
    root = typer.main.get_command(app)
    shown = commands(readme)
    assert {words[0] for words in shown} >= {
        "prepare", "pretrain-graph", "align", "finetune", "evaluate", "recommend",
    }  # fmt: skip
    for words in shown:
        with root.make_context("glta", list(words)) as context:
            name, command, rest = root.resolve_command(context, words)  # type: ignore[attr-defined]
            assert name == words[0]
            command.make_context(name, rest).close()


def test_the_recipes_the_readme_names_are_shipped(readme: str, repository: Path) -> None:
    named = set(re.findall(r"recipes/[\w/-]+\.yaml", readme))
    assert named
    assert all((repository / path).is_file() for path in named)


def test_make_quickstart_runs_the_quickstart_whatever_ran_last(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    [recommend] = re.findall(r"/glta (recommend .*)", makefile)
    assert shlex.split(recommend) == ["recommend", "--user", "42", "--recipe", "quickstart"]


def glta(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"GLTA_DATA_DIR": str(folder / "workspace")}
    return subprocess.run(
        [sys.executable, "-m", "glta_cli", *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


SMALL = [
    "--set", "backbone.name=tiny",
    "--set", "interests={profile: false, prediction: false}",
    "--set", "graph.training.epochs=2",
    "--set", "align={prompts: 8, validation_prompts: 4, training: {epochs: 1}}",
    "--set", "finetune.training.epochs=1",
]  # fmt: skip


def test_own_data_in_five_lines(readme: str, toy_table: Path, tmp_path: Path) -> None:
    recipe = next(block for block in blocks(readme, "yaml") if "shop.yaml" in block)
    assert len(recipe.strip().splitlines()) == 5
    (tmp_path / "shop.yaml").write_text(recipe)
    log = (toy_table / "interactions.csv").read_text().replace("user,item", "customer,sku", 1)
    (tmp_path / "log.csv").write_text(log.replace("u7,", "C-1007,"))
    (tmp_path / "products.csv").write_text((toy_table / "items.csv").read_text())

    command = next(words for words in commands(readme) if "shop.yaml" in words)
    answer = json.loads(glta(tmp_path, *command, *SMALL, "--json"))

    assert answer["user"] == "C-1007"
    assert len(answer["recommendations"]) == 10


def test_the_plugin_of_the_readme_is_the_example(readme: str, repository: Path) -> None:
    shown = dict(re.findall(r"^`(plugins/[^`]+)`:\n\n```\w+\n(.*?)```", readme, flags=re.DOTALL | re.MULTILINE))
    package = repository / "plugins" / "glta-example"
    files = [package / "pyproject.toml", *sorted((package / "glta_example").glob("*.py"))]
    assert shown == {file.relative_to(repository).as_posix(): file.read_text(encoding="utf-8") for file in files}


def test_the_test_of_the_readmes_plugin_is_the_examples(readme: str, repository: Path) -> None:
    [block] = [block for block in blocks(readme, "python") if block.startswith("from glta_cli.testing")]
    import_line, test = block.split("\n\n\n")
    written = (repository / "plugins/glta-example/tests/test_simgcl.py").read_text(encoding="utf-8")
    assert import_line in written
    assert test in written


def test_the_readme_lists_every_kind_of_plugin_with_its_hook_and_check(readme: str) -> None:
    rows = re.findall(r"^\| (\w+) \| `(glta_\w+)` \|.*\| `(check_\w+)` \|$", readme, flags=re.MULTILINE)
    assert rows == [(kind, hook, f"check_{kind}") for kind, hook in HOOK_OF_KIND.items()]
    assert set(testing.__all__) == {check for _, _, check in rows} | {"ContractError"}
