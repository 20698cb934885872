"""`glta prepare`: what it prints, where it starts from, and the command it names next."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import typer
from typer.testing import CliRunner

from glta_cli.commands.prepare import prepare
from glta_cli.core.errors import InputError, InputErrors
from glta_cli.recipe.files import load_recipe
from glta_cli.recipe.schema import SplitSettings

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(prepare)


@pytest.fixture
def movies(tmp_path: Path) -> Path:
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    rows = [(user, item, 1 + (user + item) % 5, 100 + item) for user in range(1, 9) for item in range(1, 13)]
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return folder


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def next_words(stderr: str) -> list[str]:
    return shlex.split(re.search(r"next: (glta pretrain-graph.*)", stderr).group(1))[2:]


def next_settings(stderr: str) -> list[str]:
    words = next_words(stderr)
    return words[: words.index("--run")] if "--run" in words else words


def test_counts_go_to_stdout_and_remarks_to_stderr(workspace_root, movies):
    result = run("movielens-100k", "--source", str(movies), "--min-rating", "none", "--json")
    shown = json.loads(result.stdout)
    assert shown.pop("account")["rows"] == {"read": 96, "kept": 96, "lost": 0}
    assert shown == {
        "dataset": "movielens-100k",
        "users": 8,
        "items": 12,
        "interactions": 96,
        "density": 1.0,
        "dropped": {},
        "split": {"train": 80, "valid": 8, "test": 8},
    }
    assert "next: glta pretrain-graph" in result.stderr


def test_the_table_shows_what_was_dropped(workspace_root, movies):
    result = run("movielens-100k", "--source", str(movies), "--min-rating", "4", "--kcore", "2")
    assert re.search(r"dropped: rating below min_rating\W+\d+", result.stdout)
    assert str(workspace_root) in result.stderr


def test_a_dataset_starts_from_the_recipe_about_it(workspace_root, movies):
    base = load_recipe("quickstart").recipe.dataset
    assert base.name == "movielens-100k"
    assert base.min_rating == 3
    first = run("movielens-100k", "--source", str(movies), "--json")
    assert json.loads(first.stdout)["dropped"]["rating below min_rating"] > 0
    assert next_settings(first.stderr) == []
    again = run("--recipe", "quickstart", "--json")
    assert "up to date" in again.stderr
    assert json.loads(again.stdout) == json.loads(first.stdout)


def test_the_next_command_names_every_difference(workspace_root, movies):
    changed = run("movielens-100k", "--source", str(movies), "--min-rating", "none", "--seed", "3", "--kcore", "2")
    named = next_settings(changed.stderr)
    assert named[::2] == ["--set"] * 3
    assert set(named[1::2]) == {"dataset.min_rating=null", "dataset.kcore=2", "dataset.split.seed=3"}
    again = run("--recipe", "quickstart", *named)
    assert "up to date" in again.stderr


def test_the_next_command_of_a_table_names_its_source(workspace_root, tmp_path):
    source = tmp_path / "my log.csv"
    source.write_text("who,what\na,x\nb,x\n")
    first = run("table", "--source", str(source), "-o", "user=who", "-o", "item=what")
    again = run("--recipe", "quickstart", *next_settings(first.stderr))
    assert "up to date" in again.stderr
    assert "warning: no item has a text: runs go without what needs titles or descriptions" in again.stderr


def test_the_next_command_leaves_the_run_of_other_data_alone(workspace_root, movies, tmp_path):
    source = tmp_path / "my log.csv"
    source.write_text("user,item\na,x\nb,x\n")
    assert next_words(run("table", "--source", str(source)).stderr)[-2:] == ["--run", "my-log"]
    changed = run("movielens-100k", "--source", str(movies), "--kcore", "2")
    assert next_words(changed.stderr)[-2:] == ["--run", "quickstart-2"]
    assert next_words(run("movielens-100k", "--source", str(movies)).stderr) == []


def test_a_wrong_setting_of_the_loader_is_named_once_and_as_it_was_given(workspace_root):
    with pytest.raises(InputErrors) as caught:
        run("table", "-o", "usr=x")
    assert str(caught.value) == "-o usr: unknown key\n  hint: did you mean 'user'?"


def test_a_given_split_is_asked_for_by_its_name_and_kept_by_the_next_command(workspace_root, tmp_path):
    source = tmp_path / "split"
    source.mkdir()
    (source / "train.txt").write_text("0 1 2 3\n1 1 2 3\n")
    (source / "test.txt").write_text("0 4\n1 5\n")
    first = run("lightgcn-split", "--source", str(source), "--split", "given", "--json")
    assert json.loads(first.stdout)["split"] == {"train": 4, "valid": 2, "test": 2}
    assert "the given split has no validation part: 2 of its training interactions" in " ".join(first.stderr.split())
    again = run("--recipe", "quickstart", *next_settings(first.stderr), "--json")
    assert "up to date" in again.stderr
    assert json.loads(again.stdout) == json.loads(first.stdout)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["movielens-10k"], "no dataset is called 'movielens-10k'"),
        ([], "which dataset"),
        (["table", "--recipe", "quickstart"], "the recipe is about movielens-100k, not table"),
        (["movielens-100k", "--min-rating", "high"], "valid number"),
        (["movielens-100k", "--split", "ratios"], "did you mean 'ratio'"),
        (["table", "-o", "usr=x"], "did you mean 'user'"),
        (["movielens-100k", "--source", "MOVIES", "--split", "given"], "comes without a split of its own"),
        (["movielens-100k", "--set", "dataset.split.seed=-1"], "has to be greater than or equal to 0, not -1"),
    ],
)
def test_wrong_input_is_explained(workspace_root, movies, arguments, problem):
    with pytest.raises((InputError, InputErrors)) as caught:
        run(*(str(movies) if word == "MOVIES" else word for word in arguments))
    assert problem in str(caught.value)


def test_a_split_has_no_negative_seed(workspace_root):
    result = run("movielens-100k", "--seed", "-1")
    assert result.exit_code == 2
    assert "--seed" in result.stderr


def test_help_names_every_split_of_the_schema() -> None:
    [option] = [each for each in typer.main.get_command(app).params if each.name == "split"]
    words = get_args(SplitSettings.model_fields["strategy"].annotation)
    assert option.metavar == "|".join(words)
