"""A finished run stays what it is, whatever fails or changes beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from glta_cli.core.errors import GltaError, InputError
from glta_cli.main import app
from glta_cli.stages.finetune import Finetune
from glta_cli.stages.lineage import STAGES
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace


@pytest.fixture
def glta() -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


@pytest.fixture
def shop(
    run_toy: Callable[..., Pipeline],
    tiny_settings: dict[str, Any],
    toy_table: Path,
    tmp_path: Path,
    workspace_root: Path,
) -> Path:
    """A finished run `shop` of a log of its own, in a workspace of its own; gives the recipe, the log beside it."""
    shutil.copytree(run_toy().workspace.root / "stages", workspace_root / "stages")
    source = tmp_path / "source"
    shutil.copytree(toy_table, source)
    recipe = tmp_path / "shop.yaml"
    settings = {**tiny_settings, "dataset": {"name": "table", "source": str(source)}}
    recipe.write_text(yaml.safe_dump(settings))
    CliRunner().invoke(app, ["recommend", "--user", "u7", "--recipe", str(recipe)], catch_exceptions=False)
    return recipe


def stored(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Workspace().run_path(name).read_text())
    return content


def test_a_typo_leaves_the_finished_run_to_answer_and_makes_none(glta: Callable[..., Any], shop: Path) -> None:
    before = glta("recommend", "--user", "u7", "--json").stdout
    mistyped = ("--set", "backbone.options.model=./nope", "--set", "backbone.name=huggingface")
    for name in ("typo", "shop"):
        with pytest.raises(GltaError):
            glta("recommend", "--user", "u7", "--recipe", str(shop), *mistyped, "--run", name)
    assert Workspace().run_names() == ["shop"]
    assert glta("recommend", "--user", "u7", "--json").stdout == before


def test_a_run_that_fails_half_way_is_marked_until_it_goes_on(
    glta: Callable[..., Any], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A seed of its own: what other tests trained from theirs would be found.
    changed = ("recommend", "--user", "u7", "--recipe", str(shop), "--set", "seed=7301")
    before = glta("recommend", "--user", "u7", "--json").stdout

    def fails(*_: object) -> None:
        raise GltaError("the model has no room", location="cuda:0")

    with monkeypatch.context() as patch:
        patch.setattr(Finetune, "run", fails)
        with pytest.raises(GltaError, match="no room"):
            glta(*changed)
        assert "index" not in stored("shop")["stages"]
        assert stored("shop")["failed"] == "cuda:0: the model has no room"
    again = glta("recommend", "--user", "u7", "--json")
    assert again.stdout == before
    assert "it answers as it was before" in " ".join(again.stderr.split())
    glta(*changed)
    assert "failed" not in stored("shop")
    assert "before" not in stored("shop")
    after = glta("recommend", "--user", "u7", "--json")
    assert after.stdout != before
    assert "warning" not in after.stderr


def test_a_finished_run_is_measured_and_asked_without_its_source(
    glta: Callable[..., Any], shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = json.loads(glta("evaluate", "--run", "shop", "--json").stdout)
    answered = glta("recommend", "--user", "u7", "--run", "shop", "--json").stdout
    shutil.rmtree(tmp_path / "source")
    shop.unlink()
    copy = tmp_path / "copy"
    shutil.copytree(Workspace().root, copy)
    monkeypatch.chdir(copy)
    for more in ((), ("--set", "evaluate.cutoffs=[10, 20]")):
        again = glta("evaluate", "--run", "shop", "--json", "--data-dir", str(copy), *more)
        figures = json.loads(again.stdout)
        assert (figures["run"], figures["dataset"]) == ("shop", "table")
        assert figures["models"]["glta"]["ndcg@10"] == measured["models"]["glta"]["ndcg@10"]
        assert "▸" not in again.stderr
    asked = glta("recommend", "--user", "u7", "--run", "shop", "--json", "--data-dir", str(copy))
    assert asked.stdout == answered
    assert asked.stderr == ""


def test_a_source_that_changed_is_told_and_taken_in_only_on_request(
    glta: Callable[..., Any], shop: Path, tmp_path: Path
) -> None:
    before, run = glta("recommend", "--user", "u7", "--json"), stored("shop")
    log = tmp_path / "source" / "interactions.csv"
    log.touch()
    assert "changed since" not in glta("recommend", "--user", "u7").stderr
    log.write_text(log.read_text() + "u7,i30,1700000000\n")
    told = f"warning: {log} changed since run shop was made from it; "
    told += "glta update answers from what it says now, --refresh trains on it anew"
    asked = glta("recommend", "--user", "u7", "--json")
    assert (asked.stdout, " ".join(asked.stderr.split())) == (before.stdout, told)
    named = told.replace("glta update", "glta update --run shop")
    for words in (("recommend", "--user", "u7"), ("evaluate",)):
        assert named in " ".join(glta(*words, "--run", "shop").stderr.split())
    elsewhere = glta("recommend", "--user", "u7", "--data-dir", str(Workspace().root))
    assert f"glta update --data-dir {Workspace().root} answers" in " ".join(elsewhere.stderr.split())
    measured = glta("evaluate", "--json")
    assert told in " ".join(measured.stderr.split())
    assert not any(f"▸ {stage}" in measured.stderr for stage in STAGES)
    assert stored("shop") == run
    taken_in = json.loads(glta("recommend", "--user", "u7", "--json", "--refresh").stdout)
    assert taken_in["history"][0]["item"] == "i30"
    after = glta("recommend", "--user", "u7", "--json")
    assert (json.loads(after.stdout), after.stderr) == (taken_in, "")


def test_a_run_half_done_says_why_it_is_made_again_from_a_log_that_changed(
    glta: Callable[..., Any], shop: Path, tmp_path: Path
) -> None:
    said = "the data changed since run half was made as far as pretrain-graph: what is made from it is made again"
    half = ("--recipe", str(shop), "--run", "half")
    for expected in (False, False, True):
        if expected:
            log = tmp_path / "source" / "interactions.csv"
            log.write_text(log.read_text() + "u7,i30,1700000000\n")
        asked = " ".join(glta("pretrain-graph", *half).stderr.split())
        assert (f"note: {said}" in asked) is expected
        assert ("pretrain-graph: done" in asked) is expected


def test_a_log_that_another_version_prepares_otherwise_is_not_said_to_have_changed(
    glta: Callable[..., Any], shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = ("--recipe", str(shop), "--run", "half")
    glta("pretrain-graph", *half)
    monkeypatch.setattr("glta_cli.data.preparation.SCHEMA_VERSION", 1 << 20)
    asked = " ".join(glta("pretrain-graph", *half).stderr.split())
    assert "the data are prepared otherwise now than when run half was made as far as pretrain-graph" in asked
    assert "the data changed" not in asked


def test_a_run_of_0_1_is_told_of_changes_by_its_hashes(glta: Callable[..., Any], shop: Path, tmp_path: Path) -> None:
    content = {key: value for key, value in stored("shop").items() if key in ("name", "recipe", "stages")}
    Workspace().run_path("shop").write_text(json.dumps(content))
    assert glta("recommend", "--user", "u7").stderr == ""
    log = tmp_path / "source" / "interactions.csv"
    log.write_text(log.read_text() + "u7,i30,1700000000\n")
    assert "changed since run shop" in " ".join(glta("recommend", "--user", "u7").stderr.split())


def test_answers_and_errors_name_run_and_dataset(glta: Callable[..., Any], shop: Path) -> None:
    answer = json.loads(glta("recommend", "--user", "u7", "--json").stdout)
    assert (answer["run"], answer["dataset"]) == ("shop", "table")
    assert "by run shop (dataset table)" in glta("recommend", "--user", "u7").stdout
    for options in ((), ("--recipe", str(shop))):
        with pytest.raises(InputError, match=r"no user is called '42' in run shop \(dataset table\)"):
            glta("recommend", "--user", "42", *options)
