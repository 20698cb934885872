"""Cold start as it is reported: among hidden items or users, among the others, and in the whole; over several draws."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rich.console import Console
from typer.testing import CliRunner

from glta_cli.core.errors import InputError
from glta_cli.core.tensors import write_tensors
from glta_cli.evaluation.draws import KEPT, drawn_again, evaluate_draws
from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.fitted_rows import encoder_row
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.parts_table import parts_table
from glta_cli.evaluation.report.extras import gathered_extras
from glta_cli.evaluation.report.page import report_page
from glta_cli.evaluation.tables import report_tables
from glta_cli.evaluation.tuning import tuned
from glta_cli.graph.cold_start import foretold
from glta_cli.main import app
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.cold_parts import Part, chance, part_metrics, parts_of, tells_apart
from glta_cli.ranking.selection import quality_of
from glta_cli.recipe.schema import EvaluateSettings, Recipe
from glta_cli.serving.index import Index, mapped_tensors
from glta_cli.stages.cold_nodes import PRIOR, PRIORS, biases, learns_items, learns_users
from glta_cli.stages.context import read_embeddings
from glta_cli.stages.parameter_files import FULL_PARAMETERS
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.propagation import embeddings_on, encoder_on, parameters_of
from glta_cli.workspace.workspace import Workspace

ITEMS, USERS = "dataset.split.strategy=cold-items", "dataset.split.strategy=cold-users"
# A fifth of forty items is too few to rank twenty of.
MANY = "dataset.split.test=0.3"
ROWS = {"popularity": {}, "ease": {}, "ease-text": {}, "text-only": {}}


@pytest.fixture
def cold_items(run_toy: Callable[..., Pipeline]) -> Pipeline:
    return run_toy(ITEMS, MANY, name="cold-items")


@pytest.fixture
def cold_users(run_toy: Callable[..., Pipeline]) -> Pipeline:
    return run_toy(USERS, MANY, name="cold-users")


def report_of(pipeline: Pipeline) -> dict[str, Any]:
    return evaluate_run(pipeline, compared_rows(ROWS, pipeline.recipe))


# ------------------------------------------------------------------------------------------------------ the parts


def test_hidden_items_are_ranked_among_themselves_the_others_among_themselves_and_all_among_all(
    cold_items: Pipeline,
) -> None:
    prepared = cold_items.prepared()
    cold, warm, everything = parts_of(prepared, "test")
    assert [part.name for part in (cold, warm, everything)] == ["cold items", "warm items", "all items"]
    assert_array_equal(cold.candidates, prepared.hidden("test"))
    assert_array_equal(warm.candidates, ~prepared.hidden())
    assert everything.candidates is None
    assert set(cold.relevant.items) <= set(np.flatnonzero(prepared.hidden("test")))
    assert not set(warm.relevant.items) & set(np.flatnonzero(prepared.hidden()))
    assert len(cold.relevant) + len(warm.relevant) == len(everything.relevant) == len(prepared.split("test"))


def test_a_part_is_measured_as_a_full_sort_of_its_candidates_would(cold_items: Pipeline) -> None:
    prepared = cold_items.prepared()
    part = parts_of(prepared, "test")[0]
    scores = np.random.default_rng(0).normal(size=(prepared.user_count, prepared.item_count)).astype(np.float32)
    values = part_metrics(lambda users: scores[users].copy(), part, prepared.masked_at_test())
    candidates = np.flatnonzero(part.candidates)
    for place, user in enumerate(part.users):
        best = candidates[np.argsort(-scores[user, candidates], kind="stable")]
        hits = np.isin(best, part.relevant.of(user))
        gain = (hits[:10] / np.log2(np.arange(2, 2 + min(10, len(best))))).sum()
        ideal = (1 / np.log2(np.arange(2, 2 + min(10, hits.sum())))).sum()
        assert values["ndcg@10"][place] == pytest.approx(gain / ideal)
        assert values["recall@20"][place] == pytest.approx(hits[:20].sum() / hits.sum())


def test_chance_is_what_random_orders_come_to() -> None:
    relevant = Interactions.from_pairs([0, 0, 1], [1, 4, 7], user_count=2, item_count=30)
    seen = Interactions.from_pairs([0, 1, 1], [2, 3, 29], user_count=2, item_count=30)
    part = Part("cold items", "", relevant, np.arange(30) < 25)
    generator = np.random.default_rng(0)
    found = [
        part_metrics(lambda users: generator.random((len(users), 30)).astype(np.float32), part, [seen])
        for _ in range(2000)
    ]
    expected = chance(part, [seen])
    for metric in ("ndcg@10", "recall@20"):
        assert np.mean([each[metric].mean() for each in found]) == pytest.approx(expected[metric], abs=0.01)


def test_a_split_that_hides_nothing_has_no_parts(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy()
    assert parts_of(pipeline.prepared(), "test") == []
    report = evaluate_run(pipeline)
    assert report["cold_start"] is None
    assert parts_table(report) is None


# ------------------------------------------------------------------------------------------------------- the rows


def test_rows_that_read_texts_find_hidden_items_and_rows_that_cannot_are_said_to_guess(cold_items: Pipeline) -> None:
    cold = report_of(cold_items)["cold_start"]
    part = cold["parts"]["cold items"]
    # Titles of the toy say which of two tastes an item is of.
    for row in ("text-only", "ease-text", "lightgcn"):
        assert part["models"][row]["ndcg@10"] > 1.1 * part["chance"]["ndcg@10"], row
        assert row not in cold["blind"]
    assert cold["blind"] == ["popularity", "ease"]
    assert cold["hidden"] == {"valid": 4, "test": 12}
    assert part["candidates"] == 12


def test_the_model_itself_ranks_hidden_items(cold_items: Pipeline) -> None:
    cold = report_of(cold_items)["cold_start"]
    assert {"glta", "glta-llm", "lightgcn"} <= set(cold["parts"]["cold items"]["models"])
    assert not {"glta", "glta-llm"} & set(cold["blind"])


def test_free_vectors_of_hidden_items_are_foretold_and_not_the_noise_they_started_as(cold_items: Pipeline) -> None:
    context, train = cold_items.context(), cold_items.prepared().split("train")
    raw = read_embeddings(context.artefacts["pretrain-graph"]).items
    met = np.bincount(train.items, minlength=train.item_count) > 0
    texts = context.text_vectors()
    served = mapped_tensors(cold_items.ensure("index").file("vectors.safetensors"))["graph_items"].T
    assert_array_equal(served[met], raw[met])
    assert_allclose(served[~met], foretold(texts[met], raw[met], texts[~met]), atol=1e-6)
    scores = encoder_row("lightgcn", cold_items).score(np.arange(5))
    assert_allclose(scores, read_embeddings(context.artefacts["pretrain-graph"]).users[:5] @ served.T, atol=1e-5)


@pytest.mark.parametrize("row", ["ease", "item-knn", "text-only", "ease-text", "ials"])
def test_a_hidden_user_is_known_by_the_rest_of_the_history_when_tested_and_not_before(
    cold_users: Pipeline, row: str
) -> None:
    prepared = cold_users.prepared()
    [made] = compared_rows({row: {}}, cold_users.recipe)
    [fitted] = made.fitted(cold_users)
    everyone = np.arange(prepared.user_count)
    at_test, at_validation = fitted.score(everyone), fitted.validation_score(everyone)
    moved = (np.abs(at_test - at_validation) > 1e-6 * np.abs(at_test).max()).any(axis=1)
    assert moved[prepared.hidden()].all()
    assert not moved[~prepared.hidden()].any()


def test_hidden_users_are_served_from_their_history(cold_users: Pipeline) -> None:
    cold = report_of(cold_users)["cold_start"]
    assert list(cold["parts"]) == ["cold users", "warm users", "all users"]
    part = cold["parts"]["cold users"]
    for row in ("ease", "text-only", "lightgcn"):
        assert part["models"][row]["ndcg@10"] > 1.2 * part["chance"]["ndcg@10"], row
    assert part["users"] == cold_users.prepared().hidden("test").sum()


def test_what_a_hidden_user_is_known_by_is_no_answer(cold_users: Pipeline) -> None:
    prepared = cold_users.prepared()
    known = prepared.split("history")
    assert len(known)
    masked = sum(np.bincount(each.users, minlength=prepared.user_count) for each in prepared.masked_at_test())
    assert (masked[prepared.hidden("test")] == known.counts[prepared.hidden("test")]).all()
    index = Index(cold_users.ensure("index"))
    assert index.artefact.details["users"] == prepared.user_count


def test_an_encoder_without_vectors_of_users_is_asked_on_the_graph_of_their_histories(
    run_toy: Callable[..., Pipeline],
) -> None:
    pipeline = run_toy(USERS, MANY, "graph.encoder=alpharec", stage="pretrain-graph", name="texts-alone")
    context = pipeline.context()
    expected = embeddings_on(context, pipeline.prepared().histories_at_test())
    users = np.flatnonzero(pipeline.prepared().hidden("test"))
    scores = encoder_row("alpharec", pipeline).score(users)
    assert_allclose(scores, expected.users[users] @ expected.items.T, atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "of_each_user", "of_each_item"),
    [("sasrec", False, True), ("alpharec", False, False), ("lightgcn", True, True), ("rlmrec-con", True, True)],
)
def test_what_is_learnt_of_each_user_or_item_is_not_guessed_by_numbers_of_rows(
    encoder: str, of_each_user: bool, of_each_item: bool, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    # As many users, items, dimensions and text dimensions as each other: every layer has a row for each user.
    count = 16
    pairs = np.arange(count)
    context: Any = SimpleNamespace(
        recipe=tiny_recipe(f"graph.encoder={encoder}", f"graph.options.dimension={count}"),
        prepared=SimpleNamespace(user_count=count, item_count=count, items_to_learn=None),
        train=Interactions.from_pairs(pairs, pairs, user_count=count, item_count=count),
        text_vectors=lambda: np.eye(count, dtype=np.float32),
        artefacts={"pretrain-graph": SimpleNamespace(file=tmp_path.joinpath)},
    )
    trained = parameters_of(encoder_on(context, InteractionGraph(context.train)))
    write_tensors(tmp_path / FULL_PARAMETERS, trained)
    assert any(tensor.ndim and len(tensor) in (count, 2 * count) for tensor in trained.values())
    assert learns_users(context, FULL_PARAMETERS) is of_each_user
    assert learns_items(context, FULL_PARAMETERS) is of_each_item


def test_a_hidden_item_alone_is_told_apart_from_nothing() -> None:
    relevant = Interactions.from_pairs([0], [1], user_count=1, item_count=3)
    for hidden, told in (([False, True, False], True), ([False, True, True], False)):
        part = Part("cold items", "", relevant, np.array(hidden))
        assert tells_apart(lambda users: np.zeros((len(users), 3), dtype=np.float32), part) is told


# ------------------------------------------------------------------------------------------------------ the prior


def test_hidden_items_get_a_quantile_of_the_other_biases_chosen_on_those_to_choose_by(cold_items: Pipeline) -> None:
    index = cold_items.ensure("index")
    prior = index.details[PRIOR]
    assert prior in PRIORS
    bias = mapped_tensors(index.file("vectors.safetensors"))["bias"]
    train = cold_items.prepared().split("train")
    met = np.bincount(train.items, minlength=train.item_count) > 0
    assert_allclose(bias[~met], np.quantile(bias[met], prior), rtol=1e-6)


def test_the_prior_that_was_chosen_is_served(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(ITEMS, MANY, "fusion.terms=[encoder,llm]", stage="serving-index", name="cold-pair")
    index, served = (
        mapped_tensors(dict(pipeline.reached())[stage].file("vectors.safetensors"))["bias"]
        for stage in ("index", "serving-index")
    )
    assert_allclose(index, served)


def test_without_hidden_items_an_unmet_one_has_the_mean(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(stage="index")
    assert PRIOR not in pipeline.ensure("index").details
    context = pipeline.context()
    count = context.prepared.item_count
    trained = np.linspace(-2, 3, count).astype(np.float32)
    met = np.bincount(context.train.items, minlength=count) > 0
    assert_allclose(biases(context, trained, count + 2)[-2:], trained[met].mean(), rtol=1e-6)
    assert_allclose(biases(context, trained, count + 2, 0.9)[-2:], np.quantile(trained[met], 0.9), rtol=1e-6)


# ----------------------------------------------------------------------------------------------------- what chooses


def test_settings_are_chosen_by_hidden_and_other_validation_items_alike(cold_items: Pipeline) -> None:
    prepared = cold_items.prepared()
    [row] = compared_rows({"ease-text": {}}, cold_items.recipe)
    [fitted] = row.fitted(cold_items)
    cold, warm, _ = parts_of(prepared, "valid")
    assert_array_equal(cold.candidates, prepared.hidden("valid"))
    quality = [
        part_metrics(fitted.validation_score, part, [prepared.split("train")])["ndcg@10"].mean()
        for part in (cold, warm)
    ]
    chosen_by = quality_of(prepared)
    assert chosen_by is not None
    assert chosen_by(fitted.validation_score) == pytest.approx(np.mean(quality))
    tried = tuned(row, cold_items).tried
    assert tried
    [again] = compared_rows({"ease-text": tried[0]["settings"]}, cold_items.recipe)
    [first] = again.fitted(cold_items)
    assert tried[0]["ndcg@10"] == pytest.approx(chosen_by(first.validation_score))


def test_a_row_with_one_score_for_all_hidden_items_does_not_tell_them_apart(cold_items: Pipeline) -> None:
    [part, *_] = parts_of(cold_items.prepared(), "test")
    count = cold_items.prepared().item_count
    assert not tells_apart(lambda users: np.zeros((len(users), count), dtype=np.float32), part)
    ramp = np.arange(count, dtype=np.float32)
    assert tells_apart(lambda users: np.tile(ramp, (len(users), 1)), part)


# ------------------------------------------------------------------------------------------------------- the draws


def test_draws_are_of_the_next_seeds_and_the_means_are_theirs(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(ITEMS, MANY, "finetune.enabled=false", stage="pretrain-graph", name="drawn")
    settings = pipeline.recipe.evaluate.model_copy(update={"draws": 2})
    others = drawn_again(pipeline, settings)
    assert [each.recipe.dataset.split.seed for each in others] == [1]
    assert (others[0].prepared().hidden() != pipeline.prepared().hidden()).any()
    report = evaluate_draws(pipeline, others, compared_rows({"text-only": {}}, pipeline.recipe), settings)
    assert [draw["seed"] for draw in report["draws"]] == [0, 1]
    each = [draw["cold_start"]["parts"]["cold items"]["models"]["text-only"]["ndcg@10"] for draw in report["draws"]]
    assert each[0] != each[1]
    assert report["mean_over_draws"]["cold_start"]["cold items"]["text-only"]["ndcg@10"] == pytest.approx(np.mean(each))
    wholes = [draw["models"]["text-only"]["recall@20"] for draw in report["draws"]]
    assert report["mean_over_draws"]["models"]["text-only"]["recall@20"] == pytest.approx(np.mean(wholes))
    # A draw is no run: the workspace knows the run alone.
    run = pipeline.workspace.run("drawn")
    assert run is not None
    assert run.recipe["dataset"]["split"]["seed"] == 0


def test_a_row_that_not_all_draws_have_is_left_out_of_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    def report(pipeline: Any, *_: Any) -> dict[str, Any]:
        # The linear term is called after its baseline, which validation chooses in each draw.
        models = {row: {"ndcg@10": 0.1, "recall@20": 0.2} for row in ("ease", pipeline.linear)}
        return {**dict.fromkeys(KEPT), "models": models, "tuning": {}}

    def draw(seed: int, linear: str) -> Any:
        split = SimpleNamespace(seed=seed)
        return SimpleNamespace(recipe=SimpleNamespace(dataset=SimpleNamespace(split=split)), linear=linear)

    monkeypatch.setattr("glta_cli.evaluation.draws.evaluate_run", report)
    found = evaluate_draws(draw(0, "l3ae"), [draw(1, "ease-text")], [], EvaluateSettings())
    assert list(found["mean_over_draws"]["models"]) == ["ease"]
    table = parts_table(found)
    assert table is not None
    assert table.row_count == 1


def test_a_part_that_not_all_draws_have_is_left_out_of_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"ease": {"ndcg@10": 0.1, "recall@20": 0.2}}

    def report(pipeline: Any, *_: Any) -> dict[str, Any]:
        sizes = {"about": "some", "users": 1, "candidates": 2, "chance": models["ease"], "intervals": {}}
        parts = {name: {**sizes, "models": models} for name in pipeline.parts}
        cold = {"hides": "items", "hidden": {"valid": 1, "test": 1}, "blind": [], "parts": parts}
        return {**dict.fromkeys(KEPT), "models": models, "tuning": {}, "cold_start": cold}

    def draw(seed: int, *parts: str) -> Any:
        split = SimpleNamespace(seed=seed)
        return SimpleNamespace(recipe=SimpleNamespace(dataset=SimpleNamespace(split=split)), parts=parts)

    monkeypatch.setattr("glta_cli.evaluation.draws.evaluate_run", report)
    draws = draw(0, "cold items", "warm items", "all items"), [draw(1, "cold items", "all items")]
    found = evaluate_draws(*draws, [], EvaluateSettings())
    assert list(found["mean_over_draws"]["cold_start"]) == ["cold items", "all items"]
    table = parts_table(found)
    assert table is not None
    assert len(table.columns) == 1 + 2 * 2


def test_a_split_that_is_the_same_from_every_seed_is_not_drawn_again(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy("dataset.split.strategy=leave-last-out", stage="prepare")
    with pytest.raises(InputError, match="draws nothing") as caught:
        drawn_again(pipeline, pipeline.recipe.evaluate.model_copy(update={"draws": 2}))
    assert caught.value.location == "evaluate.draws"


def test_draws_are_of_one_dataset_and_of_no_log_that_changed_since(
    tiny_recipe: Callable[..., Recipe], toy_root: Path, toy_table: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_text((toy_table / "interactions.csv").read_text())
    pipeline = Pipeline("changing", tiny_recipe(f"dataset.source={log}"), Workspace(toy_root), device="cpu")
    settings = pipeline.recipe.evaluate.model_copy(update={"draws": 2})
    assert len(drawn_again(pipeline, settings)) == 1
    with log.open("a") as file:
        file.write("u1,i39,1600009999\n")
    with pytest.raises(InputError, match="draws would be of two datasets") as caught:
        drawn_again(pipeline, settings)
    assert "--refresh" in str(caught.value.hint)


@pytest.mark.parametrize("validated", [True, False])
def test_a_given_split_is_drawn_again_only_where_it_lacks_validation(
    tiny_recipe: Callable[..., Recipe], toy_root: Path, tmp_path: Path, validated: bool
) -> None:
    parts = ["train"] * 7 + (["valid"] if validated else []) + ["test"]
    rows = [f"u{user},i{(user + place) % 12},{part}" for user in range(12) for place, part in enumerate(parts)]
    (tmp_path / "log.csv").write_text("user,item,split\n" + "\n".join(rows) + "\n")
    recipe = tiny_recipe(f"dataset.source={tmp_path / 'log.csv'}", "dataset.split.strategy=given")
    pipeline = Pipeline("given", recipe, Workspace(toy_root), device="cpu")
    settings = recipe.evaluate.model_copy(update={"draws": 3})
    if not validated:
        assert len(drawn_again(pipeline, settings)) == 2
        return
    with pytest.raises(InputError, match="'given' draws nothing from this dataset, which is divided") as caught:
        drawn_again(pipeline, settings)
    assert caught.value.location == "evaluate.draws"


# ---------------------------------------------------------------------------------------------------- as it is shown


def shown(report: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(report_tables(report))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["items", "users"])
def test_the_table_fits_into_80_columns_and_says_what_was_hidden(
    kind: str, cold_items: Pipeline, cold_users: Pipeline
) -> None:
    report = report_of(cold_items if kind == "items" else cold_users)
    text = shown(report)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{kind} hidden to choose by" in text
    assert "(chance)" in text
    for figures in report["cold_start"]["parts"].values():
        assert f"{figures['models']['text-only']['ndcg@10']:.4f}" in text
    if kind == "items":
        assert "popularity, ease" in " ".join(text.split())


def test_the_command_prepares_evaluates_and_draws(
    tiny_recipe_file: Path, workspace_root: Path, toy_table: Path
) -> None:
    changes = ["--set", "dataset.split.strategy=cold-users", "--set", "finetune.enabled=false", "--run", "cold"]
    arguments = ["evaluate", "--recipe", str(tiny_recipe_file), *changes, "--baselines", "ease"]
    result = CliRunner().invoke(app, [*arguments, "--draws", "2", "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["split"]["history"] > 0
    assert report["histories"] == ["train", "history"]
    assert len(report["draws"]) == 2
    plain = CliRunner().invoke(app, [*arguments, "--draws", "2"], catch_exceptions=False)
    assert plain.exit_code == 0
    assert "means of 2 draws of the split, of seeds 0, 1" in " ".join(plain.stdout.split())


def test_prepare_tells_what_hidden_users_are_known_by(tiny_recipe_file: Path, workspace_root: Path) -> None:
    arguments = ["prepare", "--recipe", str(tiny_recipe_file), "--split", "cold-users", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert list(json.loads(result.stdout)["split"]) == ["train", "valid", "test", "history"]


def test_the_page_shows_every_part_and_who_guesses(cold_items: Pipeline) -> None:
    report = report_of(cold_items)
    page = report_page(report, gathered_extras(cold_items))
    assert "popularity (guesses)" in page
    for name, part in report["cold_start"]["parts"].items():
        assert f"{name}, Recall@20" in page
        assert f"<td>{part['models']['text-only']['ndcg@10']:.4f}</td>" in page
