"""What a graph encoder promises (`glta_cli.plugin.GraphEncoder`)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np
import torch
from pydantic import BaseModel
from safetensors.torch import load, save
from torch import Tensor, nn

from glta_cli.graph.interaction_graph import InteractionGraph
from glta_cli.graph.losses import bpr_loss
from glta_cli.graph.pretraining import PretrainedEncoder, pretrain
from glta_cli.recipe import GraphSettings, TrainingSettings
from glta_cli.testing.contract import Contract, declared
from glta_cli.testing.drawn import ITEMS, USERS, draw_split, draw_text_vectors
from glta_cli.training import trainable

# Users with a positive and a negative item each; users 0 and 3 and item 2 stand there twice.
BATCH_USERS = (0, 1, 3, 0, 12, 3)
BATCH_ITEMS = ((2, 0, 16, 2, 7, 1), (4, 5, 6, 15, 2, 9))

RESUMED_LOSS: Final = "bpr"

Outputs = tuple[Tensor, Tensor]


def check_encoder(name: str, *, options: Mapping[str, Any] | None = None) -> None:
    """Check the graph encoder of that name, of an installed plugin, on small random graphs; on a GPU too, if any.

    Args:
        options: settings that differ from their defaults, as `graph.options` of a recipe holds them.

    Raises:
        ContractError: it breaks a promise; the message holds all that are broken.
    """
    contract = Contract(f"encoder '{name}'")
    component, settings = declared(contract, "encoder", name, options)
    encoder_promises(contract, component.target(), settings)
    contract.settle()


def encoder_promises(contract: Contract, target: Callable[..., Any], settings: BaseModel) -> None:
    """Check the class of a graph encoder with the given settings.

    Args:
        target: makes an encoder from a graph and settings, and from text vectors where it asks for them.

    Raises:
        ContractError: a promise is broken without which the others cannot be checked.
    """
    encoders = _Encoders(target, settings)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        _form_promises(contract, encoders)
        _extra_loss_promises(contract, encoders)
        _state_promises(contract, encoders)
        _device_promises(contract, encoders)
        _training_promises(contract, encoders)


@dataclass(frozen=True)
class _Encoders:
    """Makes encoders of one class and settings."""

    target: Callable[..., Any]
    settings: Any

    @property
    def takes_texts(self) -> bool:
        return bool(getattr(self.target, "needs_text_vectors", False))

    def made(self, graph: InteractionGraph, texts: Tensor) -> Any:
        """One on the graph, given the text vectors [I, D] where it asks for them."""
        return self.target(graph, self.settings, *([texts] if self.takes_texts else []))

    def on(self, graph: InteractionGraph, *, seed: int = 0, texts: int = 0) -> Any:
        torch.manual_seed(seed)
        return self.made(graph, drawn_texts(texts))

    def draw(self, *, seed: int = 0, graph: int = 0, texts: int = 0) -> Any:
        """An encoder drawn with a seed on the graph drawn with another, for texts drawn with a third."""
        return self.on(drawn_graph(graph), seed=seed, texts=texts)


def drawn_graph(seed: int = 0) -> InteractionGraph:
    """13 users and 17 items, one of either without an edge."""
    return InteractionGraph(draw_split(seed)[0])


def drawn_texts(seed: int = 0) -> Tensor:
    """Vectors of the items' texts, float32 [I, D]."""
    return torch.from_numpy(draw_text_vectors(seed))


def batch(device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """User indices [B] and item indices [2, B], positives and negatives."""
    return torch.tensor(BATCH_USERS, device=device), torch.tensor(BATCH_ITEMS, device=device)


def training_loss(encoder: Any, device: torch.device | str = "cpu") -> Tensor:
    """The loss of the batch as stage 1 takes it: BPR over what `forward` gives, and then `extra_loss`."""
    users, items = batch(device)
    user_vectors, item_vectors = encoder()
    loss: Tensor = bpr_loss(user_vectors[users], *item_vectors[items]) + encoder.extra_loss(users, items)
    return loss


def two_steps(encoder: nn.Module) -> list[float]:
    """Take two steps of Adam on the batch; the losses before each."""
    encoder.train()
    optimizer = torch.optim.AdamW(trainable(encoder).values(), lr=0.01)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = training_loss(encoder)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def embeddings(encoder: nn.Module) -> Outputs:
    """As validation and serving see them: in eval mode, without gradients."""
    encoder.eval()
    with torch.no_grad():
        users, items = encoder()
    return users, items


# -------------------------------------------------------------------------------------- constructor and forward


def _form_promises(contract: Contract, encoders: _Encoders) -> None:
    given = "(graph, settings, text_vectors)" if encoders.takes_texts else "(graph, settings)"
    with contract.promise(f"its target makes a torch.nn.Module with parameters to train from {given}", decisive=True):
        encoder = encoders.draw()
        assert isinstance(encoder, nn.Module), f"it makes a {type(encoder).__name__}"
        assert trainable(encoder), "no parameter requires a gradient"
    with contract.promise("its settings have an integer `dimension`, of the embeddings", decisive=True):
        dimension = getattr(encoders.settings, "dimension", None)
        assert type(dimension) is int, f"it is {dimension!r}"
    with contract.promise(
        "forward() returns users [U, d] and items [I, d], float32 and finite, d = settings.dimension, "
        "also of nodes without an edge",
        decisive=True,
    ):
        for mode in (True, False):
            _check_outputs(encoder.train(mode)(), encoders.settings.dimension)
    with contract.promise("in eval mode forward() gives the same each time", decisive=True):
        for first, second in zip(embeddings(encoder), embeddings(encoder), strict=True):
            assert torch.equal(first, second), f"two calls differ by up to {_distance(first, second):.3g}"


def _check_outputs(outputs: Any, dimension: int) -> None:
    assert isinstance(outputs, (tuple, list)), f"it returns a {type(outputs).__name__}"
    assert len(outputs) == 2, f"it returns {len(outputs)} values"
    for name, vectors, count in zip(("users", "items"), outputs, (USERS, ITEMS), strict=True):
        assert isinstance(vectors, Tensor), f"{name} are a {type(vectors).__name__}"
        expected = (count, dimension)
        assert tuple(vectors.shape) == expected, f"{name} have the shape {list(vectors.shape)}, not {list(expected)}"
        assert vectors.dtype == torch.float32, f"{name} are {vectors.dtype}"
        rows = (~vectors.isfinite()).any(dim=1).nonzero().flatten().tolist()
        assert not rows, f"{name} {rows} are not finite"


# ------------------------------------------------------------------------------------------------- extra loss


def _extra_loss_promises(contract: Contract, encoders: _Encoders) -> None:
    with contract.promise(
        "extra_loss(users [B], items [B] or [2, B]) is a finite scalar tensor, called after forward()", decisive=True
    ):
        distinct = torch.arange(12).view(2, 6)
        for given in (distinct[0], distinct):
            _check_extra_loss(encoders, torch.arange(6), given)
    users, items = batch()
    with contract.promise("extra_loss takes batches in which users and items stand more than once", decisive=True):
        for given in (items[0], items):
            _check_extra_loss(encoders, users, given)
    with contract.promise("extra_loss takes a batch of one"):
        for given in (items[0], items):
            _check_extra_loss(encoders, users[:1], given[..., :1])
    with contract.promise("a loss of what forward() returns trains parameters: nothing is detached on the way"):
        _check_attachment(encoders.draw())
    with contract.promise(
        "every parameter that requires a gradient gets a finite one from forward() and extra_loss()", decisive=True
    ):
        _check_gradients(encoders.draw())


def _check_extra_loss(encoders: _Encoders, users: Tensor, items: Tensor) -> None:
    encoder = encoders.draw().train()
    encoder()
    loss = encoder.extra_loss(users, items)
    given = f"for users {list(users.shape)} and items {list(items.shape)}"
    assert isinstance(loss, Tensor), f"it is a {type(loss).__name__} {given}"
    assert loss.ndim == 0, f"its shape is {list(loss.shape)} {given}"
    assert loss.is_floating_point(), f"it is {loss.dtype} {given}"
    assert bool(loss.isfinite()), f"it is {float(loss.detach())} {given}"


def _check_attachment(encoder: Any) -> None:
    encoder.train()
    for name, vectors in zip(("users", "items"), encoder(), strict=True):
        assert vectors.requires_grad, f"{name} need no gradient"
        parameters = tuple(trainable(encoder).values())
        gradients = torch.autograd.grad(vectors.square().sum(), parameters, retain_graph=True, allow_unused=True)
        assert any(gradient is not None and gradient.any() for gradient in gradients), (
            f"no parameter gets one from {name}, but for zeros"
        )


def _check_gradients(encoder: Any) -> None:
    encoder.train()
    users, items = encoder()
    (users.sum() + items.sum() + encoder.extra_loss(*batch())).backward()
    gradients = {name: parameter.grad for name, parameter in trainable(encoder).items()}
    missing = [name for name, gradient in gradients.items() if gradient is None]
    assert not missing, f"none: {', '.join(missing)}"
    wild = [name for name, gradient in gradients.items() if gradient is not None and not gradient.isfinite().all()]
    assert not wild, f"not finite: {', '.join(wild)}"


# ------------------------------------------------------------------------------------------ state and the graph


def _state_promises(contract: Contract, encoders: _Encoders) -> None:
    with contract.promise("its parameters depend on the numbers of users and items, not on the edges"):
        _check_other_edges(encoders)
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
        changed = [name for name in before | after if not _equal(before.get(name), after.get(name))]
        assert not changed, f"changed: {', '.join(changed)}"


def _check_other_edges(encoders: _Encoders) -> None:
    trained, other = encoders.draw(graph=0), encoders.draw(graph=1)
    states = [{name: list(tensor.shape) for name, tensor in each.state_dict().items()} for each in (trained, other)]
    differing = [
        f"{name} is {states[0].get(name, 'absent')} on one graph and {states[1].get(name, 'absent')} on another"
        for name in states[0] | states[1]
        if states[0].get(name) != states[1].get(name)
    ]
    assert not differing, "\n".join(differing)
    other.load_state_dict(trained.state_dict(), strict=True)
    _check_outputs(embeddings(other), encoders.settings.dimension)


def _check_buffers(encoders: _Encoders) -> None:
    _check_not_saved(encoders.draw(), encoders.draw(seed=1), encoders.draw(graph=1))


def _check_text_buffers(encoders: _Encoders) -> None:
    _check_not_saved(encoders.draw(), encoders.draw(seed=1), encoders.draw(texts=1))


def _check_not_saved(encoder: Any, redrawn: Any, other: Any) -> None:
    """Of an encoder, one of another seed, and one of another graph or of other texts."""
    parameters = {name for name, _ in encoder.named_parameters(remove_duplicate=False)}
    states = [each.state_dict() for each in (encoder, redrawn, other)]
    # What two seeds give alike was not drawn at random, so where the others differ in it, it follows from them.
    following = [
        name
        for name, tensor in states[0].items()
        if name not in parameters and _equal(tensor, states[1].get(name)) and not _equal(tensor, states[2].get(name))
    ]
    assert not following, f"register with persistent=False: {', '.join(following)}"


def _check_saved(encoders: _Encoders) -> None:
    encoder, other = encoders.draw(), encoders.draw(seed=1)
    two_steps(encoder)
    state = {name: tensor.detach().clone().contiguous() for name, tensor in encoder.state_dict().items()}
    other.load_state_dict(load(save(state)), strict=True)
    for expected, found in zip(embeddings(encoder), embeddings(other), strict=True):
        assert torch.allclose(expected, found, rtol=1e-5, atol=1e-6), (
            f"they differ by up to {_distance(expected, found):.3g}"
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


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return type(first) is type(second) and bool(first == second)


def _distance(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


# ---------------------------------------------------------------------------------------------------- devices


def _device_promises(contract: Contract, encoders: _Encoders) -> None:
    with contract.promise("every tensor it holds follows .to(device): it is a parameter, a buffer or of a submodule"):
        _check_moving(encoders.draw())
    if torch.cuda.is_available():
        with contract.promise("forward() and extra_loss() run on a GPU"):
            encoder = encoders.draw().to("cuda")
            training_loss(encoder, "cuda").backward()
            for vectors in embeddings(encoder):
                assert vectors.device.type == "cuda", f"embeddings are on {vectors.device}"
                assert bool(vectors.isfinite().all()), "embeddings are not finite"


def _check_moving(encoder: nn.Module) -> None:
    # Moving to a real device changes a parameter in place, to the device without memory it makes another one: a list
    # of parameters that are registered as well is fine.
    registered = list(encoder.parameters())
    encoder.to("meta")
    behind = [
        name
        for name, tensor in held_tensors(encoder)
        if tensor.device.type != "meta" and not any(tensor is each for each in registered)
    ]
    assert not behind, f"left behind: {', '.join(behind)}"


def held_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor a module and its submodules hold, with its path: registered, an attribute, or in a container."""
    seen: set[int] = set()

    def search(path: str, value: Any) -> Iterator[tuple[str, Tensor]]:
        if id(value) in seen:
            return
        if isinstance(value, Tensor):
            yield path, value
        elif isinstance(value, (nn.Module, Mapping, list, tuple, set)):
            seen.add(id(value))
            for name, inner in _parts(value):
                yield from search(f"{path}.{name}" if path else name, inner)

    return search("", module)


def _parts(value: nn.Module | Mapping[Any, Any] | list[Any] | tuple[Any, ...] | set[Any]) -> list[tuple[str, Any]]:
    if isinstance(value, nn.Module):
        registered = ("_parameters", "_buffers", "_modules")
        own = [(name, each) for name, each in vars(value).items() if name not in registered]
        return own + [pair for kind in registered for pair in getattr(value, kind).items()]
    if isinstance(value, Mapping):
        return [(str(key), each) for key, each in value.items()]
    return [(str(place), each) for place, each in enumerate(value)]


# --------------------------------------------------------------------------------------------------- training


def _training_promises(contract: Contract, encoders: _Encoders) -> None:
    with contract.promise(
        "the same seed of torch gives the same encoder and the same training steps, bit for bit", decisive=True
    ):
        _check_seeded(encoders)
    for loss in ("softmax", "bpr"):
        with (
            TemporaryDirectory() as folder,
            contract.promise(f"glta pretrain-graph trains it with the loss {loss}", decisive=loss == RESUMED_LOSS),
        ):
            trained = _pretrained(encoders, loss, Path(folder), epochs=2)
            assert trained.progress.epoch == 2, f"it stopped after epoch {trained.progress.epoch}"
            for vectors in (trained.embeddings.users, trained.embeddings.items):
                assert np.isfinite(vectors).all(), "embeddings are not finite afterwards"
    with (
        contract.promise("a training that is interrupted and resumed ends where an uninterrupted one does"),
        TemporaryDirectory() as folder,
    ):
        whole = _pretrained(encoders, RESUMED_LOSS, Path(folder) / "whole", epochs=2)
        _pretrained(encoders, RESUMED_LOSS, Path(folder) / "parts", epochs=1)
        resumed = _pretrained(encoders, RESUMED_LOSS, Path(folder) / "parts", epochs=2)
        assert resumed.progress.history == whole.progress.history, (
            f"the last epoch is {resumed.progress.history[-1]}, not {whole.progress.history[-1]}"
        )
        for expected, found in zip(embeddings(whole.module), embeddings(resumed.module), strict=True):
            assert torch.equal(expected, found), f"embeddings differ by up to {_distance(expected, found):.3g}"


def _check_seeded(encoders: _Encoders) -> None:
    first, second = encoders.draw(), encoders.draw()
    drawn = [each.state_dict() for each in (first, second)]
    differing = [name for name, tensor in drawn[0].items() if not _equal(tensor, drawn[1].get(name))]
    assert not differing, f"drawn differently: {', '.join(differing)}"
    losses = []
    for encoder in (first, second):
        torch.manual_seed(2)
        losses.append(two_steps(encoder))
    assert losses[0] == losses[1], f"losses {losses[0]} and {losses[1]}"
    trained = [each.state_dict() for each in (first, second)]
    differing = [name for name, tensor in trained[0].items() if not _equal(tensor, trained[1].get(name))]
    assert not differing, f"trained differently: {', '.join(differing)}"


def _pretrained(
    encoders: _Encoders, loss: Literal["softmax", "bpr"], state_folder: Path, *, epochs: int
) -> PretrainedEncoder:
    train, validation = draw_split(0)
    training = TrainingSettings(epochs=epochs, batch_size=8, learning_rate=0.01)
    with redirect_stderr(io.StringIO()):  # progress
        return pretrain(
            lambda graph: encoders.made(graph, drawn_texts()),
            GraphSettings(loss=loss, training=training),
            train,
            train,
            validation,
            seed=0,
            device=torch.device("cpu"),
            state_folder=state_folder,
            description="check",
        )
