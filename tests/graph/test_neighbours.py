"""Neighbours sampled by torch-geometric's loader: with all of them, training is that on the whole graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from glta_encoders.lightgcn import LightGCN
from glta_encoders.settings import LightGCNSettings
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric import typing as available

from glta_cli.core.errors import GltaError, InputErrors
from glta_cli.graph.neighbours import ALL, NeighbourSampler
from glta_cli.graph.pretraining import PretrainedEncoder, SampledSoftmaxTask, SoftmaxTask, pretrain
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.files import load_recipe
from glta_cli.recipe.schema import GraphSettings, TrainingSettings

Draw = Callable[..., Interactions]

needs_backend = pytest.mark.skipif(
    not (available.WITH_PYG_LIB or available.WITH_TORCH_SPARSE),
    reason="torch-geometric samples neighbours by pyg-lib or torch-sparse, and PyPI has wheels of neither",
)

USERS, ITEMS = 23, 17


@pytest.fixture
def interactions(random_interactions: Draw) -> Interactions:
    return random_interactions(USERS, ITEMS, share=0.3)


@pytest.fixture
def encoder(interactions: Interactions) -> LightGCN:
    torch.manual_seed(0)
    return LightGCN(InteractionGraph(interactions), LightGCNSettings(dimension=8, layers=2)).double()


def gradients_of(encoder: LightGCN, vectors: Tensor, slopes: Tensor) -> Tensor:
    encoder.zero_grad()
    (vectors * slopes).sum().backward()
    found = encoder.embeddings.grad
    assert found is not None
    return found.clone()


@needs_backend
def test_with_every_neighbour_vectors_and_gradients_are_those_of_the_whole_graph(encoder: LightGCN) -> None:
    wanted = torch.tensor([30, 3, 0, 22, 39])
    slopes = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = torch.cat(encoder())[wanted]
    sample = NeighbourSampler(encoder.graph, [ALL, ALL]).sample(wanted)
    sampled = encoder.of_sample(sample)
    torch.testing.assert_close(sampled, whole, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(
        gradients_of(encoder, sampled, slopes), gradients_of(encoder, whole, slopes), rtol=1e-6, atol=1e-8
    )


@needs_backend
def test_the_mean_of_many_samples_is_the_whole_product(encoder: LightGCN) -> None:
    torch.manual_seed(3)
    sampler = NeighbourSampler(encoder.graph, [2])
    nodes = encoder.embeddings.detach()
    wanted = torch.arange(USERS)
    found = torch.zeros(USERS, 8, dtype=torch.float64)
    for _ in range(3000):
        sample = sampler.sample(wanted)
        assert len(sample.targets) <= 2 * USERS
        found += sample.propagate(nodes[sample.nodes])[:USERS] / 3000
    expected = encoder.graph.propagate(nodes)[:USERS]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1 * float(expected.abs().max()))


def trained(
    interactions: Interactions, folder: Path, neighbours: tuple[int, ...] | None, loss: str = "softmax", epochs: int = 2
) -> PretrainedEncoder:
    validation = Interactions.from_pairs(np.arange(USERS), np.arange(USERS) % ITEMS, user_count=USERS, item_count=ITEMS)
    return pretrain(
        lambda graph: LightGCN(graph, LightGCNSettings(dimension=8)),
        GraphSettings(
            loss=loss,  # type: ignore[arg-type]
            softmax_items=9,
            neighbours=neighbours,
            training=TrainingSettings(epochs=epochs, batch_size=7, learning_rate=0.05),
        ),
        interactions,
        interactions,
        validation,
        seed=0,
        device=torch.device("cpu"),
        state_folder=folder,
        description="sampled",
    )


@needs_backend
@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_a_training_with_every_neighbour_ends_where_one_on_the_whole_graph_does(
    interactions: Interactions, tmp_path: Path, loss: str
) -> None:
    whole = trained(interactions, tmp_path / "whole", None, loss)
    sampled = trained(interactions, tmp_path / "sampled", (ALL, ALL), loss)
    if loss == "bpr":  # the softmax draws its items, and those of the two are others
        np.testing.assert_allclose(sampled.embeddings.users, whole.embeddings.users, atol=1e-4)
    losses = [[epoch["loss"] for epoch in each.progress.history[1:]] for each in (whole, sampled)]
    np.testing.assert_allclose(*losses, rtol=1e-4 if loss == "bpr" else 0.2)


@needs_backend
def test_a_sampled_training_that_is_resumed_ends_bit_for_bit_where_one_in_one_go_does(
    interactions: Interactions, tmp_path: Path
) -> None:
    whole = trained(interactions, tmp_path / "whole", (3, 2), epochs=3)
    trained(interactions, tmp_path / "parts", (3, 2), epochs=1)
    resumed = trained(interactions, tmp_path / "parts", (3, 2), epochs=3)
    assert resumed.progress.history == whole.progress.history
    assert np.array_equal(resumed.embeddings.users, whole.embeddings.users)


@pytest.mark.parametrize("catalogue", [None, np.arange(2, ITEMS)], ids=["all", "some"])
def test_a_sample_of_the_whole_catalogue_is_exact_however_it_is_drawn(
    interactions: Interactions, encoder: LightGCN, monkeypatch: pytest.MonkeyPatch, catalogue: NDArray[np.int64] | None
) -> None:
    if catalogue is not None:
        kept = interactions.items >= 2
        users, items = interactions.users[kept], interactions.items[kept]
        interactions = Interactions.from_pairs(users, items, user_count=USERS, item_count=ITEMS)

    def embedded(self: SampledSoftmaxTask, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        of_users, of_items = self.module()
        return of_users[users], of_items[items]

    monkeypatch.setattr(SampledSoftmaxTask, "embedded", embedded)  # what samples neighbours may not be installed
    settings = GraphSettings(softmax_items=ITEMS, softmax_sampling="popularity", neighbours=(ALL, ALL))
    sampled, exact = (
        task(encoder, settings, interactions, interactions, interactions, 0, catalogue)
        for task in (SampledSoftmaxTask, SoftmaxTask)
    )
    batch = sampled.batches(1)[0]
    torch.testing.assert_close(sampled.loss(batch), exact.loss(batch))


@pytest.mark.skipif(available.WITH_PYG_LIB or available.WITH_TORCH_SPARSE, reason="there is what samples neighbours")
def test_without_what_samples_neighbours_the_training_is_refused_with_what_to_install(
    interactions: Interactions, tmp_path: Path
) -> None:
    with pytest.raises(GltaError, match="neither is installed") as refused:
        trained(interactions, tmp_path, (3, 2))
    assert "pip install pyg-lib -f https://data.pyg.org/whl/torch-" in str(refused.value.hint)


@pytest.mark.parametrize("counts", [(3,), (3, 2, 1)])
def test_as_many_numbers_as_propagations_are_asked_for(
    interactions: Interactions, tmp_path: Path, counts: tuple[int, ...]
) -> None:
    with pytest.raises(GltaError, match="lightgcn propagates 2 times"):
        trained(interactions, tmp_path, counts)


def test_an_encoder_of_the_whole_graph_refuses_samples(run_toy) -> None:
    with pytest.raises(GltaError, match="hccf is trained on the whole graph"):
        run_toy("graph.encoder=hccf", "graph.neighbours=[3, 2]", "graph.softmax_items=9", stage="pretrain-graph")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["graph.neighbours=[3, 2]"], "needs the vector of every item"),
        (["graph.neighbours=[3, 0]", "graph.loss=bpr"], "a hop of 0 neighbours"),
        (["graph.neighbours=[3, -2]", "graph.loss=bpr"], "greater than or equal to -1"),
    ],
)
def test_what_cannot_be_sampled_is_refused_in_the_recipe(settings: list[str], message: str) -> None:
    with pytest.raises(InputErrors, match=message):
        load_recipe("quickstart", settings)
