"""Where the split is in time every row knows the validation items when the test is ranked, and never before."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glta_baselines.ease import Ease
from glta_baselines.popularity import Popularity
from typer.testing import CliRunner

from glta_cli.core.files import SEAL, write_sealed_json
from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.fitted_rows import model_rows
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.rows import BaselineRow
from glta_cli.evaluation.tables import report_tables
from glta_cli.evaluation.tuning import tuned
from glta_cli.main import app
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.fusion import choose_weights
from glta_cli.serving.index import Index
from glta_cli.stages.context import StageContext, read_embeddings
from glta_cli.stages.index import read_out
from glta_cli.stages.pipeline import Pipeline
from glta_cli.training.loop import pick_device
from glta_cli.workspace.workspace import Workspace

IN_TIME = "dataset.split.strategy=leave-last-out"
LINEAR = ("item-knn", "text-only", "ease", "ease-text", "ials")
ENCODERS = ("lightgcn-softmax", "alpharec", "sasrec")


def split_of(strategy: str) -> str:
    return f"dataset.split.strategy={strategy}"


def context_of(pipeline: Pipeline) -> StageContext:
    return StageContext(pipeline.recipe, pipeline.workspace, pick_device("cpu"), dict(pipeline.reached()))


def moved(pipeline: Pipeline, row: str) -> np.ndarray:
    """Of which users the scores at test time are others than by training histories."""
    [made] = compared_rows({row: {}}, pipeline.recipe)
    [fitted] = made.fitted(pipeline)
    everyone = np.arange(pipeline.prepared().user_count)
    at_test, before = fitted.score(everyone), fitted.validation_score(everyone)
    return (np.abs(at_test - before) > 1e-6 * np.abs(before).max()).any(axis=1)


# --------------------------------------------------------------------------------------------- which histories


@pytest.mark.parametrize("strategy", ["leave-last-out", "temporal"])
def test_histories_at_test_are_training_and_then_validation_items(
    run_toy: Callable[..., Pipeline], strategy: str
) -> None:
    prepared = run_toy(split_of(strategy), stage="prepare").prepared()
    train, validation, known = prepared.split("train"), prepared.split("valid"), prepared.histories_at_test()
    assert validation.counts.any()
    for user in range(prepared.user_count):
        assert known.of(user).tolist() == [*train.of(user), *validation.of(user)]


def test_a_split_at_random_leaves_them_at_training_items(run_toy: Callable[..., Pipeline]) -> None:
    prepared = run_toy(stage="prepare").prepared()
    np.testing.assert_array_equal(prepared.histories_at_test().items, prepared.split("train").items)


# -------------------------------------------------------------------------------------------------- every row


@pytest.mark.parametrize("row", [*LINEAR, *ENCODERS])
def test_a_row_knows_a_user_s_validation_item_at_test_time_and_not_when_it_is_tuned(
    run_toy: Callable[..., Pipeline], row: str
) -> None:
    pipeline = run_toy(IN_TIME, stage="pretrain-graph")
    validation = pipeline.prepared().split("valid")
    changed = moved(pipeline, row)
    with_one = validation.counts > 0
    assert changed[with_one].mean() > 0.9
    if row in LINEAR:
        assert not changed[~with_one].any()
    else:  # a neighbour's new edge moves a node too
        assert changed[with_one].all()


@pytest.mark.parametrize("row", [*LINEAR, *ENCODERS])
def test_where_the_split_is_at_random_a_row_knows_training_items_alone(
    run_toy: Callable[..., Pipeline], row: str
) -> None:
    assert not moved(run_toy(stage="pretrain-graph"), row).any()


def test_popularity_counts_training_interactions_whatever_the_split(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(IN_TIME, stage="prepare")
    [row] = compared_rows({"popularity": {}}, pipeline.recipe)
    [fitted] = row.fitted(pipeline)
    train = pipeline.prepared().split("train")
    np.testing.assert_array_equal(fitted.score(np.array([0]))[0], np.bincount(train.items, minlength=train.item_count))


def test_a_baseline_written_for_0_1_is_given_those_histories(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Interactions] = []
    scorer = Popularity.scorer
    monkeypatch.setattr(
        Popularity, "scorer", lambda self, learnt, train: given.append(train) or scorer(self, learnt, train)
    )
    pipeline = run_toy(IN_TIME, stage="pretrain-graph")
    evaluate_run(
        pipeline.sibling("alone", _encoder_alone(pipeline.recipe)), compared_rows({"popularity": {}}, pipeline.recipe)
    )
    [histories] = given
    np.testing.assert_array_equal(histories.items, pipeline.prepared().histories_at_test().items)


def _encoder_alone(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update={"enabled": False})})


# ------------------------------------------------------------------------------------------------- the model


def test_the_index_reads_users_out_with_their_validation_items(run_toy: Callable[..., Pipeline]) -> None:
    context = context_of(run_toy(IN_TIME))
    index = Index(context.artefacts["index"])
    everyone = np.arange(context.prepared.user_count)
    expected = read_out(context, context.embeddings_at_test(), context.histories_at_test)
    found = index.language_scorer()(everyone)
    np.testing.assert_allclose(found, expected.scorer()(everyone), rtol=1e-4, atol=1e-5)
    before = read_out(context, context.embeddings(serving=True), context.train).scorer()(everyone)
    with_one = context.validation.counts > 0
    assert (np.abs(found - before).max(axis=1) > 1e-4)[with_one].all()
    graph = read_embeddings(context.artefacts["pretrain-graph"], at_test=True).scorer()
    np.testing.assert_array_equal(index.graph_scorer()(everyone), graph(everyone))


def test_fusion_is_chosen_on_validation_by_training_histories(run_toy: Callable[..., Pipeline]) -> None:
    context = context_of(run_toy(IN_TIME))
    language = read_out(context, context.embeddings(serving=True), context.train)
    graph = read_embeddings(context.artefacts["pretrain-graph"])
    chosen = choose_weights(graph.scorer(), language.scorer(context.train), context.train, context.validation, seed=0)
    assert context.artefacts["index"].details["fusion"] == {"starts": chosen.starts, "weights": chosen.weights}


def test_stages_of_a_split_at_random_are_found_as_they_were(run_toy: Callable[..., Pipeline]) -> None:
    drawn, in_time = run_toy(), run_toy(IN_TIME)
    for stage in ("pretrain-graph", "index"):
        assert "histories_at_test" not in drawn.ensure(stage).manifest["settings"]
        assert in_time.ensure(stage).manifest["settings"]["histories_at_test"] == "training and validation"
    assert not [name for name in drawn.ensure("pretrain-graph").manifest["outputs"] if "at-test" in name]


# ------------------------------------------------------------------------------------------------ what is said


def test_the_report_says_what_histories_hold(run_toy: Callable[..., Pipeline]) -> None:
    from rich.console import Console

    def shown(report: dict[str, Any]) -> str:
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(report_tables(report))
        return " ".join(console.export_text().split())

    in_time, drawn = (evaluate_run(run_toy(*switches), []) for switches in ((IN_TIME,), ()))
    assert in_time["histories"] == ["train", "valid"]
    assert "histories at test: training and validation items" in shown(in_time)
    assert drawn["histories"] == ["train"]
    assert "histories at test" not in shown(drawn)


def test_an_index_of_training_histories_is_made_again_before_it_is_compared(
    tiny_recipe_file: Path, workspace_root: Path
) -> None:
    def glta(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    made = ("--recipe", str(tiny_recipe_file), "--set", IN_TIME, "--run", "shop")
    glta("evaluate", *made, "--baselines", "popularity", "--json")
    kept = glta("evaluate", "--run", "shop", "--baselines", "popularity", "--json")
    assert "made again" not in kept.stderr
    assert "done" not in kept.stderr
    run_file = workspace_root / "runs" / "shop.json"
    stored = json.loads(run_file.read_text())
    for stage in ("pretrain-graph", "index"):
        # As 0.1 published them: by training histories, and so under another fingerprint.
        folder = workspace_root / "stages" / stage / stored["stages"][stage]
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["settings"]["histories_at_test"], manifest[SEAL]
        write_sealed_json(folder / "manifest.json", manifest)
        stored["stages"][stage] = folder.name[::-1]
        folder.rename(folder.with_name(folder.name[::-1]))
    run_file.write_text(json.dumps({key: stored[key] for key in ("name", "recipe", "stages")}))
    again = glta("evaluate", "--run", "shop", "--baselines", "popularity", "--json")
    assert "run shop was made when histories at test held training items alone" in " ".join(again.stderr.split())
    assert "✓ pretrain-graph: done" in again.stderr
    assert "✓ index: done" in again.stderr
    assert json.loads(again.stdout)["models"] == json.loads(kept.stdout)["models"]


# ---------------------------------------------------------------------------------------------------- recency


def test_recency_is_tuned_where_the_split_is_in_time_alone(tiny_recipe: Callable[..., Recipe]) -> None:
    def tried(*overrides: str) -> list[Any]:
        recipe = tiny_recipe(*overrides)
        [row] = compared_rows({"ease": recipe.evaluate.baselines.get("ease", {})}, recipe)
        assert isinstance(row, BaselineRow)
        return [(each.made.settings.regularization, each.made.settings.recency) for each in row.candidates()]

    weights = [1.0, 0.9, 0.7, 0.5]
    assert {recency for _, recency in tried()} == {1.0}
    in_time = tried(IN_TIME)
    assert len(in_time) == len(set(in_time)) == 4 * len(tried())
    assert [recency for _, recency in in_time[:4]] == weights
    # A grid of the recipe stands in place of the plugin's own, and leaves this one beside it unless it names it.
    assert tried(IN_TIME, "evaluate.grids.ease.regularization=[5.0]") == [(5.0, weight) for weight in weights]
    assert tried(IN_TIME, "evaluate.grids.ease={regularization: [5.0], recency: [0.8]}") == [(5.0, 0.8)]
    assert {recency for _, recency in tried(IN_TIME, "evaluate.baselines.ease.recency=0.6")} == {0.6}


def test_what_differs_in_recency_alone_is_fitted_once_and_the_best_is_kept(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[float] = []
    fit = Ease.fit
    monkeypatch.setattr(Ease, "fit", lambda self, data: fitted.append(self.settings.regularization) or fit(self, data))
    recipe = tiny_recipe(IN_TIME, "evaluate.grids.ease.regularization=[5.0,50.0,500.0]")
    pipeline = Pipeline("tuned", recipe, Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"ease": {}}, recipe)
    found = tuned(row, pipeline)
    assert fitted == [5.0, 50.0, 500.0]
    assert len(found.tried) == 12
    [kept] = (tmp_path / "w" / "stages" / "baseline").iterdir()
    options = json.loads((kept / "manifest.json").read_text())["settings"]["options"]
    assert options == {"regularization": found.row.settings()["regularization"]}
    # The chosen one ranks by what is kept: nothing is fitted again.
    found.row.fitted(pipeline)
    assert fitted == [5.0, 50.0, 500.0]


@pytest.mark.parametrize("order", ["recency: [1.0, 0.5], regularization: [5.0, 50.0]", "regularization: [5.0, 50.0]"])
def test_what_a_loser_shares_with_the_best_or_with_one_yet_to_be_tried_is_kept(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    fitted: list[float] = []
    fit = Ease.fit
    monkeypatch.setattr(Ease, "fit", lambda self, data: fitted.append(self.settings.regularization) or fit(self, data))
    recipe = tiny_recipe(IN_TIME, f"evaluate.grids.ease={{{order}}}")
    pipeline = Pipeline("tuned", recipe, Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"ease": {}}, recipe)
    tuned(row, pipeline).row.fitted(pipeline)
    assert fitted == [5.0, 50.0]


def test_a_setting_that_scoring_reads_leaves_what_was_fitted_and_tried_before_found(
    run_toy: Callable[..., Pipeline],
) -> None:
    pipeline = run_toy(stage="prepare")
    given = {"regularization": 300.0}
    [usual], [recent] = (compared_rows({"ease": given | own}, pipeline.recipe) for own in ({}, {"recency": 0.5}))
    assert isinstance(usual, BaselineRow)
    assert isinstance(recent, BaselineRow)
    assert usual.fitted(pipeline)[0].artefact == recent.fitted(pipeline)[0].artefact
    assert usual.fitted(pipeline)[0].artefact.manifest["settings"]["options"] == {"regularization": 300.0}
    # As 0.1 had it; another recency is another candidate.
    assert usual.identity(pipeline) == [usual.identity(pipeline)[0], {"regularization": 300.0}]
    assert usual.settings() == {"regularization": 300.0}
    assert recent.identity(pipeline) != usual.identity(pipeline)


def test_the_model_s_rows_are_none_to_be_tuned(run_toy: Callable[..., Pipeline]) -> None:
    rows = model_rows(run_toy(IN_TIME))
    assert [row.name for row in rows if row.validation_score is None] == ["glta-llm", "glta"]
