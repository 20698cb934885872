"""What stage 1 and the fitting of linear rows have in memory, moment by moment."""

from __future__ import annotations

from collections.abc import Iterator

from glta_cli.language.model_memory import FLOAT32, INT64, logit_bytes
from glta_cli.plugin.registry import installed
from glta_cli.ranking.top_k import BLOCK
from glta_cli.recipe.selection import component_options, encoder_dimension, encoder_needs_text_vectors, targets_share
from glta_cli.stages.language_memory import DOUBLE, RANKED
from glta_cli.stages.linear_rows import BYTES_A_PAIR, SOLVED, possible_names, tried_rows
from glta_cli.stages.memory_moments import SAVED, TRAINED, Moment, Parts, Sizes, moment
from glta_cli.stages.workloads import PROPAGATIONS

# Bytes of an edge: of the graph both ways, neighbour and weight; of torch-geometric's form of it, two numbers both
# ways; of the interactions it is made from; and of what orders it while it is made.
GRAPH, HETERO, PAIRS, ORDERING = 2 * 8, 4 * INT64, 3 * INT64, 8 * INT64
# Tables of all nodes beside what is trained: what the encoder gives and its gradient, and two of a propagation.
PROPAGATED = 4
# A sequence encoder's numbers of a state kept for the way back, a layer.
KEPT_OF_STATE = 24
# Tables of published embeddings that stay while the next encoder is trained.
FINISHED = 3


def pretrained_graph(sizes: Sizes) -> Iterator[Moment]:
    """The graph is made, its encoder trained, and the state of it saved."""
    recipe, graph = sizes.recipe, sizes.recipe.graph
    edges, nodes = len(sizes.train), sizes.users + sizes.items
    table = FLOAT32 * nodes * encoder_dimension(recipe)
    batch = min(sizes.share(graph.training.batch_size), max(sizes.users, 1) if graph.loss == "softmax" else edges)
    beside: Parts = {"data": sizes.data}
    if targets_share(recipe):
        beside["data"] += FINISHED * table
    texts = FLOAT32 * sizes.items * recipe.text.dimensions if encoder_needs_text_vectors(recipe) else 0
    edge_bytes = edges * (GRAPH + HETERO + PAIRS)
    yield moment(beside, graph=edge_bytes + edges * ORDERING, trained=table + texts)
    yield moment(
        beside,
        graph=edge_bytes + PROPAGATED * table + texts,
        trained=table * TRAINED // FLOAT32,
        activations=_state_bytes(sizes, batch),
        catalogue=_logits(sizes, batch),
    )
    yield moment(
        {**beside, "ranking": RANKED * FLOAT32 * BLOCK * sizes.items},
        graph=edge_bytes + PROPAGATED * table + texts,
        trained=table * (TRAINED - FLOAT32) // FLOAT32,
    )
    yield moment(beside, graph=edge_bytes + texts, trained=table * (TRAINED + SAVED) // FLOAT32)


def fitted_linear(sizes: Sizes) -> Iterator[Moment]:
    """A solution for all pairs of items and the weights made of it; or neighbours, where pairs are too many."""
    rows = tried_rows(sizes.recipe, sizes.items, has_text=sizes.prepared.has_text).names
    solved = [name for name in rows if name in SOLVED]
    reading = any(installed().find("baseline", name).needs_text_vectors() for name in possible_names(sizes.recipe))
    texts = 3 * DOUBLE * sizes.items * sizes.recipe.text.dimensions if reading and sizes.prepared.has_text else 0
    beside: Parts = {"data": sizes.data + len(sizes.train) * PAIRS}
    pairs = BYTES_A_PAIR * sizes.items**2 if solved else 0
    ranking = RANKED * FLOAT32 * BLOCK * sizes.items
    yield moment({**beside, "vectors": texts, "linear": pairs, "ranking": ranking})


def _logits(sizes: Sizes, batch: int) -> int:
    """Of a softmax: logits, and the vectors of users and items scaled to unit length, with their gradients."""
    graph = sizes.recipe.graph
    scaled = 3 * FLOAT32 * (sizes.items + batch) * encoder_dimension(sizes.recipe)
    if graph.loss != "softmax":
        return 6 * FLOAT32 * batch * encoder_dimension(sizes.recipe)
    pairs = int(2 * INT64 * batch * len(sizes.train) / max(1, sizes.users))
    return scaled + logit_bytes(batch, sizes.items, graph.softmax_items) + pairs


def _state_bytes(sizes: Sizes, batch: int) -> int:
    """What an encoder that reads histories keeps of a batch of them; nothing of one of graphs."""
    recipe = sizes.recipe
    if not installed().find("encoder", recipe.graph.encoder).reads_histories():
        return 0
    options = component_options(recipe, "encoder")
    layers, longest = getattr(options, "layers", PROPAGATIONS), getattr(options, "longest_history", 50)
    length = min(longest, int(sizes.train.counts.max(initial=0)))
    return FLOAT32 * batch * length * layers * KEPT_OF_STATE * encoder_dimension(recipe)
