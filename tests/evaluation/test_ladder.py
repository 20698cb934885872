"""`evaluate --ladder`: each part of a model against the model without it, in one table with paired tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from glta_cli.core.errors import BusyError, GltaError, InputError
from glta_cli.evaluation.evaluate import measure
from glta_cli.evaluation.ladder import evaluate_ladder
from glta_cli.evaluation.ladder_steps import STEPS, ladder_of, require_ladder, with_own_linear_row
from glta_cli.evaluation.ladder_table import ladder_notes, ladder_table
from glta_cli.evaluation.listed_rows import compared_rows
from glta_cli.main import app
from glta_cli.plugin import LanguageModel
from glta_cli.plugin.registry import installed
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.significance import sign_flip_probability
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.fusion import FusionWeights, z_scores
from glta_cli.serving.index import Index
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

Run = Callable[..., Pipeline]
# Without them the language model, whose weights are random here anyway, is not trained.
LANGUAGE_RUNGS = {"language-model", "random-weights"}
TEXT_RUNGS = {"ease-text", "l3ae", "l3ae-random-vectors", "l3ae-shuffled-texts"}


def climbed(pipeline: Pipeline, **settings: Any) -> dict[str, Any]:
    chosen = pipeline.recipe.evaluate.model_copy(update=settings)
    return evaluate_ladder(pipeline, require_ladder(pipeline), chosen)


def by_name(ladder: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rung["name"]: rung for rung in ladder["rungs"]}


def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [each for each in installed().components if not each.name.startswith("sasrec")]
    monkeypatch.setattr(installed(), "components", kept)


def ndcg_by_user(pipeline: Pipeline, score: Any) -> np.ndarray:
    """NDCG@10 of each test user."""
    prepared = pipeline.prepared()
    settings = pipeline.recipe.evaluate.model_copy(update={"cutoffs": (10,)})
    seen = prepared.split("train"), prepared.split("valid")
    return measure(score, prepared.split("test"), settings, [], *seen).values["ndcg@10"]


@pytest.fixture(scope="module")
def whole(run_toy: Run) -> tuple[Pipeline, dict[str, Any]]:
    """The toy run, and its ladder."""
    pipeline = run_toy(name="climbed")
    with pytest.MonkeyPatch.context() as patch:
        without_transformers(patch)
        return pipeline, climbed(pipeline)


# ------------------------------------------------------------------------------------------------ what is compared


def test_every_rung_says_what_it_is_compared_with(whole: tuple[Pipeline, dict[str, Any]]) -> None:
    _, ladder = whole
    rungs = by_name(ladder)
    assert list(rungs) == [step.name for step in STEPS if step.name != "transformer"]
    base = ladder["base"]
    against = {name: rung["against"] and ladder["rungs"][rung["against"] - 1]["name"] for name, rung in rungs.items()}
    assert against == {
        "ease": None,
        "ease-text": "ease",
        "l3ae": "ease-text",
        "l3ae-random-vectors": "l3ae",
        "l3ae-shuffled-texts": "l3ae",
        "language-model": base,
        "random-weights": "language-model",
        "encoder": "language-model",
        "all-terms": "encoder",
    }
    for name, other in against.items():
        difference = rungs[name]["difference"]
        if other is None:
            assert (difference, rungs[name]["p"]) == (None, None)
        else:
            assert difference == pytest.approx(rungs[name]["ndcg@10"] - rungs[other]["ndcg@10"], abs=1e-12)
            assert 0 < rungs[name]["p"] <= 1
    assert ladder["left_out"] == {"transformer": "no plugin here brings sasrec-text or sasrec"}


def test_the_figures_are_those_of_the_rows_and_the_test_is_the_paired_one(
    whole: tuple[Pipeline, dict[str, Any]],
) -> None:
    pipeline, ladder = whole
    rungs = by_name(ladder)
    found = {}
    for name in ("ease", "ease-text"):
        [row] = compared_rows({name: {}}, pipeline.recipe)
        [fitted] = row.fitted(pipeline)
        found[name] = ndcg_by_user(pipeline, fitted.score)
        assert rungs[name]["ndcg@10"] == pytest.approx(found[name].mean())
    differences = found["ease-text"] - found["ease"]
    p = sign_flip_probability(differences, pipeline.recipe.evaluate.permutations, pipeline.recipe.seed)
    assert rungs["ease-text"]["p"] == p
    prepared = pipeline.prepared()
    served = Index(pipeline.ensure("index")).scorer(prepared.split("train"), prepared.split("valid"))
    assert rungs["all-terms"]["ndcg@10"] == pytest.approx(ndcg_by_user(pipeline, served).mean())


def test_the_base_is_the_linear_row_that_ranks_validation_items_best(whole: tuple[Pipeline, dict[str, Any]]) -> None:
    pipeline, ladder = whole
    prepared = pipeline.prepared()
    train, validation = prepared.split("train"), prepared.split("valid")
    users = np.flatnonzero(validation.counts)
    for name, figure in ladder["base_chosen"].items():
        [row] = compared_rows({name: {}}, pipeline.recipe)
        [fitted] = row.fitted(pipeline)
        ranked = rank_users(fitted.validation_score, users, 10, train)
        assert figure == pytest.approx(ranking_metrics(ranked, users, validation, [10])["ndcg@10"].mean())
    assert {"ease", "ease-text", "l3ae"} <= set(ladder["base_chosen"])
    assert ladder["base_chosen"][ladder["base"]] == max(ladder["base_chosen"].values())


def test_a_sum_ranks_by_the_weights_it_names(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever validation finds on toy data: here every sum is made of both terms."""
    from glta_cli.serving.term_weights import ChosenTerms

    def both(terms: Any, *_: Any, seed: int) -> ChosenTerms:
        return ChosenTerms(
            list(terms), FusionWeights([0, 8], [[1.0, 0.5], [0.7, 2.0]]), dict.fromkeys(terms, 0), 0, 0, 9
        )

    monkeypatch.setattr("glta_cli.evaluation.fused_rows.choose_terms", both)
    # Of another seed, so that what is published is not what other tests find.
    pipeline = run_toy("finetune.enabled=false", "seed=11", stage="pretrain-graph", name="sums")
    without_transformers(monkeypatch)
    ladder = climbed(pipeline)
    rung = by_name(ladder)["encoder"]
    [found] = rung["sums"]
    assert found["terms"] == [ladder["base"], "lightgcn"]
    [row] = compared_rows({ladder["base"]: {}}, pipeline.recipe)
    [base] = row.fitted(pipeline)
    graph = Index(pipeline.ensure("index")).graph_scorer()
    lengths = pipeline.prepared().split("train").counts

    def added(users: np.ndarray) -> np.ndarray:
        weights = np.where(lengths[users, None] >= 8, [[0.7, 2.0]], [[1.0, 0.5]])
        scores = weights[:, :1] * z_scores(base.score(users)) + weights[:, 1:] * z_scores(graph(users))
        return scores.astype(np.float32)

    assert rung["ndcg@10"] == pytest.approx(ndcg_by_user(pipeline, added).mean())
    told = f"{rung['number']}: 1/0.7·{ladder['base']} + 0.5/2·lightgcn (histories from 0, 8 items)"
    assert told in list(ladder_notes(ladder))
    alike = {**rung, "sums": [{**found, "fusion": {"starts": [0, 8], "weights": [[1.0, 0.5], [1.0, 0.5]]}}]}
    assert f"{rung['number']}: 1·{ladder['base']} + 0.5·lightgcn" in list(ladder_notes({**ladder, "rungs": [alike]}))


# ------------------------------------------------------------------------------------------------ the controls


def test_shuffled_texts_are_another_s_and_the_true_ones_stay_those_of_the_other_rungs(
    run_toy: Run, whole: tuple[Pipeline, dict[str, Any]]
) -> None:
    """The control is what the linear row learns in a run whose texts are dealt out to other items."""
    pipeline, ladder = whole
    dealt = run_toy("text.shuffled=true", "fusion.terms=[l3ae]", name="dealt")
    prepared = pipeline.prepared()
    score = Index(dealt.ensure("index")).scorer(prepared.split("train"), prepared.split("valid"))
    rungs = by_name(ladder)
    assert rungs["l3ae-shuffled-texts"]["ndcg@10"] == pytest.approx(ndcg_by_user(pipeline, score).mean())
    assert rungs["l3ae-shuffled-texts"]["ndcg@10"] != rungs["l3ae"]["ndcg@10"]


def test_vectors_of_random_weights_are_read_by_the_same_backbone_untrained(
    tiny_recipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glta_backbones.tiny import Tiny

    load, asked = Tiny.load, []

    def loaded(self: Tiny, *rest: Any, **more: Any) -> LanguageModel:
        asked.append(self.settings.weights)
        return load(self, *rest, **more)

    monkeypatch.setattr(Tiny, "load", loaded)
    # Another model for random weights: else the vectors of texts are known by now, and nobody loads a model.
    monkeypatch.setattr(Tiny, "identity", lambda self: f"tiny:{self.settings.weights}")
    without_transformers(monkeypatch)
    pipeline = Pipeline("random", tiny_recipe("finetune.enabled=false", "text.backbone=tiny"), Workspace(tmp_path))
    pipeline.ensure("index")
    ladder = climbed(pipeline)
    assert asked == ["pretrained", "random"]
    assert "l3ae-random-vectors" in by_name(ladder)


def test_the_reader_of_texts_may_have_random_weights_whichever_it_is(run_toy: Run) -> None:
    plain = run_toy(stage="encode-items", name="read").ensure("encode-items")
    own = run_toy("text.weights=random", stage="encode-items", name="random reader").ensure("encode-items")
    other = run_toy("text.weights=random", "text.backbone=tiny", stage="encode-items", name="another reader")
    assert "weights" not in plain.manifest["settings"]["text"]
    assert plain.manifest["settings"]["backbone"]["weights"] == "pretrained"
    for artefact in (own, other.ensure("encode-items")):
        assert artefact.manifest["settings"]["backbone"]["weights"] == "random"
        assert artefact.fingerprint != plain.fingerprint
    # It says of the texts alone how they are read: the language model's own weights are what they were.
    assert other.recipe.backbone.weights == "pretrained"


def test_a_transformer_from_nothing_is_added_where_there_is_one(run_toy: Run) -> None:
    pipeline = run_toy("finetune.enabled=false", "evaluate.variants.sasrec-text.graph.training.epochs=2", name="read")
    ladder = climbed(pipeline)
    rung = by_name(ladder)["transformer"]
    assert rung["shown"] == f"{ladder['base']} + sasrec-text"
    assert set(rung["sums"][0]["validation"]) == {ladder["base"], "sasrec-text"}
    [row] = compared_rows({"sasrec-text": {}}, pipeline.recipe)
    [alone] = row.fitted(pipeline)
    if rung["sums"][0]["terms"] == ["sasrec-text"]:
        assert rung["ndcg@10"] == pytest.approx(ndcg_by_user(pipeline, alone.score).mean())
    assert rung["fit_seconds"] > alone.seconds


# ------------------------------------------------------------------------------------------------ what is left out


def test_without_a_language_model_its_rungs_are_left_out_and_named(
    run_toy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_transformers(monkeypatch)
    ladder = climbed(run_toy("finetune.enabled=false", name="no model"))
    assert not LANGUAGE_RUNGS & set(by_name(ladder))
    why = "the recipe trains no language model (finetune.enabled=false)"
    assert {name: ladder["left_out"][name] for name in LANGUAGE_RUNGS} == dict.fromkeys(LANGUAGE_RUNGS, why)
    # What would be compared with the language model is compared with the base.
    encoder = by_name(ladder)["encoder"]
    assert ladder["rungs"][encoder["against"] - 1]["name"] == ladder["base"]


def test_what_sets_linear_rungs_apart_from_the_runs_own_term_is_said(
    run_toy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_transformers(monkeypatch)
    own = ("finetune.enabled=false", "fusion.terms=[ease, encoder]")
    apart = run_toy(*own, "evaluate.baselines={ease: {regularization: 7}}", name="no-language-model")
    notes = " ".join(ladder_notes(climbed(apart, permutations=10)))
    assert "ease as evaluate.baselines sets it (regularization 7); the run's own linear term is fitted" in notes
    assert "evaluate.baselines" not in " ".join(ladder_notes(climbed(run_toy(*own, name="no-language-model"))))


def test_a_linear_row_called_like_another_rung_is_no_rung_of_it(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = run_toy("finetune.enabled=false", "fusion.terms=[ease, encoder]", name="no-language-model")
    fit = SimpleNamespace(details={"row": "transformer"})
    monkeypatch.setattr(pipeline, "ensure", lambda stage: fit)
    with pytest.raises(GltaError, match="the run's linear row 'transformer' is called like another rung"):
        with_own_linear_row(ladder_of(pipeline), pipeline)


def test_without_texts_the_rungs_that_read_them_are_left_out_and_named(
    toy_table: Path, tiny_recipe: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_transformers(monkeypatch)
    (tmp_path / "interactions.csv").write_text((toy_table / "interactions.csv").read_text())
    recipe = tiny_recipe(f"dataset.source={tmp_path}", "align.enabled=false", "finetune.enabled=false")
    pipeline = Pipeline("wordless", recipe, Workspace(tmp_path / "w"), device="cpu")
    pipeline.ensure("index")
    ladder = climbed(pipeline)
    assert list(by_name(ladder)) == ["ease", "encoder", "all-terms"]
    assert {ladder["left_out"][name] for name in TEXT_RUNGS} == {"nothing is written about the items"}
    assert ladder["base"] == "ease"


@pytest.mark.parametrize(
    ("switch", "hint"),
    [
        ("backbone.weights=random", "--set backbone.weights=pretrained"),
        ("text.weights=random", "--set text.weights=pretrained"),
        ("text.shuffled=true", "--set text.shuffled=false"),
        ("finetune.shuffled_users=true", "--set finetune.shuffled_users=false"),
        ("graph.refit=true", "--set graph.refit=false"),
    ],
)
def test_what_is_a_control_itself_has_no_ladder(
    tiny_recipe: Callable[..., Any], tmp_path: Path, switch: str, hint: str
) -> None:
    more = ["finetune.enabled=false"] if switch.startswith("graph") else []
    pipeline = Pipeline("control", tiny_recipe(switch, *more), Workspace(tmp_path))
    with pytest.raises(InputError) as refused:
        require_ladder(pipeline)
    assert refused.value.location == "--ladder"
    assert (refused.value.hint or "").startswith(hint)
    assert not (tmp_path / "stages").exists()


def test_a_split_that_hides_items_has_no_ladder(tiny_recipe: Callable[..., Any], tmp_path: Path) -> None:
    recipe = tiny_recipe()
    split = recipe.dataset.split.model_copy(update={"strategy": "cold-items"})
    hiding = recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update={"split": split})})
    with pytest.raises(InputError, match="splits that hide no items or users"):
        require_ladder(Pipeline("cold", hiding, Workspace(tmp_path)))


# ------------------------------------------------------------------------------------------------ once, and by seed


def test_a_second_ladder_trains_fits_and_weighs_nothing(
    whole: tuple[Pipeline, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, ladder = whole
    without_transformers(monkeypatch)
    stages = pipeline.workspace.root / "stages"
    before = sorted(stages.glob("*/*"))
    assert {path.parent.name for path in before} >= {"fusion", "baseline"}
    again = climbed(pipeline)
    assert sorted(stages.glob("*/*")) == before
    assert again == ladder


def test_who_cannot_keep_what_was_weighed_has_the_figures_all_the_same(
    whole: tuple[Pipeline, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline, ladder = whole
    without_transformers(monkeypatch)
    found = Workspace.published_or_made

    def busy(self: Workspace, stage: str, *rest: Any) -> Any:
        if stage == "fusion":
            raise BusyError("another process is working on fusion")
        return found(self, stage, *rest)

    monkeypatch.setattr(Workspace, "published_or_made", busy)
    again = climbed(pipeline)
    assert [rung["ndcg@10"] for rung in again["rungs"]] == [rung["ndcg@10"] for rung in ladder["rungs"]]
    assert [rung["sums"] for rung in again["rungs"]] == [rung["sums"] for rung in ladder["rungs"]]
    assert f"{ladder['base']} and lightgcn are weighed for this evaluation alone" in " ".join(
        capsys.readouterr().err.split()
    )


def test_what_is_tuned_is_tuned_for_rows_and_controls_alike(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    without_transformers(monkeypatch)
    grids = {
        "ease": {"regularization": [3, 30]},
        "ease-text": {"regularization": [7], "text_weight": [1, 4]},
        "l3ae": {"regularization": [11], "pull": [0.3, 0.9], "text_regularization": [2]},
    }
    given = [f"evaluate.grids.{row}.{name}={values}" for row, grid in grids.items() for name, values in grid.items()]
    pipeline = run_toy("finetune.enabled=false", *given, name="tuned")
    rungs = by_name(climbed(pipeline, tune=True))
    for name, row in [*((each, each) for each in grids), *((each, "l3ae") for each in TEXT_RUNGS if "l3ae-" in each)]:
        for setting, values in grids[row].items():
            assert rungs[name]["settings"][setting] in values, name
    untuned = by_name(climbed(pipeline))
    assert untuned["ease"]["settings"]["regularization"] not in grids["ease"]["regularization"]


def test_figures_of_several_seeds_are_means_and_the_base_is_one(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    without_transformers(monkeypatch)
    pipeline = run_toy("finetune.enabled=false", name="seeds")
    ladder = climbed(pipeline, seeds=2)
    rungs = by_name(ladder)
    assert ladder["seeds"] == [0, 1]
    for rung in rungs.values():
        assert len(rung["by_seed"]) == 2
        assert rung["ndcg@10"] == pytest.approx(np.mean(rung["by_seed"]))
    assert len(set(rungs["ease"]["by_seed"])) == 1
    other = run_toy("finetune.enabled=false", "seed=1", name="seeds")
    assert rungs["encoder"]["by_seed"][1] == by_name(climbed(other))["encoder"]["ndcg@10"]


def test_a_split_in_time_weighs_by_training_histories_and_ranks_by_all_that_is_known(
    run_toy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_transformers(monkeypatch)
    pipeline = run_toy("dataset.split.strategy=leave-last-out", "fusion.terms=auto", name="in time")
    ladder = climbed(pipeline)
    rungs = by_name(ladder)
    [found] = rungs["language-model"]["sums"]
    index = Index(pipeline.ensure("index"))
    # By training histories, and with what older items weigh: as the terms of the run's own index were.
    chosen = index.artefact.details["validation"]
    fit = pipeline.ensure("fit-linear").details
    assert found["validation"]["tiny"] == pytest.approx(chosen["glta-llm"])
    assert ladder["base_chosen"][fit["row"]] == pytest.approx(fit["ndcg@10"])
    assert fit["recency"] == rungs[fit["row"]]["settings"].get("recency", 1.0)
    prepared = pipeline.prepared()
    served = index.scorer(prepared.split("train"), prepared.split("valid"))
    assert rungs["all-terms"]["ndcg@10"] == pytest.approx(ndcg_by_user(pipeline, served).mean())


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def glta(workspace_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    without_transformers(monkeypatch)
    return lambda *arguments: CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_the_command_prints_one_table_and_the_page_has_it_too(
    glta: Callable[..., Any], tiny_recipe_file: Path, tmp_path: Path
) -> None:
    options = ["evaluate", "--recipe", str(tiny_recipe_file), "--set", "finetune.enabled=false", "--ladder"]
    finished = glta(*options, "--report", "page.html")
    assert finished.exit_code == 0, finished.output
    shown = finished.stdout
    assert shown.splitlines()[0].strip() == "What the language model adds"
    assert "by slice" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    report = glta(*options, "--baselines", "popularity", "--json")
    ladder = json.loads(report.stdout)["ladder"]
    for rung in ladder["rungs"]:
        assert re.search(rf"^ *{rung['number']} .*{rung['ndcg@10']:.4f} ", shown, re.MULTILINE), rung
    page = (tmp_path / "page.html").read_text()
    section = page.partition('<section id="ladder">')[2].partition("</section>")[0]
    assert "<h2>What the language model adds</h2>" in section
    for rung in ladder["rungs"]:
        assert f">{rung['number']} {rung['shown']}</th><td>{rung['ndcg@10']:.4f}" in section
    assert "the recipe trains no language model" in section


def test_without_the_option_there_is_no_ladder(glta: Callable[..., Any], tiny_recipe_file: Path) -> None:
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), "--set", "finetune.enabled=false", "--json")
    assert "ladder" not in json.loads(finished.stdout)


def test_a_table_fits_80_columns_whatever_the_names(whole: tuple[Pipeline, dict[str, Any]]) -> None:
    from rich.console import Console

    pipeline, ladder = whole
    long = {**ladder, "rungs": [{**each, "shown": "a-linear-row + " + "x" * 40} for each in ladder["rungs"]]}
    console = Console(width=80, record=True)
    with console.capture() as captured:
        console.print(ladder_table({"dataset": "toy", "run": pipeline.name, "ladder": long}))
        console.print(ladder_table({"dataset": "toy", "run": pipeline.name, "ladder": long, "draws": [{}, {}]}))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    # The draws of a split that are measured beside the first one have no ladder.
    assert [line.strip() for line in lines].count("of the first of 2 draws of the split") == 1
    for rung in ladder["rungs"]:
        assert any(f"{rung['ndcg@10']:.4f}" in line for line in lines)
