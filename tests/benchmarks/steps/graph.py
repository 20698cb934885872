"""The graph stage: LightGCN's step, its negatives, the catalogue's cross-entropy, and quality for time."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from step import SHARED_DATA, Step, Work

if TYPE_CHECKING:
    from torch import Tensor

    from glta_cli.plugin.interactions import Interactions

DIMENSION = 64
LAYERS = 3
BATCH = 2048
REGULARIZATION = 1e-4
LEARNING_RATE = 1e-3
STEPS_TIMED = 2
QUERIES = 4096
# A run with patience found bpr's best at 270 epochs; both sides train one validation's interval beyond their best.
SOFTMAX_EPOCHS = 9
BPR_EPOCHS = 300
# The factor by which epochs are to be fewer, and by which validations of the peer are sparser.
FEWER_EPOCHS = 30


def gowalla(size: int = 1) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Users and items of LightGCN's official training set, and their numbers; `size` copies with ids of their own."""
    folder = Path(os.environ[SHARED_DATA]) / "lightgcn-gowalla"
    users, items = [], []
    for name in ("train.txt", "valid.txt"):
        for line in (folder / name).read_text().splitlines():
            user, *found = map(int, line.split())
            users.append(np.full(len(found), user))
            items.append(np.array(found, dtype=np.int64))
    all_users, all_items = np.concatenate(users), np.concatenate(items)
    user_count, item_count = int(all_users.max()) + 1, int(all_items.max()) + 1
    copies = np.repeat(np.arange(size), len(all_users))
    return (
        np.tile(all_users, size) + copies * user_count,
        np.tile(all_items, size) + copies * item_count,
        user_count * size,
        item_count * size,
    )


def gowalla_interactions(size: int) -> Interactions:
    from glta_cli.plugin.interactions import Interactions

    users, items, user_count, item_count = gowalla(size)
    return Interactions.from_pairs(users, items, user_count=user_count, item_count=item_count)


# ----------------------------------------------------------------------------------------------- LightGCN's step


def bpr_batches(size: int) -> list[tuple[NDArray[np.int64], ...]]:
    """Users, positives and negatives; the latter are any items, which changes no step's cost."""
    users, items, _, item_count = gowalla(size)
    generator = np.random.default_rng(0)
    chosen = generator.choice(len(users), (STEPS_TIMED, BATCH * size))
    return [(users[rows], items[rows], generator.integers(0, item_count, len(rows))) for rows in chosen]


def initial_embeddings(nodes: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.1, (nodes, DIMENSION)).astype(np.float32)


def steps_of(parameters: list[Any], optimizer: Callable[[], Any], losses: list[Callable[[], Tensor]]) -> Work:
    """Steps of one optimiser from the same start; the first step's gradient is what is compared."""
    import torch

    before = [parameter.detach().clone() for parameter in parameters]

    def work() -> Mapping[str, Any]:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)
        adam = optimizer()
        result: dict[str, Any] = {"losses": []}
        for loss in losses:
            adam.zero_grad(set_to_none=True)
            value = loss()
            value.backward()
            if not result["losses"]:
                result["gradient"] = torch.cat([parameter.grad for parameter in parameters]).numpy()
            adam.step()
            result["losses"].append(float(value.detach()))
        return result

    return work


def our_bpr_step(size: int) -> Work:
    import torch
    from glta_encoders.lightgcn import LightGCN
    from glta_encoders.settings import LightGCNSettings

    from glta_cli.graph.pretraining import BprTask
    from glta_cli.plugin.interaction_graph import InteractionGraph
    from glta_cli.recipe.schema import GraphSettings
    from glta_cli.training.loop import keep_freed_memory

    keep_freed_memory()  # as at the start of every training
    interactions = gowalla_interactions(size)
    settings = LightGCNSettings(dimension=DIMENSION, layers=LAYERS, regularization=REGULARIZATION, start="random")
    encoder = LightGCN(InteractionGraph(interactions), settings)
    with torch.no_grad():
        encoder.embeddings.copy_(torch.from_numpy(initial_embeddings(len(encoder.embeddings))))
    task = BprTask(encoder, GraphSettings(loss="bpr"), interactions, interactions, interactions, seed=0)
    return steps_of(
        [encoder.embeddings],
        lambda: torch.optim.AdamW([encoder.embeddings], lr=LEARNING_RATE, weight_decay=0.0, fused=True),
        [lambda batch=batch: task.loss(batch) for batch in bpr_batches(size)],
    )


def pyg_bpr_step(size: int) -> Work:
    """torch-geometric's own model, on an edge index."""
    import torch
    from torch_geometric.nn.models import LightGCN

    users, items, user_count, item_count = gowalla(size)
    model = LightGCN(user_count + item_count, DIMENSION, LAYERS)
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(initial_embeddings(user_count + item_count)))
    there = torch.from_numpy(np.stack([users, items + user_count]))
    edges = torch.cat([there, there.flip(0)], dim=1)  # [2, 2E]

    def loss(batch: tuple[NDArray[np.int64], ...]) -> Tensor:
        user, positive, negative = (torch.from_numpy(part) for part in batch)
        pairs = torch.stack([user.repeat(2), torch.cat([positive, negative]) + user_count])
        positive_ranks, negative_ranks = model(edges, pairs).chunk(2)
        nodes = torch.cat([user, positive + user_count, negative + user_count])
        # torch-geometric leaves out the half of LightGCN's regulariser.
        return model.recommendation_loss(positive_ranks, negative_ranks, nodes, lambda_reg=REGULARIZATION / 2)

    return steps_of(
        [model.embedding.weight],
        lambda: torch.optim.Adam(model.parameters(), lr=LEARNING_RATE),
        [lambda batch=batch: loss(batch) for batch in bpr_batches(size)],
    )


def recbole_bpr_step(size: int) -> Work:
    """RecBole's own model, given what it asks its configuration and data set for."""
    import torch
    from recbole.model.general_recommender.lightgcn import LightGCN
    from scipy.sparse import coo_matrix

    users, items, user_count, item_count = gowalla(size)

    class Data:
        @staticmethod
        def num(field: str) -> int:
            return {"user": user_count, "item": item_count}[field]

        @staticmethod
        def inter_matrix(form: str) -> Any:
            return coo_matrix((np.ones(len(users)), (users, items)), shape=(user_count, item_count))

    settings = {
        "USER_ID_FIELD": "user",
        "ITEM_ID_FIELD": "item",
        "NEG_PREFIX": "neg_",
        "device": torch.device("cpu"),
        "embedding_size": DIMENSION,
        "n_layers": LAYERS,
        "reg_weight": REGULARIZATION,
        "require_pow": True,  # LightGCN's squared norms
    }
    model = LightGCN(settings, Data())
    tables = [model.user_embedding.weight, model.item_embedding.weight]
    with torch.no_grad():
        for table, start in zip(
            tables, np.split(initial_embeddings(user_count + item_count), [user_count]), strict=True
        ):
            table.copy_(torch.from_numpy(start))

    def loss(batch: tuple[NDArray[np.int64], ...]) -> Tensor:
        return model.calculate_loss(dict(zip(("user", "item", "neg_item"), map(torch.from_numpy, batch), strict=True)))

    return steps_of(
        tables,
        lambda: torch.optim.Adam(tables, lr=LEARNING_RATE),
        [lambda batch=batch: loss(batch) for batch in bpr_batches(size)],
    )


def same_bpr_step(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    np.testing.assert_allclose(ours["losses"], peer["losses"], rtol=1e-5)
    bound = 1e-4 * np.abs(peer["gradient"]).max()
    np.testing.assert_allclose(ours["gradient"], peer["gradient"], rtol=0, atol=bound)


# ------------------------------------------------------------------------------------------- negative sampling


def epoch_users(size: int) -> NDArray[np.int64]:
    users = gowalla(size)[0]
    return users[np.random.default_rng(0).permutation(len(users))]


def our_negatives(size: int) -> Work:
    from glta_cli.graph.negatives import NegativeSampler

    sampler, users = NegativeSampler(gowalla_interactions(size)), epoch_users(size)
    return lambda: {"negatives": sampler.draw(users, np.random.default_rng(1))}


def looped_negatives(size: int) -> Work:
    """A set for each user, and a draw until it is not in there."""
    users, items, user_count, item_count = gowalla(size)
    known: list[set[int]] = [set() for _ in range(user_count)]
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        known[user].add(item)
    asked = epoch_users(size).tolist()

    def work() -> Mapping[str, Any]:
        draw = random.Random(1).randrange
        negatives = []
        for user in asked:
            item = draw(item_count)
            while item in known[user]:
                item = draw(item_count)
            negatives.append(item)
        return {"negatives": np.array(negatives)}

    return work


def good_negatives(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """No draw of either is an interaction, and both are spread over the catalogue alike."""
    users, items, _, width = gowalla()
    asked = epoch_users(1)
    spreads = []
    for side in (ours, peer):
        assert not np.isin(asked * width + side["negatives"], users * width + items).any()
        counts = np.bincount(side["negatives"], minlength=width)
        # Draws of an item are Poisson to good approximation: their variance is their mean.
        spreads.append(counts.var() / counts.mean())
    np.testing.assert_allclose(spreads, 1, atol=0.05)


# -------------------------------------------------------------------------------------- catalogue cross-entropy


def cross_entropy(size: int, ours: bool) -> Work:
    """Forward and backward of 4,096 queries against Gowalla's 40,981 items; `size` multiplies the queries."""
    import torch
    import torch.nn.functional as F

    from glta_cli.training.losses import Positives, catalogue_softmax_loss

    rows, items = QUERIES * size, 40_981
    generator = torch.Generator().manual_seed(0)
    shapes = {"queries": (rows, DIMENSION), "items": (items, DIMENSION), "bias": (items,)}
    inputs = {name: (0.3 * torch.randn(shape, generator=generator)).requires_grad_() for name, shape in shapes.items()}
    labels = torch.randint(items, (rows,), generator=generator)

    def loss() -> Tensor:
        if ours:
            positives = Positives(torch.arange(rows), labels)
            return catalogue_softmax_loss(inputs["queries"], inputs["items"], positives, bias=inputs["bias"])
        return F.cross_entropy(torch.addmm(inputs["bias"], inputs["queries"], inputs["items"].T), labels)

    def work() -> Mapping[str, Any]:
        value = loss()
        gradients = torch.autograd.grad(value, list(inputs.values()))
        named = zip(inputs, gradients, strict=True)
        return {"loss": float(value.detach())} | {name: gradient.numpy() for name, gradient in named}

    return work


def same_cross_entropy(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    np.testing.assert_allclose(ours["loss"], peer["loss"], rtol=1e-5)
    for name in ("queries", "items", "bias"):
        np.testing.assert_allclose(ours[name], peer[name], rtol=0, atol=1e-5 * np.abs(peer[name]).max(), err_msg=name)


# -------------------------------------------------------------------------------------------- quality for time


def scientific() -> tuple[Interactions, Interactions]:
    """Training and validation interactions of Industrial and Scientific, 2018, split as the product splits."""
    from glta_cli.data.splits import TRAIN, VALID, split_by_ratio
    from glta_cli.plugin.interactions import Interactions

    path = Path(os.environ[SHARED_DATA]) / "amazon-scientific-2018" / "Scientific.inter.json"
    histories = [list(dict.fromkeys(items)) for items in json.loads(path.read_text()).values()]
    users = np.repeat(np.arange(len(histories)), [len(items) for items in histories])
    items = np.concatenate(histories)
    counts = {"user_count": len(histories), "item_count": int(items.max()) + 1}
    whole = Interactions.from_pairs(users, items, **counts)
    parts = split_by_ratio(whole, 0.1, 0.1, 0)
    train, valid = (
        Interactions.from_pairs(whole.users[parts == part], whole.items[parts == part], **counts)
        for part in (TRAIN, VALID)
    )
    return train, valid


def training(options: Mapping[str, Any], **settings: Any) -> Work:
    """The whole of stage 1 for one encoder, validations included, and how far it came."""
    import torch
    from glta_encoders.lightgcn import LightGCN
    from glta_encoders.settings import LightGCNSettings

    from glta_cli.graph.pretraining import pretrain
    from glta_cli.recipe.schema import GraphSettings

    graph = GraphSettings.model_validate(settings)
    train, valid = scientific()

    def work() -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            trained = pretrain(
                lambda edges: LightGCN(edges, LightGCNSettings(**options)),
                graph,
                train,
                train,
                valid,
                seed=0,
                device=torch.device("cpu"),
                state_folder=Path(folder),
                description="LightGCN",
            )
        progress = trained.progress
        return {"ndcg": progress.best_metric, "best_epoch": progress.best_epoch, "epochs": progress.epoch}

    return work


def softmax_training(size: int) -> Work:
    """The product's defaults, stopped early, and validated as often as the peer for its number of epochs."""
    from glta_cli.recipe.schema import GraphSettings

    defaults = GraphSettings().training.model_dump()
    shortened = {"epochs": SOFTMAX_EPOCHS, "validate_every": 1, "patience": SOFTMAX_EPOCHS}
    return training({}, training=defaults | shortened)


def bpr_training(size: int) -> Work:
    """LightGCN as published."""
    steps = {"epochs": BPR_EPOCHS, "batch_size": BATCH, "learning_rate": LEARNING_RATE, "validate_every": FEWER_EPOCHS}
    published = {"layers": LAYERS, "start": "random", "regularization": REGULARIZATION}
    return training(published, loss="bpr", training=steps | {"patience": BPR_EPOCHS})


def sooner_and_no_worse(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    assert ours["ndcg"] >= peer["ndcg"], (ours, peer)
    # A peer that is best at its last epoch might have become better still.
    assert peer["best_epoch"] < peer["epochs"], (ours, peer)
    assert FEWER_EPOCHS * ours["best_epoch"] <= peer["best_epoch"], (ours, peer)


STEPS: tuple[Step, ...] = (
    Step(
        name="LightGCN bpr step, Gowalla",
        peer_name="torch-geometric's LightGCN",
        ours=our_bpr_step,
        peer=pyg_bpr_step,
        check=same_bpr_step,
        targets={"cpu": 20.0},
        note="The peer's LGConv is as it comes: it normalises the adjacency anew at each layer of each step, about a "
        "tenth of its time.",
        sizes=(1, 4, 16),
    ),
    Step(
        name="LightGCN bpr step, Gowalla",
        peer_name="RecBole's LightGCN",
        ours=our_bpr_step,
        peer=recbole_bpr_step,
        check=same_bpr_step,
        targets={"cpu": 7.0},
        peer_interpreter="peers",
        note="Two thirds of our step are six propagations at the rate of the gather, 110 million edges/s, which alone "
        "take longer than a seventh of the peer's step.",
    ),
    Step(
        name="negative sampling, an epoch of Gowalla",
        peer_name="a Python loop over sets",
        ours=our_negatives,
        peer=looped_negatives,
        check=good_negatives,
        targets={"cpu": 40.0},
        note="The loop is the quickest we know: a set a user, built before, and random.randrange.",
        sizes=(1, 4, 16),
    ),
    Step(
        name="catalogue cross-entropy, 4,096 x 41k",
        peer_name="F.cross_entropy on full logits",
        ours=lambda size: cross_entropy(size, ours=True),
        peer=lambda size: cross_entropy(size, ours=False),
        check=same_cross_entropy,
        targets={"cpu": 1.5, "memory": 40.0},
        sizes=(1, 4, 16),
    ),
    Step(
        name="quality for time, Amazon Scientific",
        peer_name="LightGCN bpr as published, at its best",
        ours=softmax_training,
        peer=bpr_training,
        check=sooner_and_no_worse,
        targets={"cpu": 10.0},
        runs=1,
        note="One timed run of each, one seed; equal means a best validation NDCG@10 at least as high, at an epoch "
        f"{FEWER_EPOCHS} times earlier at least. Ours: softmax, two layers, spectral start, {SOFTMAX_EPOCHS} epochs, "
        f"validated after each; the peer: our implementation of bpr, three layers, random start, {BPR_EPOCHS} epochs, "
        f"validated after every {FEWER_EPOCHS}. Validations count on both sides.",
    ),
)
