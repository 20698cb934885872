"""Stage 1: negatives, selection, and what LightGCN reaches on real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from glta_cli.core.errors import GltaError
from glta_cli.data.prepared import PreparedDataset
from glta_cli.evaluation.baselines import fitted_baseline, made_baseline
from glta_cli.evaluation.evaluate import measure
from glta_cli.graph.pretraining import Embeddings, SoftmaxTask, pretrain, validation_users
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.recipe.files import load_recipe
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

Draw = Callable[..., Interactions]


def test_without_a_validation_item_no_epoch_can_be_selected() -> None:
    with pytest.raises(GltaError, match="no user has a validation item"):
        validation_users(Interactions.from_pairs([], [], user_count=3, item_count=2))


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_the_published_embeddings_score_as_the_loss_did(toy_root: Path, run_toy, loss: str) -> None:
    pipeline = run_toy(f"graph.loss={loss}", stage="pretrain-graph", name=f"graph-{loss}")
    stored = np_tensors(pipeline.ensure("pretrain-graph").file("full.safetensors"))
    lengths = np.linalg.norm(stored["items"], axis=1)
    assert stored["users"].shape == (60, 16)
    assert stored["items"].shape == (40, 16)
    # The softmax sees directions only; bpr sees lengths too.
    assert np.allclose(lengths, 1, atol=1e-5) == (loss == "softmax")


def np_tensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def test_two_tastes_are_told_apart(run_toy) -> None:
    pipeline = run_toy(stage="pretrain-graph")
    stored = np_tensors(pipeline.ensure("pretrain-graph").file("full.safetensors"))
    prepared = pipeline.prepared()
    space = np.array([title.startswith("Space") for title in prepared.titles])
    film_lovers = np.array([int(user[1:]) < 30 for user in prepared.user_ids])
    scores = stored["users"] @ stored["items"].T
    right = (scores[:, space].mean(1) > scores[:, ~space].mean(1)) == film_lovers
    assert right.mean() > 0.95


def test_the_same_seed_gives_the_same_embeddings_and_another_others(run_toy) -> None:
    def items(*overrides: str) -> np.ndarray:
        stage = run_toy(*overrides, stage="pretrain-graph", name="seeds").ensure("pretrain-graph")
        return np_tensors(stage.file("full.safetensors"))["items"]

    first = items("graph.temperature=0.21")
    # One setting that changes nothing here but the fingerprint.
    again = items("graph.temperature=0.21", "graph.training.checkpoint_seconds=999")
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, items("graph.temperature=0.21", "seed=1"))


# ------------------------------------------------------------------------------------------------- refitted


STAGE_1 = ["finetune.enabled=false", "graph.alignment_holdout=0"]


def edges_of(interactions: Interactions) -> set[tuple[int, int]]:
    return set(zip(interactions.users.tolist(), interactions.items.tolist(), strict=True))


def test_a_refitted_encoder_sees_validation_and_never_test(tiny_recipe, tmp_path: Path, monkeypatch) -> None:
    propagated: list[set[tuple[int, int]]] = []
    learnt: list[set[tuple[int, int]]] = []
    starts: list[Tensor] = []

    class Graph(InteractionGraph):
        def __init__(self, interactions: Interactions, folder: Path | None = None) -> None:
            propagated.append(edges_of(interactions))
            super().__init__(interactions, folder)

    class Task(SoftmaxTask):
        def __init__(self, encoder, settings, interactions, *others) -> None:
            learnt.append(edges_of(interactions))
            starts.append(encoder.embeddings.detach().clone())
            super().__init__(encoder, settings, interactions, *others)

    monkeypatch.setattr("glta_cli.graph.pretraining.InteractionGraph", Graph)
    monkeypatch.setattr("glta_cli.graph.pretraining.SoftmaxTask", Task)
    recipe = tiny_recipe(*STAGE_1, "graph.refit=true", "graph.options.start=random")
    pipeline = Pipeline("refit", recipe, Workspace(tmp_path), device="cpu")
    artefact = pipeline.ensure("pretrain-graph")
    train, valid, test = (edges_of(pipeline.prepared().split(part)) for part in ("train", "valid", "test"))
    assert valid
    assert test
    assert propagated == learnt == [train, train | valid]
    assert not learnt[1] & test
    # From the start again, not from where the first training ended.
    assert torch.equal(*starts)
    assert artefact.details["refit"]["epochs"] == artefact.details["full"]["best_epoch"] > 0


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_a_refit_publishes_what_as_many_epochs_on_both_parts_give(tiny_recipe, tmp_path: Path, loss: str) -> None:
    recipe = tiny_recipe(*STAGE_1, "graph.refit=true", f"graph.loss={loss}", "graph.options.start=random")
    pipeline = Pipeline("refit", recipe, Workspace(tmp_path), device="cpu")
    artefact = pipeline.ensure("pretrain-graph")
    prepared = pipeline.prepared()
    parts = [prepared.split(part) for part in ("train", "valid")]
    pairs = [np.concatenate([getattr(part, column) for part in parts]) for column in ("users", "items")]
    counts = {"user_count": prepared.user_count, "item_count": prepared.item_count}
    union = Interactions.from_pairs(*pairs, **counts)
    epochs = artefact.details["full"]["best_epoch"]
    assert epochs > 0
    training = recipe.graph.training.model_copy(update={"epochs": epochs, "validate_every": 100})
    component = installed().find("encoder", "lightgcn")
    # One that ranks what it learns is best after its last epoch.
    expected = pretrain(
        lambda graph: component.target()(graph, component_options(recipe, "encoder")),
        recipe.graph.model_copy(update={"training": training}),
        union,
        Interactions.from_pairs([], [], **counts),
        union,
        seed=recipe.seed,
        device=torch.device("cpu"),
        state_folder=tmp_path / "state",
        description="both",
    )
    assert expected.progress.best_epoch == epochs
    stored = np_tensors(artefact.file("full.safetensors"))
    np.testing.assert_array_equal(stored["items"], expected.embeddings.items)
    np.testing.assert_array_equal(stored["users"], expected.embeddings.users)
    assert len(artefact.details["refit"]["history"]) == epochs


def test_without_a_refit_the_selected_encoder_is_published(run_toy) -> None:
    artefact = run_toy(*STAGE_1, stage="pretrain-graph", name="unrefitted").ensure("pretrain-graph")
    assert "refit" not in artefact.details
    assert "refit" not in artefact.manifest["settings"]["graph"]


def test_a_refit_trains_nothing_for_stage_3_which_there_is_not(run_toy) -> None:
    artefact = run_toy("finetune.enabled=false", "graph.refit=true", stage="pretrain-graph", name="refit").ensure(
        "pretrain-graph"
    )
    assert not artefact.has("alignment.safetensors")
    assert {"full", "refit"} <= artefact.details.keys()
    assert "alignment" not in artefact.details


# ------------------------------------------------------------------------------------------- MovieLens-100K


def movielens(shared_data: Path, folder: Path, *overrides: str) -> Pipeline:
    source = f"dataset.source={shared_data / 'ml-100k'}"
    recipe = load_recipe("quickstart", [source, "graph.alignment_holdout=0", *overrides]).recipe
    return Pipeline("movielens", recipe, Workspace(folder), device="cpu")


def trained_on(prepared: PreparedDataset, recipe: Recipe, folder: Path) -> Embeddings:
    component = installed().find("encoder", recipe.graph.encoder)
    train = prepared.split("train")
    folder.mkdir()
    return pretrain(
        lambda graph: component.target()(graph, component.config()()),
        recipe.graph,
        train,
        train,
        prepared.split("valid"),
        seed=recipe.seed,
        device=torch.device("cpu"),
        state_folder=folder,
        description="LightGCN",
    ).embeddings


def ndcg(pipeline: Pipeline, folder: Path) -> dict[str, float]:
    prepared = pipeline.prepared()
    train = prepared.split("train")
    models = {
        "popularity": fitted_baseline(made_baseline("popularity", {}), pipeline).score,
        "lightgcn": trained_on(prepared, pipeline.recipe, folder).scorer(),
    }
    test, seen = prepared.split("test"), (train, prepared.split("valid"))
    measured = {name: measure(score, test, pipeline.recipe.evaluate, [], *seen) for name, score in models.items()}
    return {name: float(row.values["ndcg@20"].mean()) for name, row in measured.items()}


def test_a_few_epochs_of_lightgcn_are_far_better_than_popularity(shared_data: Path, tmp_path: Path) -> None:
    few = ["graph.training.epochs=30", "graph.training.validate_every=10", "graph.training.learning_rate=0.03"]
    found = ndcg(movielens(shared_data, tmp_path / "workspace", *few), tmp_path / "state")
    assert found["popularity"] == pytest.approx(0.15, abs=0.02)
    assert found["lightgcn"] > 1.6 * found["popularity"]


@pytest.mark.slow
def test_lightgcn_with_softmax_reaches_the_measured_quality(shared_data: Path, tmp_path: Path) -> None:
    found = ndcg(movielens(shared_data, tmp_path / "workspace"), tmp_path / "state")
    assert found["lightgcn"] >= 0.30
