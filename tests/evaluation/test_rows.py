"""What an evaluation compares: baselines, graph encoders and variants, over seeds, tuned on validation."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from glta_baselines.ease import Ease
from typer.testing import CliRunner

from glta_cli.core.errors import GltaError, InputError, InputErrors
from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.fitted_rows import FittedRow, seconds_of
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.evaluation.rows import Row
from glta_cli.evaluation.tables import costs_table, report_tables, tuned_lines
from glta_cli.evaluation.tuning import tuned
from glta_cli.graph import pretraining
from glta_cli.main import app
from glta_cli.plugin import BackboneDeclaration, EncoderDeclaration
from glta_cli.plugin.component import Component, Origin
from glta_cli.plugin.registry import installed
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.recipe.files import recipe_from
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.shipped_variants import GRIDS, VARIANTS
from glta_cli.recipe.variants import variant_of
from glta_cli.stages.backbone import backbone_of
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.workspace import Workspace


def report(pipeline: Pipeline, *names: str, **settings: Any) -> dict[str, Any]:
    evaluate = pipeline.recipe.evaluate.model_copy(update=settings)
    pipeline.recipe = pipeline.recipe.model_copy(update={"evaluate": evaluate})
    return evaluate_run(pipeline, compared_rows({name: {} for name in names}, pipeline.recipe))


# ------------------------------------------------------------------------------------------------------ variants


@pytest.mark.parametrize("name", [name for name, changes in VARIANTS.items()])
def test_every_shipped_variant_is_a_valid_recipe_unlike_the_default(name: str) -> None:
    recipe = Recipe()
    variant = variant_of(recipe, VARIANTS[name])
    assert variant.dataset == recipe.dataset
    assert variant.evaluate == recipe.evaluate
    # With lightgcn and the softmax the default recipe is this variant already.
    assert (variant == recipe) == (name == "lightgcn-softmax")


def test_a_variant_changes_one_setting_and_leaves_its_neighbours() -> None:
    recipe = recipe_from({"graph": {"options": {"layers": 1, "dimension": 16}, "training": {"epochs": 7}}})
    variant = variant_of(recipe, {"graph": {"options": {"layers": 3}, "training": {"patience": 1}}})
    assert variant.graph.options == {"layers": 3, "dimension": 16}
    assert (variant.graph.training.epochs, variant.graph.training.patience) == (7, 1)
    assert variant.graph.training.learning_rate == recipe.graph.training.learning_rate


def test_another_encoder_starts_from_its_own_defaults() -> None:
    recipe = recipe_from({"backbone": {"name": "tiny", "options": {"hidden_size": 32}}})
    assert variant_of(recipe, {"backbone": {"name": "smollm2"}}).backbone.options == {}
    assert variant_of(recipe, {"backbone": {"name": "tiny"}}).backbone.options == {"hidden_size": 32}


def test_what_is_wrong_with_a_variant_is_said_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "evaluate:\n  variants:\n    smaller:\n      graph:\n        los: bpr\n"
        "    other:\n      dataset:\n        kcore: 5\n"
    )
    finished = CliRunner().invoke(app, ["recipes", "validate", str(path)])
    assert isinstance(finished.exception, InputErrors)
    message = str(finished.exception)
    assert f"{path}:5:9: evaluate.variants.smaller.graph.los: unknown key\n  hint: did you mean 'loss'?" in message
    assert f"{path}:7:7: evaluate.variants.other.dataset: a variant cannot change this" in message


def test_variants_of_a_recipe_stand_beside_the_shipped_ones() -> None:
    recipe = recipe_from({}, ["evaluate.variants.deeper.graph.options.layers=3"])
    assert set(recipe.evaluate.variants) == {*VARIANTS, "deeper"}
    assert variant_of(recipe, recipe.evaluate.variants["deeper"]).graph.options == {"layers": 3}


# ---------------------------------------------------------------------------------------------------------- rows


def test_an_encoder_s_row_is_that_of_a_run_with_that_encoder(run_toy: Callable[..., Pipeline]) -> None:
    found = report(run_toy(), "mf-softmax")["models"]
    own = evaluate_run(run_toy("graph.options.layers=0", name="factors"), [])["models"]
    assert list(found) == ["mf-softmax", "lightgcn", "glta-llm", "glta"]
    # At the recipe's d, which is not the default of either.
    assert found["mf-softmax"] == own["lightgcn"]


def test_a_variant_of_the_model_has_its_own_two_rows(run_toy: Callable[..., Pipeline]) -> None:
    found = report(run_toy(), "popularity", "wo-ia")
    assert list(found["models"]) == ["popularity", "wo-ia-llm", "wo-ia", "lightgcn", "glta-llm", "glta"]
    own = evaluate_run(run_toy("align.enabled=false", name="unaligned"), [])["models"]
    assert found["models"]["wo-ia"] == own["glta"]
    assert found["models"]["wo-ia-llm"] == own["glta-llm"]
    # Of the paired tests, the first is with what is not the model itself.
    assert found["comparison"]["against"] in ("popularity", "lightgcn")
    # A variant's rows are compared with the model's own of their kind: fused with fused, alone with alone.
    pairs = [(each["model"], each["against"]) for each in found["comparisons"]]
    assert pairs == [("glta-llm", "wo-ia-llm"), ("glta", "wo-ia")]


def test_rows_leave_the_runs_of_the_workspace_alone(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(name="lonely")
    folder = pipeline.workspace.root / "runs"
    before = {path.name for path in folder.iterdir()}
    report(pipeline, "mf-softmax", "wo-ia", seeds=2)
    assert {path.name for path in folder.iterdir()} == before
    stored = pipeline.workspace.run("lonely")
    assert stored is not None
    assert stored.recipe["align"]["enabled"] is True


@pytest.mark.parametrize(
    ("name", "problem", "hint"),
    [
        ("xyz", "no baseline is called 'xyz'", "`glta plugins` lists baselines and encoders; variants are mf-softmax,"),
        ("smollm2", "no baseline is called 'smollm2'", "glta "),
        ("mf-softmx", "no baseline is called 'mf-softmx'", "did you mean 'mf-softmax'?"),
    ],
)
def test_a_name_that_cannot_be_a_row_is_refused(name: str, problem: str, hint: str | None) -> None:
    with pytest.raises(InputError, match=problem) as refused:
        compared_rows({name: {}}, Recipe())
    if hint is not None:
        assert (refused.value.hint or "").startswith(hint)


@pytest.mark.parametrize("taken", ["wo-ia-llm", "glta-llm"])
def test_no_row_is_called_like_another_s_second_row(taken: str) -> None:
    recipe = recipe_from({}, [f"evaluate.variants.{taken}.graph.loss=bpr"])
    with pytest.raises(InputError, match="is called like a row the report has already"):
        compared_rows({"wo-ia": {}, taken: {}}, recipe)


def test_a_variant_may_be_called_like_the_start_of_an_encoder(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy("evaluate.variants.light.align.enabled=false")
    found = report(pipeline, "light")
    assert list(found["models"]) == ["light-llm", "light", "lightgcn", "glta-llm", "glta"]


def test_a_variant_without_effect_on_an_encoder_alone_is_refused() -> None:
    recipe = recipe_from({"finetune": {"enabled": False}})
    with pytest.raises(InputError, match="'wo-pf-pd' changes interests, which has no effect"):
        compared_rows({"wo-pf-pd": {}}, recipe)


def test_a_variant_that_stops_after_the_encoder_is_the_encoder_s_row(run_toy: Callable[..., Pipeline]) -> None:
    switches = [f"evaluate.variants.short.{change}" for change in ("finetune.enabled=false", "graph.loss=bpr")]
    found = report(run_toy(*switches), "short")
    assert list(found["models"]) == ["short", "lightgcn", "glta-llm", "glta"]
    assert found["comparisons"] == []
    alone = run_toy("finetune.enabled=false", "graph.loss=bpr", stage="pretrain-graph", name="short")
    assert found["models"]["short"] == evaluate_run(alone, [])["models"]["lightgcn"]


NO_LANGUAGE_MODEL = ["backbone.name=none", "text.vectors=false", "align.enabled=false"]


@pytest.mark.parametrize(
    ("switches", "row", "problem"),
    [
        (NO_LANGUAGE_MODEL, "text-only", "none reads no text, .* the baseline 'text-only' needs"),
        (NO_LANGUAGE_MODEL, "lightgcn-plus", "none reads no text, .* the encoder 'lightgcn-plus' needs"),
        (["graph.encoder=lightgcn-plus"], "projector-only", "none reads no text, .* the encoder 'lightgcn-plus' needs"),
        (["evaluate.variants.gone.backbone.name=gone"], "gone", "backbone 'gone' of .* cannot be imported"),
        ([], "lost", "encoder 'lost' of .* cannot be imported"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_a_row_cannot_have_is_said_before_anything_is_trained(
    workspace_root: Path,
    tiny_recipe_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    switches: list[str],
    row: str,
    problem: str,
) -> None:
    settings = {"gone": "glta_backbones.settings:NoneOptions", "lost": "glta_encoders.settings:LightGCNSettings"}
    broken = [
        Component(kind(name=name, summary="x", target="nowhere:Nothing", config=settings[name]), Origin("x", "x", "1"))
        for kind, name in ((BackboneDeclaration, "gone"), (EncoderDeclaration, "lost"))
    ]
    monkeypatch.setattr(installed(), "components", [*installed().components, *broken])
    given = [word for switch in switches for word in ("--set", switch)]
    finished = CliRunner().invoke(app, ["evaluate", "--recipe", str(tiny_recipe_file), "--baselines", row, *given])
    assert isinstance(finished.exception, GltaError)
    assert re.search(problem, str(finished.exception))
    assert [path.name for path in (workspace_root / "stages").iterdir()] == ["prepare"]


def test_a_grid_its_settings_refuse_is_said_before_anything_is_trained(
    workspace_root: Path, tiny_recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = EncoderDeclaration(
        name="wrong",
        summary="x",
        target="glta_encoders.lightgcn:LightGCN",
        config="glta_encoders.settings:LightGCNSettings",
        grid={"layers": [1, -1]},
    )
    components = [*installed().components, Component(wrong, Origin("x", "x", "1"))]
    monkeypatch.setattr(installed(), "components", components)
    given = ["evaluate", "--recipe", str(tiny_recipe_file), "--baselines", "wrong", "--tune"]
    finished = CliRunner().invoke(app, given)
    assert "graph.options.layers: has to be greater than or equal to 0, not -1" in str(finished.exception)
    assert [path.name for path in (workspace_root / "stages").iterdir()] == ["prepare"]


def test_without_a_language_model_nothing_is_left_of_its_layers_and_adapters() -> None:
    recipe = recipe_from({"backbone": {"layers": 4, "lora": {"rank": 2}}})
    variant = variant_of(recipe, VARIANTS["projector-only"])
    assert backbone_of(variant).load(torch.device("cpu")).hidden_size > 0


class Scores:
    """A scorer that can be seen to be let go."""

    def __init__(self, items: int) -> None:
        self.items = items

    def __call__(self, users: Any) -> Any:
        return np.zeros((len(users), self.items), dtype=np.float32)


def test_a_row_s_scores_are_let_go_before_the_next_is_fitted(run_toy: Callable[..., Pipeline]) -> None:
    held: list[weakref.ref[Scores]] = []

    class Heavy(Row):
        def __init__(self, name: str) -> None:
            self.name = name

        def require(self, pipeline: Pipeline) -> None:
            pass

        def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
            assert [each() for each in held] == [None] * len(held)
            scores = Scores(pipeline.prepared().item_count)
            held.append(weakref.ref(scores))
            return [FittedRow(self.name, scores, Artefact(Path(f"{self.name}{len(held)}")), 0.0, None)]

    pipeline = run_toy()
    pipeline.recipe = pipeline.recipe.model_copy(
        update={"evaluate": pipeline.recipe.evaluate.model_copy(update={"seeds": 2})}
    )
    evaluate_run(pipeline, [Heavy("one"), Heavy("two")])
    assert len(held) == 4


def test_a_training_that_was_continued_counts_whole(tmp_path: Path) -> None:
    def published(seconds: float, details: dict[str, Any]) -> Artefact:
        empty: dict[str, Any] = {key: {} for key in ("settings", "inputs", "outputs", "environment")}
        manifest = {"schema_version": SCHEMA_VERSION, "stage": "s", "seconds": seconds, "details": details, **empty}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        return Artefact(tmp_path)

    assert seconds_of([published(3.0, {"full": {"training_seconds": 5}, "alignment": {"training_seconds": 6}})]) == 11
    assert seconds_of([published(3.0, {"training_seconds": 5.0})]) == 5
    assert seconds_of([published(9.0, {"training_seconds": 5.0})]) == 9


def test_a_variant_takes_no_settings_beside_its_own() -> None:
    with pytest.raises(InputError, match="takes no settings of its own"):
        compared_rows({"wo-ia": {"layers": 2}}, Recipe())


def test_an_encoder_s_settings_in_a_recipe_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("graph:\n  encoder: simgcl\nevaluate:\n  baselines:\n    - lightgcn:\n        layres: 2\n")
    finished = CliRunner().invoke(app, ["recipes", "validate", str(path)])
    assert "evaluate.baselines.lightgcn.layres: unknown key" in str(finished.exception)
    assert f"{path}:6:9" in str(finished.exception)


def test_two_rows_of_one_name_are_refused(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy()
    twice = compared_rows({"popularity": {}}, pipeline.recipe) * 2
    with pytest.raises(GltaError, match="two rows are called 'popularity'"):
        evaluate_run(pipeline, twice)


# --------------------------------------------------------------------------------------------------------- seeds


def test_over_seeds_figures_are_means_and_each_is_that_of_its_own_run(run_toy: Callable[..., Pipeline]) -> None:
    found = report(run_toy(), "popularity", "mf-softmax", seeds=2)
    first, second = (report(run_toy(f"seed={seed}", name=f"seed{seed}"), "mf-softmax") for seed in (0, 1))
    assert found["seeds"] == [0, 1]
    for name in ("mf-softmax", "lightgcn", "glta-llm", "glta"):
        each = [one["models"][name]["ndcg@10"] for one in (first, second)]
        assert found["by_seed"][name]["ndcg@10"] == pytest.approx(each)
        assert found["models"][name]["ndcg@10"] == pytest.approx(np.mean(each))
    assert found["by_seed"]["glta"]["ndcg@10"][0] != found["by_seed"]["glta"]["ndcg@10"][1]
    assert len(set(found["by_seed"]["popularity"]["ndcg@10"])) == 1


def test_what_is_trained_already_is_not_trained_again(
    run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = run_toy()
    before = report(pipeline, "mf-softmax", "wo-ia", seeds=2)
    for module, function in (
        ("glta_cli.stages.align", "train"),
        ("glta_cli.stages.finetune", "train"),
        ("glta_cli.graph.pretraining", "train"),
    ):
        monkeypatch.setattr(f"{module}.{function}", lambda *_, **__: pytest.fail("trained again"))
    after = report(run_toy(), "mf-softmax", "wo-ia", seeds=2)
    assert after["models"] == before["models"]


# -------------------------------------------------------------------------------------------------------- tuning


def test_settings_are_those_that_rank_validation_items_best(
    run_toy: Callable[..., Pipeline],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_recipe: Callable[..., Recipe],
) -> None:
    pipeline = Pipeline("tuned", tiny_recipe(), Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"ease": {}}, pipeline.recipe)
    found = tuned(row, pipeline)
    prepared = pipeline.prepared()
    train, validation = prepared.split("train"), prepared.split("valid")
    users = np.flatnonzero(validation.counts)
    assert [each["settings"]["regularization"] for each in found.tried] == list(
        row.made.component.declaration.grid["regularization"]
    )
    for each in found.tried:
        [candidate] = compared_rows({"ease": each["settings"]}, pipeline.recipe)
        ranked = rank_users(candidate.fitted(pipeline)[0].score, users, 10, train)
        expected = ranking_metrics(ranked, users, validation, [10])["ndcg@10"].mean()
        assert each["ndcg@10"] == pytest.approx(expected)
    best = max(found.tried, key=lambda each: each["ndcg@10"])
    assert found.row.settings() == best["settings"]

    # What was tried is kept: nothing is fitted to know it again.
    monkeypatch.setattr(Ease, "fit", lambda *_: pytest.fail("fitted again"))
    assert tuned(row, pipeline).tried == found.tried


def test_of_what_was_tried_only_the_best_is_kept(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    pipeline = Pipeline("tuned", tiny_recipe(), Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"ease": {}}, pipeline.recipe)
    best = tuned(row, pipeline).row
    [kept] = (tmp_path / "w" / "stages" / "baseline").iterdir()
    assert json.loads((kept / "manifest.json").read_text())["settings"]["options"] == best.settings()


def test_what_was_fitted_for_others_is_kept_even_where_it_loses(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    pipeline = Pipeline("tuned", tiny_recipe(), Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"ease": {}}, pipeline.recipe)
    before = {}
    for candidate in row.candidates():
        [fitted] = candidate.fitted(pipeline)
        before[fitted.artefact.path] = fitted.was_there
    assert not any(before.values())
    tuned(row, pipeline)
    assert {path for path in before if not path.is_dir()} == set()


def test_losers_are_not_fitted_again_after_an_interruption(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline("tuned", tiny_recipe(), Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"ease": {}}, pipeline.recipe)
    grid = [each.made.settings.regularization for each in row.candidates()]
    fitted: list[float] = []
    fit = Ease.fit

    def interrupted(self: Ease, data: Any) -> Any:
        fitted.append(self.settings.regularization)
        if len(fitted) == len(grid):
            raise KeyboardInterrupt
        return fit(self, data)

    monkeypatch.setattr(Ease, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tuned(row, pipeline)
    assert fitted == grid
    found = tuned(row, pipeline)
    assert fitted == [*grid, grid[-1]]
    assert [each["settings"]["regularization"] for each in found.tried] == grid
    assert len(list((tmp_path / "w" / "stages" / "baseline").iterdir())) == 1
    assert not list((tmp_path / "w" / "states").iterdir())


def test_an_encoder_that_is_refitted_is_chosen_before_it_has_seen_validation(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    switches = ["finetune.enabled=false", "graph.refit=true"]
    pipeline = Pipeline("tuned", tiny_recipe(*switches), Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"lightgcn-softmax": {}}, pipeline.recipe)
    found = tuned(row, pipeline)
    assert len(found.tried) > 1
    for candidate, each in zip(row.candidates(), found.tried, strict=True):
        details = candidate.fitted(pipeline)[0].artefact.details
        assert details["refit"]["epochs"] > 0
        # The epoch was selected on the same validation items, before the refit.
        assert each["ndcg@10"] == pytest.approx(details["full"]["best_metric"])


def tried_of(recipe: Recipe, row: str) -> list[dict[str, Any]]:
    """The settings of section graph that tuning would try for a row."""
    [found] = compared_rows({row: {}}, recipe)
    return [each.settings() for each in found.candidates()]


def test_an_encoder_s_options_given_by_the_recipe_are_not_tuned() -> None:
    given = recipe_from({"graph": {"options": {"layers": 1}}})
    assert {each["options"]["layers"] for each in tried_of(given, "lightgcn-softmax")} == {1}
    assert {each["options"]["layers"] for each in tried_of(Recipe(), "lightgcn-softmax")} == {1, 2, 3}


def test_shipped_variants_have_grids_of_their_own() -> None:
    assert [each["temperature"] for each in tried_of(Recipe(), "mf-softmax")] == [0.1, 0.2, 0.3]
    bpr = tried_of(Recipe(), "lightgcn-bpr")
    assert [each["options"] for each in bpr] == [{"layers": 2}, {"layers": 3}]
    assert all(each["loss"] == "bpr" and each["training"]["epochs"] == 300 for each in bpr)


def test_a_temperature_given_by_the_recipe_is_not_tuned() -> None:
    given = recipe_from({"graph": {"temperature": 0.05}})
    assert {each["options"]["layers"] for each in tried_of(given, "lightgcn-softmax")} == {1, 2, 3}
    assert all("temperature" not in each for each in tried_of(given, "lightgcn-softmax"))
    # Nothing is left to choose: nothing is tried.
    assert tried_of(given, "mf-softmax") == []
    both = recipe_from({"graph": {"temperature": 0.05, "options": {"layers": 1}}})
    assert tried_of(both, "lightgcn-softmax") == []


def test_what_was_chosen_is_told_under_names_that_tell_it_apart() -> None:
    def told(*tried: dict[str, Any]) -> str:
        report = {"tuning": {"x": [{"settings": each} for each in tried]}, "settings": {"x": tried[-1]}}
        [line] = tuned_lines(report)
        return line

    apart = told(
        {"temperature": 0.1, "options": {"temperature": 1.0}}, {"temperature": 0.2, "options": {"temperature": 2.0}}
    )
    assert apart == "x, tuned on validation: temperature 0.2, options.temperature 2.0 (best of 2)"
    unlike = told({"training": {"epochs": 10}}, {"training": {"learning_rate": 0.5}})
    assert unlike == "x, tuned on validation: learning_rate 0.5 (best of 2)"
    assert told({"options": {"layers": 2}, "loss": "bpr"}, {"options": {"layers": 3}, "loss": "bpr"}) == (
        "x, tuned on validation: layers 3 (best of 2)"
    )


def test_what_another_row_of_the_same_content_tried_is_told_in_the_row_s_own_settings(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = tiny_recipe("evaluate.variants.mine={graph: {encoder: mf, loss: softmax, unit_length: both}}")
    recipe = recipe.model_copy(
        update={"evaluate": recipe.evaluate.model_copy(update={"grids": {"mine": GRIDS["mf-softmax"]}})}
    )
    pipeline = Pipeline("tuned", recipe, Workspace(tmp_path / "w"), device="cpu")
    first, second = (tuned(row, pipeline) for row in compared_rows({"mf-softmax": {}, "mine": {}}, recipe))
    assert len(list((tmp_path / "w" / "stages" / "tuning").iterdir())) == 1
    assert all("unit_length" not in each["settings"] for each in first.tried)
    assert all(each["settings"]["unit_length"] == "both" for each in second.tried)
    assert [each["ndcg@10"] for each in first.tried] == [each["ndcg@10"] for each in second.tried]


def test_a_shipped_variant_that_is_changed_is_tuned_as_its_encoder_is() -> None:
    changed = {"graph": {"encoder": "lightgcn", "loss": "bpr"}}
    recipe = recipe_from({"evaluate": {"variants": {"lightgcn-bpr": changed}}})
    tried = tried_of(recipe, "lightgcn-bpr")
    assert [each["options"]["layers"] for each in tried] == installed().find("encoder", "lightgcn").declaration.grid[
        "layers"
    ]


def test_a_recipe_s_grid_is_tried_in_place_of_the_row_s_own() -> None:
    grids = {
        "ease": {"regularization": [3.0, 7.0]},
        "rlmrec-con": {"text_contrast": [0.5], "layers": [1, 2]},
        "lightgcn-bpr": {"graph": {"training": {"learning_rate": [0.01, 0.02]}}},
    }
    recipe = recipe_from({"evaluate": {"grids": grids}})
    given = {"ease": {"regularization": 5.0}, "rlmrec-con": {"dimension": 8}, "lightgcn-bpr": {}}
    ease, contrast, bpr = (row.candidates() for row in compared_rows(given, recipe))
    assert [each.settings()["regularization"] for each in ease] == [3.0, 7.0]
    assert [each.settings()["options"] for each in contrast] == [
        {"dimension": 8, "text_contrast": 0.5, "layers": layers} for layers in (1, 2)
    ]
    assert [each.settings()["training"]["learning_rate"] for each in bpr] == [0.01, 0.02]
    assert all(each.settings()["training"]["batch_size"] == 8192 for each in bpr)


def test_the_own_temperature_of_a_tuned_variant_is_chosen_on_validation(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    pipeline = Pipeline("tuned", tiny_recipe(), Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"mf-softmax": {}}, pipeline.recipe)
    found = tuned(row, pipeline)
    best = max(found.tried, key=lambda each: each["ndcg@10"])
    assert len({each["ndcg@10"] for each in found.tried}) > 1
    assert found.row.settings()["temperature"] == best["settings"]["temperature"]


def test_an_interrupted_search_goes_on_where_it_was(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe("evaluate.grids.lightgcn-softmax.graph.options.layers=[1, 3, 4]")
    pipeline = Pipeline("tuned", recipe, Workspace(tmp_path / "w"), device="cpu")
    [row] = compared_rows({"lightgcn-softmax": {}}, pipeline.recipe)
    trained: list[int] = []
    pretrain = pretraining.pretrain

    def counted(make: Any, settings: Any, *arguments: Any, **named: Any) -> Any:
        trained.append(settings.options["layers"])
        if len(trained) == 2:
            raise KeyboardInterrupt
        return pretrain(make, settings, *arguments, **named)

    monkeypatch.setattr("glta_cli.stages.pretrain_graph.pretrain", counted)
    with pytest.raises(KeyboardInterrupt):
        tuned(row, pipeline)
    assert len(tuned(row, pipeline).tried) == 3
    assert trained == [1, 3, 3, 4]


def test_tuning_never_looks_at_test_items(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    pipeline = Pipeline("tuned", tiny_recipe(), Workspace(tmp_path / "w"), device="cpu")
    prepared = pipeline.prepared()
    split = type(prepared).split
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(prepared), "split", lambda self, name: asked.append(name) or split(self, name))
        for row in compared_rows({"ease": {}, "mf-softmax": {}}, pipeline.recipe):
            tuned(row, pipeline)
    assert set(asked) == {"train", "valid"}


def test_the_report_says_what_was_tried_and_what_was_chosen(run_toy: Callable[..., Pipeline]) -> None:
    found = report(run_toy(), "popularity", "ease", tune=True)
    assert list(found["tuning"]) == ["ease"]  # popularity has nothing to choose
    best = max(found["tuning"]["ease"], key=lambda each: each["ndcg@10"])
    assert found["settings"]["ease"] == best["settings"]


# ----------------------------------------------------------------------------------------------------- the report


def test_the_parts_of_the_report_agree_with_each_other(run_toy: Callable[..., Pipeline]) -> None:
    found = report(run_toy(), "popularity", "ease")
    # No item of the toy catalogue is cold.
    assert set(found["slices"]) == {"tail items", "head items", "short histories", "long histories"}
    for name, metrics in found["models"].items():
        for metric in ("ndcg", "recall", "precision"):
            curve = found["curves"][name][metric]
            assert len(curve) == 20
            assert [curve[k - 1] for k in (5, 10, 20)] == pytest.approx([metrics[f"{metric}@{k}"] for k in (5, 10, 20)])
        cost = found["costs"][name]
        assert cost["users_per_second"] > 0
        assert cost["fit_seconds"] >= 0
        assert cost["peak_mib"] > 50  # a Python process with numpy takes as much
    assert found["costs"]["glta"]["fit_seconds"] > found["costs"]["lightgcn"]["fit_seconds"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_tables_fit_into_eighty_columns(run_toy: Callable[..., Pipeline], seeds: int) -> None:
    from io import StringIO

    from rich.console import Console

    from glta_cli.core.tables import fitted

    found = report(run_toy(), "popularity", "mf-softmax", "wo-ia", seeds=seeds)
    written = StringIO()
    for part in fitted(report_tables(found), 80):
        Console(file=written, width=80).print(part, crop=False)
    text = written.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for name, metrics in found["models"].items():
        assert f"{metrics['ndcg@10']:.4f}" in text, name
    assert ("standard" in text) == (seeds > 1)


def test_options_are_overrides(workspace_root: Path, tiny_recipe_file: Path) -> None:
    given = ["evaluate", "--recipe", str(tiny_recipe_file), "--baselines", "ease", "--seeds", "2", "--tune", "--json"]
    found = json.loads(CliRunner().invoke(app, given).stdout)
    assert found["seeds"] == [0, 1]
    assert list(found["tuning"]) == ["ease"]


def test_what_is_asked_once_is_not_the_run_s_from_then_on(workspace_root: Path, tiny_recipe_file: Path) -> None:
    def evaluated(*options: str) -> dict[str, Any]:
        finished = CliRunner().invoke(app, ["evaluate", *options, "--baselines", "popularity", "--json"])
        found: dict[str, Any] = json.loads(finished.stdout)
        return found

    assert evaluated("--recipe", str(tiny_recipe_file), "--seeds", "2")["seeds"] == [0, 1]
    assert evaluated()["seeds"] == [0]


def test_a_run_that_is_looked_at_with_other_settings_stays_as_it_is(
    workspace_root: Path, tiny_recipe_file: Path
) -> None:
    def evaluated(*options: str) -> Any:
        return CliRunner().invoke(app, ["evaluate", *options, "--baselines", "popularity", "--json"])

    first = json.loads(evaluated("--recipe", str(tiny_recipe_file)).stdout)
    other = evaluated("--run", "toy", "--seed", "3", "--set", "finetune.fusion=false")
    assert json.loads(other.stdout)["seeds"] == [3]
    assert "run toy stays as it is" in other.stderr
    assert json.loads(evaluated("--run", "toy").stdout)["models"] == first["models"]


def test_the_run_s_own_encoder_among_the_rows_is_left_out_with_a_word(
    run_toy: Callable[..., Pipeline], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = compared_rows({"popularity": {}, "lightgcn": {}}, run_toy().recipe)
    assert [row.name for row in rows] == ["popularity"]
    assert "lightgcn is the run's own graph encoder: it has a row already" in capsys.readouterr().err


def test_the_tables_say_what_tuning_chose(run_toy: Callable[..., Pipeline]) -> None:
    found = report(run_toy(), "popularity", "item-knn", tune=True)
    caption = str(costs_table(found).caption)
    chosen = found["settings"]["item-knn"]
    expected = (
        f"neighbours {chosen['neighbours']}, shrink {chosen['shrink']} (best of {len(found['tuning']['item-knn'])})"
    )
    assert f"item-knn, tuned on validation: {expected}" in caption
    assert "popularity, tuned" not in caption


def test_what_is_wrong_with_a_variant_is_to_be_mended_in_the_variant(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("backbone:\n  layers: 4\nevaluate:\n  variants:\n    bare:\n      backbone:\n        name: none\n")
    finished = CliRunner().invoke(app, ["recipes", "validate", str(path)])
    message = str(finished.exception)
    assert f"{path}:7:9: evaluate.variants.bare.backbone.name: none reads no text" in message
    assert "--set evaluate.variants.bare.text.vectors=false --set evaluate.variants.bare.align.enabled=false" in message
    assert "evaluate.variants.bare.backbone.layers: none is no language model, so it has no layers" in message
