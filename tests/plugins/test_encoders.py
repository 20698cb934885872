"""The shipped encoders compute what their docstrings say, and keep every promise of their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from glta_encoders.alpharec import AlphaRec
from glta_encoders.contrast import info_nce, some_of
from glta_encoders.hccf import HCCF
from glta_encoders.hccf_plus import HCCFPlus
from glta_encoders.lightgcn import LightGCN
from glta_encoders.lightgcn_plus import LightGCNPlus
from glta_encoders.rlmrec_con import RLMRecCon
from glta_encoders.rlmrec_gen import RLMRecGen
from glta_encoders.settings import (
    AlphaRecSettings,
    HCCFPlusSettings,
    HCCFSettings,
    LightGCNPlusSettings,
    MatrixFactorisationSettings,
    RLMRecConSettings,
    RLMRecGenSettings,
)
from glta_encoders.text_contrast import user_means, user_texts
from pydantic import ValidationError
from torch import Tensor

from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.testing import check_encoder

USERS, ITEMS, WIDTH = 9, 7, 6
LONELY_USER, LONELY_ITEM = 4, 2
# Users and items of a batch, some of them twice; items are positives and negatives.
BATCH = torch.tensor([0, 3, 3, 8]), torch.tensor([[1, 6, 1, 0], [5, 3, 0, 4]])


@pytest.fixture
def met() -> Tensor:
    """Who met what, [U, I] of zeros and ones; one of either met nobody."""
    matrix = (torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    matrix[LONELY_USER], matrix[:, LONELY_ITEM] = 0, 0
    return matrix


@pytest.fixture
def graph(met: Tensor) -> InteractionGraph:
    users, items = met.nonzero().T
    return InteractionGraph(Interactions.from_pairs(users, items, user_count=USERS, item_count=ITEMS))


@pytest.fixture
def texts() -> Tensor:
    vectors = torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(1))
    return vectors / vectors.norm(dim=1, keepdim=True)


# ------------------------------------------------------------------------- the formulas, dense and one by one


def adjacency(met: Tensor) -> Tensor:
    """D^-1/2 (0 R; R^T 0) D^-1/2, [N, N]."""
    full = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
    full[:USERS, USERS:], full[USERS:, :USERS] = met, met.T
    roots = full.sum(1).clamp(min=1).sqrt()
    return full / roots[:, None] / roots


def layer_mean(nodes: Tensor, met: Tensor, layers: int) -> Tensor:
    states = [nodes]
    for _ in range(layers):
        states.append(adjacency(met) @ states[-1])
    return sum(states, torch.zeros_like(nodes)) / (layers + 1)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    return first @ second / (first.norm() * second.norm()).clamp(min=1e-12)


def contrast(queries: Tensor, keys: Tensor, nodes: Tensor, temperature: float) -> Tensor:
    """Mean over the distinct nodes n of -log(exp(cos(q_n, k_n)/τ) / Σ_m exp(cos(q_n, k_m)/τ))."""
    distinct = sorted(set(nodes.flatten().tolist()))
    losses = []
    for n in distinct:
        terms = torch.stack([(cosine(queries[n], keys[m]) / temperature).exp() for m in distinct])
        losses.append(-(terms[distinct.index(n)] / terms.sum()).log())
    return torch.stack(losses).mean()


def means_of_users(met: Tensor, items: Tensor) -> Tensor:
    rows = [items[met[user] > 0].mean(0) if met[user].any() else torch.zeros(items.shape[1]) for user in range(USERS)]
    return torch.stack([row.double() for row in rows])


def text_of_users(met: Tensor, texts: Tensor) -> Tensor:
    means = means_of_users(met, texts)
    return torch.stack([row / row.norm() if row.any() else row for row in means])


def mlp(layers: Any, inputs: Tensor) -> Tensor:
    hidden = inputs @ layers[0].weight.T + layers[0].bias
    hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
    outputs: Tensor = hidden @ layers[2].weight.T + layers[2].bias
    return outputs


def squares(encoder: Any) -> Tensor:
    users, items = BATCH
    total = sum(encoder.embeddings[n].square().sum() for n in [*users.tolist(), *(items.flatten() + USERS).tolist()])
    return encoder.settings.regularization / 2 * total / len(users)


def doubled(encoder: Any) -> Any:
    """In float64, in eval mode: what is left of a difference is then the formula's."""
    return encoder.double().eval()


def check_formula(encoder: Any, embeddings: Tensor, loss: Tensor) -> None:
    """Compare what forward and extra_loss give, and their gradients, with the same from a formula."""
    users, items = encoder()
    torch.testing.assert_close(torch.cat([users, items]), embeddings, rtol=1e-6, atol=1e-7)
    found = encoder.extra_loss(*BATCH)
    torch.testing.assert_close(found, loss, rtol=1e-6, atol=1e-7)
    parameters = list(encoder.parameters())
    weights = torch.randn(embeddings.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    whole = ((torch.cat([users, items]) * weights).sum() + found, (embeddings * weights).sum() + loss)
    ours, theirs = (torch.autograd.grad(value, parameters) for value in whole)
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mf", {}),
        ("lightgcn-plus", {}),
        ("lightgcn-plus", {"text_users": True, "start": "random", "layers": 0}),
        ("lightgcn-plus", {"text_users": False}),
        ("hccf", {}),
        ("hccf", {"dropout": 0.3, "slope": 0.2, "start": "random", "contrasted": 2}),
        ("hccf-plus", {}),
        ("rlmrec-con", {}),
        ("rlmrec-gen", {}),
        ("rlmrec-gen", {"masked": 0.9, "contrasted": 3}),
        ("alpharec", {"projection": "linear"}),
        ("alpharec", {"projection": "mlp", "layers": 0}),
        ("sasrec", {}),
        ("sasrec", {"heads": 4, "layers": 1, "longest_history": 3, "dropout": 0.0}),
        ("sasrec", {"longest_history": 1}),
        ("sasrec-text", {}),
    ],
)
def test_an_encoder_keeps_every_promise(name: str, options: dict[str, Any]) -> None:
    check_encoder(name, options=options)


def test_infonce_is_the_mean_of_negative_log_shares() -> None:
    generator = torch.Generator().manual_seed(2)
    queries, keys = (torch.randn(5, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    expected = contrast(queries, keys, torch.arange(5), 0.3)
    torch.testing.assert_close(info_nce(queries, keys, 0.3), expected)


def test_some_of_the_nodes_are_distinct_and_no_more_than_asked_for() -> None:
    torch.manual_seed(0)
    nodes = torch.randint(0, 50, (2, 300))
    assert sorted(some_of(nodes, 1000).tolist()) == sorted(set(nodes.flatten().tolist()))
    few = some_of(nodes, 8).tolist()
    assert len(set(few)) == 8
    assert set(few) <= set(nodes.flatten().tolist())
    assert some_of(nodes, 8).tolist() != few


def test_the_text_of_a_user_is_the_mean_of_the_items_texts(graph: InteractionGraph, met: Tensor, texts: Tensor) -> None:
    torch.testing.assert_close(user_means(graph, texts).double(), means_of_users(met, texts), rtol=1e-5, atol=1e-6)
    found = user_texts(graph, texts)
    torch.testing.assert_close(found.double(), text_of_users(met, texts), rtol=1e-5, atol=1e-6)
    assert not found[LONELY_USER].any()


# ------------------------------------------------------------------------------------------------- each encoder


def test_matrix_factorisation_does_not_propagate(graph: InteractionGraph) -> None:
    encoder = LightGCN(graph, MatrixFactorisationSettings(dimension=4))
    assert torch.equal(torch.cat(encoder()), encoder.embeddings)
    with pytest.raises(ValidationError, match="less than or equal to 0"):
        MatrixFactorisationSettings(layers=1)


@pytest.mark.parametrize("users", [False, True])
def test_lightgcn_plus_contrasts_lightgcn_with_projected_texts(
    graph: InteractionGraph, met: Tensor, texts: Tensor, users: bool
) -> None:
    settings = LightGCNPlusSettings(
        dimension=4, regularization=0.3, text_contrast=0.7, text_temperature=0.5, text_users=users
    )
    encoder = doubled(LightGCNPlus(graph, settings, texts))
    embeddings = layer_mean(encoder.embeddings, met, settings.layers)
    weight = encoder.texts.projection.weight  # [d, D]
    loss = contrast(embeddings[USERS:], texts.double() @ weight.T, BATCH[1], 0.5)
    if users:
        loss = loss + contrast(embeddings[:USERS], text_of_users(met, texts) @ weight.T, BATCH[0], 0.5)
    check_formula(encoder, embeddings, 0.7 * loss + squares(encoder))


def test_rlmrec_con_contrasts_both_sides_with_an_mlp_of_their_texts(
    graph: InteractionGraph, met: Tensor, texts: Tensor
) -> None:
    settings = RLMRecConSettings(dimension=4, regularization=0.3, text_contrast=0.7, text_temperature=0.5)
    encoder = doubled(RLMRecCon(graph, settings, texts))
    embeddings = layer_mean(encoder.embeddings, met, settings.layers)
    projected = mlp(encoder.texts.projection, torch.cat([text_of_users(met, texts), texts.double()]))
    loss = contrast(embeddings[:USERS], projected[:USERS], BATCH[0], 0.5)
    loss = loss + contrast(embeddings[USERS:], projected[USERS:], BATCH[1], 0.5)
    check_formula(encoder, embeddings, 0.7 * loss + squares(encoder))


def test_rlmrec_gen_reads_the_texts_of_masked_nodes(graph: InteractionGraph, met: Tensor, texts: Tensor) -> None:
    settings = RLMRecGenSettings(
        dimension=4, regularization=0.3, reconstruction=0.7, text_temperature=0.5, masked=0.4, contrasted=4
    )
    torch.manual_seed(0)
    encoder = doubled(RLMRecGen(graph, settings, texts)).train()
    with torch.no_grad():
        encoder.mask_token.normal_()
    torch.manual_seed(3)
    masked = encoder.drawn_mask()
    assert len(set(masked.tolist())) == round(0.4 * (USERS + ITEMS))
    token = torch.zeros(USERS + ITEMS, 1, dtype=torch.float64)
    token[masked] = 1
    embeddings = layer_mean((1 - token) * encoder.embeddings + token * encoder.mask_token, met, settings.layers)
    told = masked[:4]
    read = mlp(encoder.reader, embeddings)
    loss = contrast(read, torch.cat([text_of_users(met, texts), texts.double()]), told, 0.5)
    torch.manual_seed(3)
    check_formula(encoder, embeddings, 0.7 * loss + squares(encoder))

    plain = layer_mean(encoder.embeddings, met, settings.layers)
    torch.testing.assert_close(torch.cat(encoder.eval()()), plain, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("projection", ["linear", "mlp"])
def test_alpharec_propagates_projected_texts_from_the_mean_of_the_users_items(
    graph: InteractionGraph, met: Tensor, texts: Tensor, projection: Any
) -> None:
    settings = AlphaRecSettings(dimension=4, projection=projection)
    encoder = doubled(AlphaRec(graph, settings, texts))
    layers = encoder.projection
    items = texts.double() @ layers.weight.T if projection == "linear" else mlp(layers, texts.double())
    embeddings = layer_mean(torch.cat([means_of_users(met, items), items]), met, settings.layers)
    check_formula(encoder, embeddings, 0 * embeddings.sum())
    # An item nobody met is as far from nothing as its text.
    torch.testing.assert_close(embeddings[USERS + LONELY_ITEM] * (settings.layers + 1), items[LONELY_ITEM])


def hccf_states(encoder: Any, edges: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """E and each layer's (Z, Γ) over a normalised adjacency [N, N], no entry of H dropped."""
    slope, state = encoder.settings.slope, encoder.embeddings
    through = torch.zeros_like(edges)  # H Hᵀ of users and of items
    for side, weight in zip((slice(0, USERS), slice(USERS, None)), encoder.hyperedges, strict=True):
        members = encoder.embeddings[side] @ weight  # [n, K]
        members = members / members.square().sum(0).sqrt()
        through[side, side] = members @ members.T
    total, views = state, []
    for _ in range(encoder.settings.layers):
        near, far = (torch.where(each > 0, each, slope * each) for each in (edges @ state, through @ state))
        views.append((near, far))
        state = near + far + state
        total = total + state
    return total, views


def hccf_contrast(views: list[tuple[Tensor, Tensor]], temperature: float) -> Tensor:
    """Over layers and sides."""
    return sum(
        contrast(near[side], far[side], nodes, temperature)
        for near, far in views
        for side, nodes in zip((slice(0, USERS), slice(USERS, None)), BATCH, strict=True)
    )


HCCF_OPTIONS: dict[str, Any] = {
    "dimension": 4,
    "hyperedges": 3,
    "slope": 0.3,
    "regularization": 0.3,
    "contrast": 0.6,
    "temperature": 0.4,
}


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_hccf_adds_hyperedges_to_the_graph_and_contrasts_the_two(
    graph: InteractionGraph, met: Tensor, layers: int
) -> None:
    encoder = doubled(HCCF(graph, HCCFSettings(layers=layers, **HCCF_OPTIONS)))
    embeddings, views = hccf_states(encoder, adjacency(met))
    check_formula(encoder, embeddings, 0.6 * hccf_contrast(views, 0.4) + squares(encoder))


def test_hccf_plus_is_hccf_with_lightgcn_plus_s_contrast(graph: InteractionGraph, met: Tensor, texts: Tensor) -> None:
    settings = HCCFPlusSettings(text_contrast=0.7, text_temperature=0.5, text_users=True, **HCCF_OPTIONS)
    encoder = doubled(HCCFPlus(graph, settings, texts))
    embeddings, views = hccf_states(encoder, adjacency(met))
    weight = encoder.texts.projection.weight
    loss = contrast(embeddings[:USERS], text_of_users(met, texts) @ weight.T, BATCH[0], 0.5)
    loss = loss + contrast(embeddings[USERS:], texts.double() @ weight.T, BATCH[1], 0.5)
    check_formula(encoder, embeddings, 0.7 * loss + 0.6 * hccf_contrast(views, 0.4) + squares(encoder))


def test_hccf_drops_an_edge_both_ways_and_makes_up_for_it(
    graph: InteractionGraph, met: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = doubled(HCCF(graph, HCCFSettings(dropout=0.25, **HCCF_OPTIONS))).train()
    torch.manual_seed(0)
    weights = encoder.edge_weights()
    dropped = graph.propagate(torch.eye(USERS + ITEMS, dtype=torch.float64), weights)
    whole = adjacency(met)
    torch.testing.assert_close(dropped, dropped.T)
    gone = (dropped == 0) & (whole > 0)
    assert 0 < gone.sum() < (whole > 0).sum()
    torch.testing.assert_close(dropped, whole.where(~gone, 0) / 0.75, rtol=1e-6, atol=1e-7)

    # Training runs over the edges left; entries of H aside.
    monkeypatch.setattr(encoder, "edge_weights", lambda: weights)
    monkeypatch.setattr("glta_encoders.hccf.F.dropout", lambda members, share, training: members)
    embeddings, views = hccf_states(encoder, dropped)
    check_formula(encoder, embeddings, 0.6 * hccf_contrast(views, 0.4) + squares(encoder))


def test_hccf_drops_nothing_outside_training(graph: InteractionGraph) -> None:
    encoder = HCCF(graph, HCCFSettings(dropout=0.5, **HCCF_OPTIONS)).eval()
    assert encoder.edge_weights() is graph.weights


@pytest.mark.parametrize(
    "make",
    [
        lambda graph, texts: LightGCNPlus(graph, LightGCNPlusSettings(dimension=4, text_users=True), texts),
        lambda graph, texts: HCCFPlus(graph, HCCFPlusSettings(dimension=4, text_users=True), texts),
        lambda graph, texts: RLMRecCon(graph, RLMRecConSettings(dimension=4), texts),
        lambda graph, texts: RLMRecGen(graph, RLMRecGenSettings(dimension=4), texts),
    ],
)
def test_a_text_loss_brings_embeddings_closer_to_their_own_texts(
    graph: InteractionGraph, texts: Tensor, make: Callable[[InteractionGraph, Tensor], Any]
) -> None:
    torch.manual_seed(0)
    encoder = make(graph, texts)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        encoder()
        loss = encoder.extra_loss(*BATCH)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
