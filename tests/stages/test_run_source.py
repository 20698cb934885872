"""Where a run is read from, once an update was named another source or was piped one in."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from glta_cli.core.errors import InputError
from glta_cli.main import app
from glta_cli.stages.recipe_hints import in_words_of_recipe
from glta_cli.workspace.workspace import Workspace

OPTION = re.compile(r"(?<![\w-])(-o \w+=|--set \w|--(min-rating|kcore|split|most-dropped)\b)")


def glta(*arguments: str, piped: str | None = None) -> Any:
    return CliRunner().invoke(app, list(arguments), input=piped, catch_exceptions=False)


def update(*options: str, piped: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(glta("update", "--json", *options, piped=piped).stdout)
    return found


@pytest.fixture
def elsewhere(shop: Path, tmp_path: Path) -> Path:
    """A copy of the log with a new user, which an update of the run was named."""
    other = tmp_path / "elsewhere"
    shutil.copytree(shop, other)
    with (other / "interactions.csv").open("a") as log:
        log.write("n1,i1,1700000000\nn1,i2,1700000001\n")
    assert update("--source", str(other))["new"]["users"] == 1
    return other


def test_refresh_reads_what_the_update_was_named(elsewhere: Path) -> None:
    with (elsewhere / "interactions.csv").open("a") as log:
        log.write("n2,i3,1700000002\n")
    done = glta("recommend", "--user", "n2", "--run", "shop", "--refresh", "--json")
    assert json.loads(done.stdout)["user"] == "n2"
    assert f"reading {elsewhere}" in done.stderr.replace("\n", "")
    assert "other settings" not in done.stderr
    assert update()["new"] == {}  # it is still what the run is read from


def test_refresh_reads_another_source_where_that_is_asked_for(elsewhere: Path, shop: Path) -> None:
    with pytest.raises(InputError, match="no user is called 'n1'"):
        glta("recommend", "--user", "n1", "--run", "shop", "--refresh", "--set", f"dataset.source={shop}/.")


def test_refresh_names_the_file_that_is_gone(elsewhere: Path) -> None:
    shutil.rmtree(elsewhere)
    with pytest.raises(InputError, match="run shop was brought up to date from it") as caught:
        glta("recommend", "--user", "n1", "--run", "shop", "--refresh")
    assert caught.value.location == str(elsewhere)
    assert "glta update --run shop --source FILE" in str(caught.value.hint)


def test_a_log_that_is_piped_in_is_read_once(
    tiny_settings: dict[str, Any], toy_table: Path, tmp_path: Path, workspace_root: Path
) -> None:
    source, recipe = tmp_path / "source", tmp_path / "piped.yaml"
    shutil.copytree(toy_table, source)
    log = source / "interactions.csv"
    dataset = {"name": "table", "source": str(log), "options": {"items": "items.csv"}}
    recipe.write_text(yaml.safe_dump({**tiny_settings, "dataset": dataset, "align": {"enabled": False}}))
    glta("recommend", "--user", "u7", "--recipe", str(recipe))
    found = update("--source", "-", piped=log.read_text() + "n1,i1,1700000000\n")
    assert (found["new"]["users"], found["new"]["titles"], found["delisted"]) == (1, 0, 0)
    assert "Space film 1" in glta("recommend", "--user", "n1").stdout
    run = Workspace().required_run("piped")
    assert run.read_from is None
    assert all(Path(file).parent == source for file in run.sources)
    # The next one reads what the run was made from.
    with log.open("a") as file:
        file.write("n2,i1,1700000000\n")
    assert update()["new"]["users"] == 1
    assert "n2" in glta("recommend", "--user", "n2").stdout
    # A training, too, reads it once.
    trained = json.loads(
        glta("update", "--train", "--source", "-", "--json", piped=log.read_text() + "n3,i1,1700000000\n").stdout
    )
    assert trained["trained"] is True
    assert Workspace().required_run("piped").read_from is None
    assert "n3" in glta("recommend", "--user", "n3").stdout


def test_what_is_wrong_with_the_log_is_told_in_words_of_the_recipe(shop: Path) -> None:
    log = shop / "interactions.csv"
    log.write_text(log.read_text().replace("user,item,timestamp", "who,item,timestamp"))
    with pytest.raises(InputError, match="no column is known as user") as caught:
        glta("update")
    hint = str(caught.value.hint)
    assert "-o " not in hint
    assert "dataset.options.user=" in hint
    assert "glta recommend --recipe FILE --run shop" in hint


def test_what_is_wrong_with_the_log_is_told_by_the_option_every_command_has(
    tiny_recipe_file: Path, workspace_root: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_text("who,item\na,b\n")
    with pytest.raises(InputError, match="no column is known as user") as caught:
        glta("recommend", "--user", "a", "--recipe", str(tiny_recipe_file), "--set", f"dataset.source={log}")
    assert "--set dataset.options.user=" in str(caught.value.hint)
    log.write_text("user,item\na,b\n")
    options = ("--set", f"dataset.source={log}", "--set", "dataset.kcore=3")
    with pytest.raises(InputError) as caught:
        glta("evaluate", "--recipe", str(tiny_recipe_file), *options)
    assert str(caught.value.hint) == "look at the file, or lower dataset.kcore and dataset.min_rating"


def test_no_option_of_prepare_is_left_in_what_loading_says(repository: Path) -> None:
    folders = ("plugins/glta_datasets", "glta_cli/data", "glta_cli/plugin")
    text = "\n".join(file.read_text() for folder in folders for file in (repository / folder).glob("*.py"))
    said = [line for line in text.splitlines() if OPTION.search(line) and "Settings" not in line]
    assert len(said) > 15
    left = [line for line in said if OPTION.search(in_words_of_recipe(line))]
    assert left == []
    assert in_words_of_recipe("--min-rating none keeps all") == "dataset.min_rating=null keeps all"
    assert in_words_of_recipe("or lower --kcore and --min-rating") == "or lower dataset.kcore and dataset.min_rating"
    assert in_words_of_recipe("`--split given` keeps them") == "`dataset.split.strategy=given` keeps them"
