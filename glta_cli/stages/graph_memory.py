"""What stage 1 and the fitting of linear rows have in memory, moment by moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from glta_cli.graph.edges import BYTES_AN_INTERACTION, folder_of_edges
from glta_cli.graph.neighbours import ALL
from glta_cli.language.model_memory import FLOAT32, INT64, logit_bytes
from glta_cli.plugin.registry import installed
from glta_cli.ranking.top_k import BLOCK
from glta_cli.recipe.selection import component_options, encoder_dimension, encoder_needs_text_vectors, targets_share
from glta_cli.stages.language_memory import DOUBLE, RANKED
from glta_cli.stages.linear_rows import row_bytes, tried_rows
from glta_cli.stages.memory_moments import Moment, Parts, Sizes, moment
from glta_cli.stages.workloads import PROPAGATIONS
from glta_cli.training.best import IN_MEMORY

# Bytes of an edge: of the graph both ways, neighbour and weight; and of what counts them while it is made.
GRAPH, COUNTING = BYTES_AN_INTERACTION, 10
# Beside an interaction's edges, those the loader of samples draws from, in int64 both ways; and while they are made.
LOADER, LOADER_MADE = 4 * INT64, 8 * INT64
# Of a sampled edge its ends and its weight; and tables in a propagation of a sample, of its edges and of its nodes.
DRAWN_EDGE, MESSAGES, EMBEDDED = 2 * INT64 + FLOAT32, 2, 3
# Tables of all nodes beside what is trained, on the way back: the gradient of users and items, what is propagated of
# that, and what the allocator has in pieces.
PROPAGATED = 3
# Tables of all pairs of a batch: the rows of users and items that are squared.
REGULARISED = 2
# Of an interaction, as a sparse matrix of histories.
PAIRS = 2 * INT64
# A sequence encoder's numbers of a state kept for the way back, a layer.
KEPT_OF_STATE = 24
# Tables of published embeddings that stay while the next encoder is trained.
FINISHED = 3


def pretrained_graph(sizes: Sizes) -> Iterator[Moment]:
    """The graph is made, its encoder trained, and users are ranked by it."""
    recipe, graph = sizes.recipe, sizes.recipe.graph
    edges, nodes = len(sizes.train), sizes.users + sizes.items
    table = FLOAT32 * nodes * encoder_dimension(recipe)
    smaller = table * min(sizes.users, sizes.items) // max(1, nodes)  # beside the others while they are propagated
    batch = sizes.share(min(graph.training.batch_size, sizes.users if graph.loss == "softmax" else edges))
    beside: Parts = {"data": sizes.data + (FINISHED * table if targets_share(recipe) else 0)}
    texts = FLOAT32 * sizes.items * recipe.text.dimensions if encoder_needs_text_vectors(recipe) else 0
    trained = table + 2 * table * (1 if graph.training.moments == "float32" else 0.5)
    trained += table if table <= IN_MEMORY else 0  # the best so far, of which a large one lies on the disk
    # What is mapped from the disk leaves memory when it is needed for something else.
    held = 0 if folder_of_edges(graph, edges, Path(), sizes.device) else edges * GRAPH
    loader, propagated = 0, PROPAGATED * table + smaller
    yield moment(beside, graph=held + edges * COUNTING, trained=table + texts)
    if graph.neighbours is not None:
        # The loader is of the processor's memory, whatever computes; of the tables, the gradient alone is whole.
        loader, propagated = edges * LOADER + 2 * INT64 * nodes, table
        yield moment(_with_loader(beside, edges * LOADER_MADE + INT64 * nodes), graph=held + texts, trained=table)
    beside = _with_loader(beside, loader)
    yield moment(
        beside,
        graph=held + propagated + texts,
        trained=trained,
        activations=_state_bytes(sizes, batch) + _sampled(sizes, batch),
        catalogue=_logits(sizes, batch),
    )
    # Validation takes the whole graph, whatever a step does.
    yield moment(
        {**beside, "ranking": RANKED * FLOAT32 * BLOCK * sizes.items},
        graph=held + 2 * table + smaller + texts,
        trained=trained,
    )


def fitted_linear(sizes: Sizes) -> Iterator[Moment]:
    """A solution for all pairs of items and the weights made of it; or neighbours, where pairs are too many."""
    rows = tried_rows(sizes.recipe, sizes.users, sizes.items, has_text=sizes.prepared.has_text).names
    reading = any(installed().find("baseline", name).needs_text_vectors() for name in rows)
    texts = 3 * DOUBLE * sizes.items * sizes.recipe.text.dimensions if reading else 0
    beside: Parts = {"data": sizes.data + len(sizes.train) * PAIRS}
    ranking = RANKED * FLOAT32 * BLOCK * sizes.items
    fitted = max((row_bytes(name, sizes.users, sizes.items) or 0 for name in rows), default=0)
    yield moment({**beside, "vectors": texts, "linear": fitted, "ranking": ranking})


def _logits(sizes: Sizes, batch: int) -> int:
    """Of a softmax: logits, and the vectors of users and items scaled to unit length, with their gradients."""
    graph = sizes.recipe.graph
    scaled = 3 * FLOAT32 * (sizes.items + batch) * encoder_dimension(sizes.recipe)
    if graph.loss != "softmax":
        return 6 * FLOAT32 * batch * encoder_dimension(sizes.recipe)
    pairs = batch * len(sizes.train) // max(1, sizes.users)
    scaled += pairs * (2 * INT64 + REGULARISED * FLOAT32 * encoder_dimension(sizes.recipe))
    return scaled + logit_bytes(batch, sizes.items, graph.softmax_items)


def _with_loader(beside: Parts, size: int) -> Parts:
    return {**beside, "loader": size} if size else beside


def _sampled(sizes: Sizes, batch: int) -> int:
    """What a step on a sample of the graph has of its nodes and edges; nothing of one on the whole graph."""
    graph, dimension = sizes.recipe.graph, encoder_dimension(sizes.recipe)
    if graph.neighbours is None:
        return 0
    edges, nodes = 2 * len(sizes.train), sizes.users + sizes.items
    wanted, catalogue = 3 * batch, 0
    if graph.loss == "softmax":
        positives = batch * len(sizes.train) // max(1, sizes.users)
        wanted = batch + positives + min(graph.softmax_items or sizes.items, sizes.items)
        catalogue = 2 * FLOAT32 * sizes.items * dimension  # zeros, and those with the vectors of the sample among them
    found = newest = min(wanted, nodes)
    drawn = 0
    for count in graph.neighbours:
        reached = edges if count == ALL else min(edges, newest * count)
        drawn += reached
        newest = min(reached, nodes - found)
        found += newest
    return drawn * (DRAWN_EDGE + MESSAGES * FLOAT32 * dimension) + found * EMBEDDED * FLOAT32 * dimension + catalogue


def _state_bytes(sizes: Sizes, batch: int) -> int:
    """What an encoder that reads histories keeps of a batch of them; nothing of one of graphs."""
    recipe = sizes.recipe
    if not installed().find("encoder", recipe.graph.encoder).reads_histories():
        return 0
    options = component_options(recipe, "encoder")
    layers, longest = getattr(options, "layers", PROPAGATIONS), getattr(options, "longest_history", 50)
    length = min(longest, int(sizes.train.counts.max(initial=0)))
    return FLOAT32 * batch * length * layers * KEPT_OF_STATE * encoder_dimension(recipe)
