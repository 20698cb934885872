"""A product that the item file lists no more leaves the answers with the update, until it is listed again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.numpy import load_file
from typer.testing import CliRunner

from glta_cli.core.errors import InputError
from glta_cli.main import app
from glta_cli.serving.index import DELISTED, VECTORS, Index
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace


def glta(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def update(*options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(glta("update", "--json", *options).stdout)
    return found


def recommended(user: str, *options: str) -> list[str]:
    answer = json.loads(glta("recommend", "--user", user, "-k", "40", "--json", *options).stdout)
    return [each["item"] for each in answer["recommendations"]]


def without(source: Path, item: str) -> str:
    """Take an item out of the item file; its rows stay in the log. Gives its line."""
    file = source / "items.csv"
    lines = file.read_text().splitlines(keepends=True)
    [gone] = [line for line in lines if line.startswith(f"{item},")]
    file.write_text("".join(line for line in lines if line != gone))
    return gone


def test_it_leaves_the_answers_and_comes_back(shop: Path) -> None:
    before = recommended("u59")
    line = without(shop, "i5")
    said = glta("update").stdout
    assert "1  item listed no more, such as i5" in said
    assert "without a title" not in said
    assert recommended("u59") == [item for item in before if item != "i5"]
    assert "nothing new" in glta("update").stdout

    # It stays out while other things come.
    with (shop / "interactions.csv").open("a") as log:
        log.write("n1,i1,1700000000\n")
    found = update()
    assert (found["delisted"], found["relisted"], found["new"]["users"]) == (0, 0, 1)
    assert "i5" not in recommended("n1")

    with (shop / "items.csv").open("a") as items:
        items.write(line)
    assert "1  item listed again, such as i5" in glta("update").stdout
    assert recommended("u59") == before


def test_what_it_was_called_is_kept(shop: Path) -> None:
    with (shop / "interactions.csv").open("a") as log:
        log.write("u40,i5,1700000000\n")
    update()
    without(shop, "i5")
    update()
    answer = json.loads(glta("recommend", "--user", "u40", "--json").stdout)
    assert answer["history"][0] == {"item": "i5", "title": "Space film 5"}


def test_one_that_somebody_met_since_stays(shop: Path) -> None:
    without(shop, "i5")
    with (shop / "interactions.csv").open("a") as log:
        log.write("n1,i5,1700000000\n")
    assert update()["delisted"] == 0
    assert "i5" in recommended("u59")
    # And stays once that is no news any more.
    with (shop / "interactions.csv").open("a") as log:
        log.write("n2,i6,1700000000\n")
    assert update()["delisted"] == 0
    assert "i5" in recommended("u59")


def test_one_that_is_listed_without_a_title_stays(shop: Path) -> None:
    file = shop / "items.csv"
    file.write_text(file.read_text().replace("i5,Space film 5\n", "i5,\n"))
    said = glta("update").stdout
    assert "1  item without a title by now" in said
    assert "i5: was 'Space film 5'" in said
    assert "another title" not in said
    assert "listed no more" not in said
    assert "i5" in recommended("u59")
    without(shop, "i5")
    assert update()["delisted"] == 1
    assert "i5" not in recommended("u59")


def test_one_that_was_never_listed_stays(shop: Path) -> None:
    with (shop / "interactions.csv").open("a") as log:
        log.write("n1,never-listed,1700000000\nn1,i1,1700000000\n")
    assert update()["delisted"] == 0
    assert "never-listed" in recommended("u59")


def test_a_list_that_was_cut_short_is_refused(shop: Path) -> None:
    file = shop / "items.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:20]))
    with pytest.raises(InputError, match="says nothing of 21 of the 40 items that have a text") as caught:
        glta("update")
    assert "out of the answers" in caught.value.problem
    assert update("--vanished")["delisted"] == 21


def test_it_stays_out_when_the_run_is_trained_again(shop: Path) -> None:
    without(shop, "i5")
    with (shop / "interactions.csv").open("a") as log:
        log.write("n1,i1,1700000000\n")
    assert "i5" in recommended("u59")
    assert json.loads(glta("update", "--train", "--json").stdout)["trained"] is True
    assert "i5" not in recommended("u59")
    assert "nothing new" in glta("update").stdout
    assert "i5" not in recommended("u59")


@pytest.fixture
def plain_shop(
    tiny_settings: dict[str, Any], toy_table: Path, tmp_path: Path, workspace_root: Path
) -> tuple[Path, Path]:
    """A finished run `plain` without a language model: the folder of its log, and its recipe."""
    source, recipe = tmp_path / "source", tmp_path / "plain.yaml"
    shutil.copytree(toy_table, source)
    settings = {**tiny_settings, "dataset": {"name": "table", "source": str(source)}}
    settings |= {"finetune": {"enabled": False}, "fusion": {"terms": ["ease"]}}
    recipe.write_text(yaml.safe_dump(settings))
    assert "i5" in recommended("u59", "--recipe", str(recipe))
    return source, recipe


def test_no_moment_of_a_training_answers_with_it(
    plain_shop: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(plain_shop[0], "i5")
    with (plain_shop[0] / "interactions.csv").open("a") as log:
        log.write("n1,i1,1700000000\n")
    update()
    recorded: list[Run] = []
    save = Workspace.save_run

    def saved(self: Workspace, run: Run) -> None:
        recorded.append(run)
        save(self, run)

    monkeypatch.setattr(Workspace, "save_run", saved)
    assert json.loads(glta("update", "--train", "--json").stdout)["trained"] is True
    # As if it was killed right after any of them; one without an index makes it when it is asked.
    answering = {found.stages[SERVING] for run in recorded if (found := run.last_finished) and SERVING in found.stages}
    assert len(answering) == 2
    for name in answering:
        artefact = Workspace().published(SERVING, name)
        assert artefact is not None
        index = Index(artefact)
        assert index.item_ids.tolist().index("i5") in load_file(artefact.file(VECTORS))[DELISTED]


def test_it_stays_out_when_the_source_is_read_again(plain_shop: tuple[Path, Path]) -> None:
    source, recipe = plain_shop
    line = without(source, "i5")
    with (source / "interactions.csv").open("a") as log:
        log.write("n1,i1,1700000000\n")
    update()
    assert "i5" not in recommended("u59", "--refresh")
    assert "i5" not in recommended("u59", "--recipe", str(recipe), "--run", "plain")
    assert "nothing new" in glta("update").stdout
    with (source / "items.csv").open("a") as items:
        items.write(line)
    assert "i5" in recommended("u59", "--refresh")


def test_it_takes_no_place_of_a_list_that_is_read_out_row_by_row(
    run_toy: Callable[..., Pipeline], toy_table: Path, tmp_path: Path
) -> None:
    workspace = run_toy("finetune.readout=autoregressive", stage="serving-index", name="rows").workspace
    root, source = tmp_path / "workspace", tmp_path / "source"
    shutil.copytree(workspace.root, root)
    shutil.copytree(toy_table, source)
    options = ("--run", "rows", "--data-dir", str(root))
    best = recommended("u59", *options)[0]
    without(source, best)
    update("--source", str(source), *options)
    assert best not in recommended("u59", *options)
