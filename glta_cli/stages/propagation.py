"""A trained graph encoder on another graph of the same nodes: more history without a training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.core.errors import GltaError
from glta_cli.core.tensors import read_tensors
from glta_cli.graph.encoder_outputs import checked_encoder
from glta_cli.graph.pretraining import Embeddings, embeddings_of
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.recipe.selection import component_options, encoder_dimension
from glta_cli.stages.context import FULL_PARAMETERS, StageContext


def embeddings_on(
    context: StageContext,
    edges: Interactions,
    *,
    parameters: str = FULL_PARAMETERS,
    texts: NDArray[np.float32] | None = None,
) -> Embeddings:
    """What the published encoder says of every user and item of a graph with other edges.

    What is learnt stays: a free vector of a user or an item is as it was trained, and what is averaged over neighbours,
    or over a user's texts, is averaged over those of `edges`. An encoder without propagation gives the same vectors,
    one that reads histories encodes those of `edges`.

    Args:
        edges: of the users and items it was trained on; of one that reads histories, whoever the users are.
        parameters: FULL_PARAMETERS, or ALIGNMENT_PARAMETERS for the encoder behind stages 2 and 3.
        texts: the vectors of the item texts by now, [I, D], for an encoder that reads them; None takes those of the
            training.

    Raises:
        GltaError: the artefact is of a release that kept no parameters.
    """
    return propagated(context, saved_parameters(context, parameters, texts), edges, texts)


def saved_parameters(
    context: StageContext, parameters: str, texts: NDArray[np.float32] | None = None
) -> dict[str, Tensor]:
    """The parameters the encoder was published with, by name; arguments and errors as those of `embeddings_on`."""
    artefact = context.artefacts["pretrain-graph"]
    if not artefact.has(parameters):
        raise GltaError(
            "was published without the encoder's parameters, which a graph with more interactions needs",
            location=str(artefact.path),
            hint="train it again: glta pretrain-graph, with another --seed or --run",
        )
    saved = read_tensors(artefact.file(parameters))
    if texts is not None and installed().find("encoder", context.recipe.graph.encoder).needs_text_vectors():
        saved = _with_texts(saved, torch.from_numpy(context.text_vectors()), torch.from_numpy(texts))
    return dict(saved)


def _with_texts(saved: Mapping[str, Tensor], trained: Tensor, now: Tensor) -> dict[str, Tensor]:
    """The saved state of an encoder; a tensor that holds the text vectors it was given holds those of now."""
    return {
        name: now if tensor.dtype == trained.dtype and torch.equal(tensor, trained) else tensor
        for name, tensor in saved.items()
    }


def propagated(
    context: StageContext,
    parameters: Mapping[str, Tensor],
    edges: Interactions,
    texts: NDArray[np.float32] | None = None,
) -> Embeddings:
    """Embeddings by the recipe's encoder with these parameters, by name, on a graph of these edges.

    Args:
        texts: as those of `embeddings_on`.
    """
    encoder = trained_encoder(context, parameters, edges, texts)
    # Edges, or nodes, that are dropped in training are all there.
    return embeddings_of(encoder, context.recipe.graph, edges)


def trained_encoder(
    context: StageContext,
    parameters: Mapping[str, Tensor],
    edges: Interactions,
    texts: NDArray[np.float32] | None = None,
) -> nn.Module:
    """The recipe's encoder with these parameters, by name, on a graph of these edges; no training goes on with it.

    Args:
        texts: as those of `embeddings_on`.
    """
    with torch.random.fork_rng():
        # What an encoder draws when it is made is replaced, but for what it may not save.
        torch.manual_seed(context.recipe.seed)
        encoder = encoder_on(context, InteractionGraph(edges), texts).to(context.device)
    with installed().find("encoder", context.recipe.graph.encoder).named():
        # What it says of shapes that differ is that something saved follows from the edges.
        encoder.load_state_dict(dict(parameters))
    return encoder.eval()


def encoder_on(
    context: StageContext,
    graph: InteractionGraph,
    texts: NDArray[np.float32] | None = None,
    *,
    to_learn: bool = False,
) -> nn.Module:
    """The recipe's encoder as it starts on a graph, checked.

    Args:
        texts: as those of `embeddings_on`.
        to_learn: whether it is to be trained: the texts of items hidden from that are then zeros.
    """
    recipe = context.recipe
    component = installed().find("encoder", recipe.graph.encoder)
    # Each encoder has a copy of its own: what one did to it must not show in the next.
    read: tuple[Tensor, ...] = ()
    if component.needs_text_vectors():
        read = (torch.from_numpy(_texts(context, to_learn) if texts is None else texts.copy()),)
    encoder = component.build(graph, component_options(recipe, "encoder"), *read)
    with component.named():
        return checked_encoder(encoder, graph, encoder_dimension(recipe))


def _texts(context: StageContext, to_learn: bool) -> NDArray[np.float32]:
    """Vectors of the item texts, [I, D]; of hidden items, where a training is not to know of them, zeros."""
    texts = context.text_vectors()
    learnt = context.prepared.items_to_learn if to_learn else None
    if learnt is None:
        return texts
    shown = np.zeros_like(texts)
    shown[learnt] = texts[learnt]
    return shown


def parameters_of(encoder: nn.Module) -> dict[str, Tensor]:
    """The saved state of an encoder by name: tensors on the CPU in its own shapes and dtypes."""
    # Clones: a file holds no tensor twice, and an encoder may tie two of its parameters.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in encoder.state_dict().items()}
