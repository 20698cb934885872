"""A refit: trained on everything known for the epochs selected before, served, and never evaluated."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from typer.testing import CliRunner

from glta_cli.core.errors import GltaError, InputErrors, InterruptedRunError
from glta_cli.data.splits import holdout_targets
from glta_cli.graph.pretraining import Embeddings, SoftmaxTask, pretrain
from glta_cli.language.finetuning import Examples, FinetuningTask
from glta_cli.language.model import load_own_tensors, own_tensors
from glta_cli.main import app
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options
from glta_cli.stages.align import Align
from glta_cli.stages.context import ALIGNMENT_GRAPH, FULL_GRAPH, MODEL, TARGETS
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.refit import on_everything
from glta_cli.stages.refit_names import REFITTED, refit_name
from glta_cli.training.loop import train
from glta_cli.workspace.workspace import Workspace

REFIT = "finetune.refit=true"
SELECTED = ("encode-items", "pretrain-graph", "align", "finetune", "index")
# The toy recipe asks for no words, and has no linear term.
AGAIN = tuple(refit_name(name) for name in REFITTED if name not in ("describe-users", "fit-linear"))


@pytest.fixture(scope="session")
def refitted(run_toy: Callable[..., Pipeline]) -> Pipeline:
    return run_toy(REFIT, stage=SERVING, name="refitted")


@pytest.fixture
def glta() -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


@pytest.fixture
def toy(run_toy: Callable[..., Pipeline], tiny_recipe_file: Path, workspace_root: Path) -> Path:
    """The toy recipe, in a workspace of its own where its stages are published and no run is known."""
    shutil.copytree(run_toy().workspace.root / "stages", workspace_root / "stages")
    for each in (workspace_root / "stages").glob("refit-*"):
        shutil.rmtree(each)
    return tiny_recipe_file


# ------------------------------------------------------------------------------------------ what is trained


def test_what_was_selected_and_is_evaluated_is_the_same_with_a_refit(
    run_toy: Callable[..., Pipeline], refitted: Pipeline
) -> None:
    plain = run_toy()
    for stage in SELECTED:
        assert plain.ensure(stage).path == refitted.ensure(stage).path
    assert refitted.last_stage == "index"
    vectors = [load_file(refitted.ensure(stage).file("vectors.safetensors")) for stage in ("index", SERVING)]
    assert not np.array_equal(vectors[0]["rows"], vectors[1]["rows"])


def test_figures_are_the_same_with_a_refit(glta: Callable[..., Any], toy: Path) -> None:
    plain = json.loads(glta("evaluate", "--recipe", str(toy), "--json").stdout)
    glta("finetune", "--refit", "--recipe", str(toy))
    assert json.loads(glta("evaluate", "--run", "toy", "--json").stdout)["models"] == plain["models"]


def test_a_refitted_encoder_is_that_of_as_many_epochs_on_all_interactions(refitted: Pipeline, tmp_path: Path) -> None:
    recipe, known = refitted.recipe, refitted.prepared().history()
    selected, artefact = (refitted.ensure(stage) for stage in ("pretrain-graph", "refit-pretrain-graph"))
    component = installed().find("encoder", "lightgcn")
    targets = holdout_targets(known, recipe.graph.alignment_holdout, recipe.seed)
    assert_array_equal(load_file(artefact.file(TARGETS))["targets"].astype(bool), targets)
    for training, file, edges in (("full", FULL_GRAPH, known), ("alignment", ALIGNMENT_GRAPH, known.where(~targets))):
        epochs = selected.details[training]["best_epoch"]
        assert artefact.details[training]["epochs"] == epochs > 0
        expected = pretrain(
            lambda graph: component.target()(graph, component_options(recipe, "encoder")),
            recipe.graph,
            edges,
            known,
            refitted.prepared().split("valid"),
            seed=recipe.seed,
            device=torch.device("cpu"),
            state_folder=tmp_path / training,
            description=training,
            fixed_epochs=epochs,
        )
        stored = load_file(artefact.file(file))
        assert_array_equal(stored["users"], expected.embeddings.users)
        assert_array_equal(stored["items"], expected.embeddings.items)


def test_a_refitted_model_is_that_of_as_many_epochs_on_all_interactions(refitted: Pipeline, tmp_path: Path) -> None:
    recipe, prepared = refitted.recipe, refitted.prepared()
    epochs = refitted.ensure("finetune").details["best_epoch"]
    artefact = refitted.ensure("refit-finetune")
    assert artefact.details["epochs"] == epochs > 0
    stored = load_file(refitted.ensure("refit-pretrain-graph").file(ALIGNMENT_GRAPH))
    holdout = load_file(refitted.ensure("refit-pretrain-graph").file(TARGETS))["targets"].astype(bool)
    context = on_everything(refitted.context())
    model = context.model(Embeddings(stored["users"], stored["items"]), adapters=True)
    load_own_tensors(model, refitted.ensure("refit-align").file(MODEL))
    task = FinetuningTask(
        model,
        context.user_prompts(model.language_model.tokenizer),
        Examples(prepared.history(), holdout, recipe.finetune, recipe.seed),
        prepared.history(),
        prepared.split("valid"),
        recipe.finetune,
        aligned=True,
        inference_batch=recipe.evaluate.batch_size,
        seed=recipe.seed,
    )
    task.warm_start(recipe.graph.temperature)
    train(task, recipe.finetune.training, state_folder=tmp_path, description="expected", fixed_epochs=epochs)
    expected, found = own_tensors(model), load_file(artefact.file(MODEL))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert_array_equal(found[name], tensor.numpy(), err_msg=name)


def test_each_users_newest_item_is_trained_on(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder_edges: list[set[tuple[int, int]]] = []
    examples: list[set[tuple[int, int]]] = []

    class Task(SoftmaxTask):
        def __init__(self, encoder: Any, settings: Any, interactions: Any, *others: Any) -> None:
            encoder_edges.append(set(zip(interactions.users.tolist(), interactions.items.tolist(), strict=True)))
            super().__init__(encoder, settings, interactions, *others)

    def of_epoch(self: Examples, epoch: int, drawn: Any = Examples.of_epoch) -> Any:
        found = drawn(self, epoch)
        examples.append({(each.user, int(item)) for each in found for item in (*each.context, *each.targets)})
        return found

    monkeypatch.setattr("glta_cli.graph.pretraining.SoftmaxTask", Task)
    monkeypatch.setattr(Examples, "of_epoch", of_epoch)
    recipe = tiny_recipe(REFIT, "dataset.split.strategy=leave-last-out")
    pipeline = Pipeline("newest", recipe, Workspace(tmp_path), device="cpu")
    pipeline.ensure("index")
    known = pipeline.prepared().history()
    newest = {(user, int(known.of(user)[-1])) for user in range(known.user_count) if len(known.of(user)) > 2}
    assert len(newest) == 59
    assert not newest & set.union(*encoder_edges, *examples)
    encoder_edges.clear()
    examples.clear()
    pipeline.ensure(SERVING)
    assert newest < encoder_edges[0]
    assert len(encoder_edges[0]) == len(known)
    # Users whose only held-out item is drawn have an example; the newest of the others stands in none.
    assert len(newest & examples[0]) > 40


def test_a_start_that_no_epoch_bettered_is_kept(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    # Steps so short that no ranking changes: the first of equal epochs is kept, which is the warm start.
    recipe = tiny_recipe(REFIT, "finetune.training.learning_rate=1e-12")
    pipeline = Pipeline("start", recipe, Workspace(tmp_path), device="cpu")
    pipeline.ensure(SERVING)
    assert pipeline.ensure("finetune").details["best_epoch"] == 0
    assert pipeline.ensure("refit-finetune").details["epochs"] == 0
    assert np.isfinite(load_file(pipeline.ensure(SERVING).file("vectors.safetensors"))["rows"]).all()


def test_words_are_asked_for_again_where_a_prompt_has_changed(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(REFIT, "interests.profile=true", stage=SERVING, name="words")
    assert {name for name, _ in pipeline.reached()} >= {*AGAIN, refit_name("describe-users")}


# ----------------------------------------------------------------------------------- interrupted, and a failure


@pytest.mark.parametrize("at", ["encoder", "model"])
def test_an_interrupted_refit_goes_on(
    refitted: Pipeline,
    tiny_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    at: str,
) -> None:
    shutil.copytree(refitted.workspace.root / "stages", tmp_path / "stages")
    for each in (tmp_path / "stages").glob("refit-*"):
        shutil.rmtree(each)

    def pipeline() -> Pipeline:
        return Pipeline("refitted", tiny_recipe(REFIT), Workspace(tmp_path), device="cpu")

    task: Any = SoftmaxTask if at == "encoder" else FinetuningTask
    steps = iter(range(1000))
    with monkeypatch.context() as patch:

        def interrupted(self: Any, batch: Any, loss: Any = task.loss) -> torch.Tensor:
            if next(steps) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return loss(self, batch)

        patch.setattr(task, "loss", interrupted)
        with pytest.raises(InterruptedRunError):
            pipeline().ensure(SERVING)
    capsys.readouterr()
    resumed = pipeline()
    resumed.ensure(SERVING)
    assert "continuing after step 3" in capsys.readouterr().err
    for stage in (*AGAIN, SERVING):
        assert resumed.ensure(stage).manifest["outputs"] == refitted.ensure(stage).manifest["outputs"]
    assert not list((tmp_path / "states").glob("*"))


def test_a_refit_that_fails_leaves_the_run_to_answer_as_before(
    glta: Callable[..., Any], toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ("recommend", "--user", "u7", "--json")
    before = glta(*ask, "--recipe", str(toy)).stdout

    def fails(*_: object) -> None:
        raise GltaError("the model has no room", location="cuda:0")

    with monkeypatch.context() as patch:
        patch.setattr(Align, "run", fails)
        with pytest.raises(GltaError, match="no room"):
            glta("finetune", "--refit", "--run", "toy")
    asked = glta(*ask)
    assert asked.stdout == before
    assert "it answers as it was before" in " ".join(asked.stderr.split())
    finished = glta("finetune", "--refit", "--run", "toy")
    assert "▸ refit-pretrain-graph" not in finished.stderr
    assert "other settings" not in finished.stderr
    after = glta(*ask)
    assert after.stdout != before
    assert after.stderr == ""


# ------------------------------------------------------------------------------------------- served, and told


def test_recommendations_are_those_of_the_refit(glta: Callable[..., Any], toy: Path) -> None:
    plain = json.loads(glta("recommend", "--user", "u7", "--recipe", str(toy), "--json").stdout)
    first = json.loads(glta("recommend", "--user", "u7", "--recipe", str(toy), "--set", REFIT, "--json").stdout)
    again = glta("recommend", "--user", "u7", "--json")
    assert (json.loads(again.stdout), again.stderr) == (first, "")
    assert first["recommendations"] != plain["recommendations"]
    assert plain["trained"] < plain["interactions"] == first["trained"] == first["interactions"]
    assert "trained on all of them" in glta("recommend", "--user", "u7").stdout
    index = Workspace().required_run("toy").stages[SERVING]
    stored = load_file(Workspace().root / "stages" / SERVING / index / "vectors.safetensors")
    assert stored["lengths"].sum() == len(stored["history_items"])


def test_a_run_says_whether_it_is_refitted_and_keeps_what_it_is_made_of(glta: Callable[..., Any], toy: Path) -> None:
    glta("recommend", "--user", "u7", "--recipe", str(toy))
    assert "refitted on everything: no" in glta("runs", "show", "toy").stdout
    glta("finetune", "--refit", "--run", "toy")
    assert "refitted on everything: yes" in glta("runs", "show", "toy").stdout
    shown = json.loads(glta("runs", "show", "toy", "--json").stdout)
    assert shown["refitted"] is True
    assert [each["stage"] for each in shown["stages"]][-4:] == [*AGAIN, SERVING]
    glta("runs", "gc")
    assert all(each["published"] for each in json.loads(glta("runs", "show", "toy", "--json").stdout)["stages"])
    assert glta("runs", "verify", "toy").exit_code == 0
    glta("runs", "remove", "toy")
    assert not list((Workspace().root / "stages").glob("refit-*/*"))


def test_a_dry_run_shows_the_stages_of_the_refit(glta: Callable[..., Any], toy: Path) -> None:
    listed = {
        refit: [
            each["stage"]
            for each in json.loads(glta("finetune", *refit, "--recipe", str(toy), "--dry-run", "--json").stdout)[
                "stages"
            ]
        ]
        for refit in ((), ("--refit",))
    }
    assert listed["--refit",] == ["prepare", *SELECTED, *AGAIN, SERVING]
    assert listed[()] == ["prepare", *SELECTED[:-1]]


@pytest.mark.parametrize(
    ("terms", "again"),
    [("[ease, encoder]", ["refit-pretrain-graph", "refit-fit-linear"]), ("[encoder]", ["refit-pretrain-graph"])],
)
def test_without_a_language_model_the_terms_there_are_are_refitted(
    terms: str, again: list[str], glta: Callable[..., Any], tiny_recipe_file: Path, workspace_root: Path
) -> None:
    changes = ("--set", "finetune.enabled=false", "--set", f"fusion.terms={terms}")
    glta("finetune", "--refit", "--recipe", str(tiny_recipe_file), *changes)
    shown = json.loads(glta("runs", "show", "toy", "--json").stdout)
    assert shown["state"] == "finished"
    assert [each["stage"] for each in shown["stages"]][-len(again) - 1 :] == [*again, SERVING]
    answer = json.loads(glta("recommend", "--user", "u7", "--json").stdout)
    assert answer["trained"] == answer["interactions"]


def test_an_encoder_is_not_refitted_twice(glta: Callable[..., Any], tiny_recipe_file: Path) -> None:
    changes = ("--set", "finetune.enabled=false", "--set", "graph.refit=true")
    with pytest.raises(InputErrors, match=r"graph\.refit: finetune\.refit trains the encoder again too"):
        glta("finetune", "--refit", "--recipe", str(tiny_recipe_file), *changes)
