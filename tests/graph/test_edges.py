"""Edges on a disk, and settings that came later: the same training, found under the same fingerprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from glta_encoders.lightgcn import LightGCN
from glta_encoders.settings import LightGCNSettings

from glta_cli.core.errors import InputError
from glta_cli.graph.edges import folder_of_edges
from glta_cli.graph.pretraining import PretrainedEncoder, pretrain
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.files import load_recipe
from glta_cli.recipe.schema import GraphSettings, TrainingSettings
from glta_cli.stages.align import Align
from glta_cli.stages.finetune import Finetune
from glta_cli.stages.pretrain_graph import PretrainGraph

CPU = torch.device("cpu")


def trained(interactions: Interactions, folder: Path, edges: str) -> PretrainedEncoder:
    count = interactions.user_count
    validation = Interactions.from_pairs(
        np.arange(count), np.arange(count) % interactions.item_count, user_count=count, item_count=17
    )
    return pretrain(
        lambda graph: LightGCN(graph, LightGCNSettings(dimension=8)),
        GraphSettings(edges=edges, training=TrainingSettings(epochs=2, batch_size=7, learning_rate=0.05)),  # type: ignore[arg-type]
        interactions,
        interactions,
        validation,
        seed=0,
        device=CPU,
        state_folder=folder,
        description="edges",
    )


def test_a_training_with_edges_on_the_disk_gives_the_same_vectors(random_interactions, tmp_path: Path) -> None:
    interactions = random_interactions(23, 17, share=0.3)
    here, there = (trained(interactions, tmp_path / place, place) for place in ("memory", "disk"))
    assert np.array_equal(here.embeddings.users, there.embeddings.users)
    assert np.array_equal(here.embeddings.items, there.embeddings.items)


def test_auto_maps_them_from_the_disk_where_they_would_take_much_of_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1 << 30
    monkeypatch.setattr("glta_cli.graph.edges.available_memory", lambda: free)
    auto = GraphSettings()
    assert folder_of_edges(auto, free // 16 // 8, tmp_path, CPU) is None
    assert folder_of_edges(auto, free // 16 // 8 + 1, tmp_path, CPU) == tmp_path
    assert folder_of_edges(GraphSettings(edges="memory"), free, tmp_path, CPU) is None


def test_a_gpu_takes_no_edges_from_a_disk(tmp_path: Path) -> None:
    gpu = torch.device("cuda")
    assert folder_of_edges(GraphSettings(), 10**12, tmp_path, gpu) is None
    with pytest.raises(InputError, match="cuda") as refused:
        folder_of_edges(GraphSettings(edges="disk"), 1, tmp_path, gpu)
    assert "graph.edges=auto" in str(refused.value.hint)


def test_the_edges_of_too_many_interactions_are_refused_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glta_cli.plugin.adjacency.MOST_EDGES", 2)
    three = Interactions.from_pairs([0, 0, 1], [0, 1, 1], user_count=2, item_count=2)
    with pytest.raises(InputError, match="3 interactions are more edges than a graph can hold"):
        InteractionGraph(three)


@pytest.mark.parametrize("stage", [PretrainGraph(), Align(), Finetune()], ids=lambda stage: stage.name)
def test_what_was_published_before_a_setting_came_is_found(stage: PretrainGraph | Align | Finetune) -> None:
    section = {"pretrain-graph": "graph", "align": "align", "finetune": "finetune"}[stage.name]
    before = stage.settings(load_recipe("quickstart").recipe)[section]
    assert not {"neighbours", "softmax_sampling", "edges", "moments"} & {*before, *before["training"]}
    half = stage.settings(load_recipe("quickstart", [f"{section}.training.moments=bfloat16"]).recipe)[section]
    assert half == before | {"training": before["training"] | {"moments": "bfloat16"}}


def test_only_what_changes_the_encoder_changes_its_fingerprint() -> None:
    def settings(*changes: str) -> dict[str, object]:
        found = PretrainGraph().settings(load_recipe("quickstart", changes).recipe)["graph"]
        assert isinstance(found, dict)
        return found

    assert settings("graph.edges=disk") == settings()
    sampled = settings("graph.neighbours=[3, 2]", "graph.softmax_items=100")
    assert sampled["neighbours"] == [3, 2]
