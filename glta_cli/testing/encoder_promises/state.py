"""What an encoder promises of its state dict and of what it is given: the graph and the item texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.testing.agreement import distance, identical
from glta_cli.testing.contract import Contract
from glta_cli.testing.drawn import draw_split
from glta_cli.testing.encoder_promises.outputs import check_outputs
from glta_cli.testing.encoder_promises.trial import Encoders, drawn_graph, drawn_texts, embeddings, two_steps


def state_promises(contract: Contract, encoders: Encoders) -> None:
    """Its state is what was learnt, all of it and nothing else."""
    with contract.promise("its parameters depend on the numbers of users and items, not on the edges"):
        _check_other_edges(encoders)
    if encoders.reads_histories:
        with contract.promise("its parameters do not depend on the number of users"):
            _check_other_users(encoders)
    with contract.promise("what follows from the edges is not in its state dict"):
        _check_buffers(encoders)
    if encoders.takes_texts:
        with contract.promise("what follows from the item texts is not in its state dict"):
            _check_text_buffers(encoders)
        with contract.promise("it leaves the text vectors as they are given"):
            texts = drawn_texts()
            torch.manual_seed(0)
            two_steps(encoders.made(drawn_graph(), texts))
            assert torch.equal(texts, drawn_texts()), "changed"
    with contract.promise("its state dict, through safetensors, is all another encoder needs for the same embeddings"):
        _check_saved(encoders)
    with contract.promise("it leaves the graph as it is given"):
        graph = drawn_graph()
        before = _contents(graph)
        two_steps(encoders.on(graph))
        after = _contents(graph)
        changed = [name for name in before | after if not identical(before.get(name), after.get(name))]
        assert not changed, f"changed: {', '.join(changed)}"


def _check_other_edges(encoders: Encoders) -> None:
    trained, other = encoders.draw(graph=0), encoders.draw(graph=1)
    _check_shapes(trained, other)
    other.load_state_dict(trained.state_dict(), strict=True)
    check_outputs(embeddings(other), encoders.settings.dimension)


def _check_other_users(encoders: Encoders) -> None:
    known = draw_split(0)[0]
    newcomer = Interactions(np.append(known.indptr, known.indptr[-1]), known.items, known.item_count)
    _check_shapes(encoders.draw(), encoders.on(InteractionGraph(newcomer)))


def _check_shapes(first: Any, second: Any) -> None:
    """Of what two encoders save."""
    states = [{name: list(tensor.shape) for name, tensor in each.state_dict().items()} for each in (first, second)]
    differing = [
        f"{name} is {states[0].get(name, 'absent')} on one graph and {states[1].get(name, 'absent')} on another"
        for name in states[0] | states[1]
        if states[0].get(name) != states[1].get(name)
    ]
    assert not differing, "\n".join(differing)


def _check_buffers(encoders: Encoders) -> None:
    _check_not_saved(encoders.draw(), encoders.draw(seed=1), encoders.draw(graph=1))


def _check_text_buffers(encoders: Encoders) -> None:
    _check_not_saved(encoders.draw(), encoders.draw(seed=1), encoders.draw(texts=1))


def _check_not_saved(encoder: Any, redrawn: Any, other: Any) -> None:
    """Of an encoder, one of another seed, and one of another graph or of other texts."""
    parameters = {name for name, _ in encoder.named_parameters(remove_duplicate=False)}
    states = [each.state_dict() for each in (encoder, redrawn, other)]
    # What two seeds give alike was not drawn at random, so where the others differ in it, it follows from them.
    following = [
        name
        for name, tensor in states[0].items()
        if name not in parameters
        and identical(tensor, states[1].get(name))
        and not identical(tensor, states[2].get(name))
    ]
    assert not following, f"register with persistent=False: {', '.join(following)}"


def _check_saved(encoders: Encoders) -> None:
    encoder, other = encoders.draw(), encoders.draw(seed=1)
    two_steps(encoder)
    state = {name: tensor.detach().clone().contiguous() for name, tensor in encoder.state_dict().items()}
    other.load_state_dict(load(save(state)), strict=True)
    for expected, found in zip(embeddings(encoder), embeddings(other), strict=True):
        assert torch.allclose(expected, found, rtol=1e-5, atol=1e-6), (
            f"they differ by up to {distance(expected, found):.3g}"
        )


def _contents(graph: InteractionGraph) -> dict[str, Any]:
    """Counts, buffers and the `HeteroData` of a graph; tensors copied."""
    contents: dict[str, Any] = {"user_count": graph.user_count, "item_count": graph.item_count}
    contents |= dict(graph.named_buffers())
    for kind, store in (*graph.data.node_items(), *graph.data.edge_items()):
        contents |= {f"data[{kind!r}].{name}": value for name, value in store.items()}
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else value
        for name, value in contents.items()
        if isinstance(value, (Tensor, int))
    }
