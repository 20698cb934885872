"""The checks of graph encoders: the shipped one passes, and each broken one is told the promise it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph, Settings
from glta_cli.testing import ContractError, check_encoder
from glta_cli.testing.contract import Contract
from glta_cli.testing.encoder import encoder_promises, held_tensors


class FactorSettings(Settings):
    dimension: int = 6


class Factors(nn.Module):
    """Matrix factorisation that keeps every promise; the classes below break one each."""

    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__()
        self.graph = graph
        self.users = nn.Parameter(0.1 * torch.randn(graph.user_count, settings.dimension))
        self.items = nn.Parameter(0.1 * torch.randn(graph.item_count, settings.dimension))

    def forward(self) -> Any:
        return self.users, self.items

    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return 1e-3 * (self.users[users].square().mean() + self.items[items].square().mean())


class Detached(Factors):
    """Only its regulariser would be trained."""

    def forward(self) -> Any:
        return self.users.detach(), self.items.detach()


class ItemsDetached(Factors):
    def forward(self) -> Any:
        return self.users, self.items.detach()


def degrees(graph: InteractionGraph) -> Tensor:
    """Edges of each user, [U]."""
    edges = graph.data["user", "interacts", "item"].edge_index
    return torch.bincount(edges[0], minlength=graph.user_count).float()


def check(contract: Contract, target: Callable[..., Any], settings: Any) -> None:
    encoder_promises(contract, target, settings)
    contract.settle()


def breaches(target: Callable[..., Any], settings: Any) -> list[str]:
    """What an encoder is told, promise by promise."""
    contract = Contract("encoder 'mine'")
    with pytest.raises(ContractError) as told:
        check(contract, target, settings)
    assert all(breach in str(told.value) for breach in contract.breaches)
    return contract.breaches


@pytest.mark.parametrize("start", ["spectral", "random"])
def test_lightgcn_keeps_every_promise(start: str) -> None:
    check_encoder("lightgcn", options={"start": start})


def test_the_checks_leave_the_generator_of_torch_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    encoder_promises(Contract("mine"), Factors, FactorSettings())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_name_nobody_declares_is_told_with_the_one_meant() -> None:
    with pytest.raises(ContractError, match=r"(?s)no encoder is called 'lightgnc'.*did you mean 'lightgcn'"):
        check_encoder("lightgnc")


def test_settings_that_are_refused_are_told() -> None:
    with pytest.raises(ContractError, match=r"take that\n.*options[.]layers"):
        check_encoder("lightgcn", options={"layers": -1})


def test_the_smallest_encoder_keeps_every_promise() -> None:
    contract = Contract("mine")
    check(contract, Factors, FactorSettings())
    assert contract.promises >= 17


# ------------------------------------------------------------------------------------------------- broken encoders


class NotAModule:
    def __init__(self, graph: InteractionGraph, settings: Any) -> None: ...


class NothingToTrain(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.requires_grad_(False)


class OtherConstructor(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any, layers: int) -> None:
        super().__init__(graph, settings)


class ItemsFirst(Factors):
    def forward(self) -> Any:
        return self.items, self.users


class OneMatrix(Factors):
    def forward(self) -> Any:
        return torch.cat([self.users, self.items])


class HalfPrecision(Factors):
    def forward(self) -> Any:
        return self.users.bfloat16(), self.items.bfloat16()


class DividesByDegree(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.register_buffer("degrees", degrees(graph)[:, None], persistent=False)

    def forward(self) -> Any:
        return self.users / self.degrees, self.items


class AlwaysDropsOut(Factors):
    def forward(self) -> Any:
        return nn.functional.dropout(self.users, 0.5), self.items


class ExtraOfEach(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return self.users[users].square().sum(1)


class ExtraNumber(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return 0.0


class ExtraOfPairsAlone(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        positives, negatives = items
        return (self.items[positives] - self.items[negatives]).square().mean()


class ExtraNeedsDistinctUsers(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        apart = torch.pdist(self.users[users]) if len(users) > 1 else self.users[users]
        return 1e-3 * (1 / apart).square().mean().sqrt()


class ExtraSpread(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        apart = self.users[users] - self.users[users].mean(0)
        return 1e-3 * (apart.square().sum(0) / (len(users) - 1)).mean()


class UnusedLayer(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.unused = nn.Linear(2, 2)


class RootOfZero(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.shift = nn.Parameter(torch.zeros(graph.user_count, 1))

    def forward(self) -> Any:
        return self.users + self.shift.sqrt(), self.items


class WeightOfEachEdge(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.weights = nn.Parameter(torch.ones(len(graph.weights)))

    def forward(self) -> Any:
        return self.users * self.weights.mean(), self.items


class KeepsDegrees(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.register_buffer("degrees", degrees(graph)[:, None])

    def forward(self) -> Any:
        return self.users * (1 + self.degrees).rsqrt(), self.items


class ScaleOutsideTheState(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.scale = float(torch.rand(()))

    def forward(self) -> Any:
        return self.users * self.scale, self.items


class MarksTheGraph(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        graph.data["user"].x = torch.ones(graph.user_count, 1)


class ScalesTheGraph(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        graph.weights.mul_(0.5)


class BareTensor(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.edges = graph.data["user", "interacts", "item"].edge_index


class TensorsInADict(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.views = {"users": [torch.ones(2)]}


class LayersInAList(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        generator = torch.random.get_rng_state()
        torch.manual_seed(0)  # alike in every encoder, so that nothing but its place is wrong
        self.layers = [nn.Linear(settings.dimension, settings.dimension)]
        torch.random.set_rng_state(generator)

    def forward(self) -> Any:
        return self.layers[0](self.users), self.items


class NumpyStart(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.users.data += torch.from_numpy(np.random.default_rng().normal(size=(graph.user_count, 1))).float()


class NumpyNoise(Factors):
    def forward(self) -> Any:
        noise = np.random.default_rng().normal() if self.training else 0.0
        return self.users + noise, self.items


class TrainsFullBatchesAlone(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        if items.ndim == 1 and len(users) > 8:
            raise ValueError("more than 8 pairs")
        return super().extra_loss(users, items)


class DivergesUnderBpr(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return super().extra_loss(users, items) * (torch.inf if items.ndim == 2 and len(users) == 8 else 1)


class RunningMean(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.normalise = nn.BatchNorm1d(settings.dimension)

    def forward(self) -> Any:
        return self.normalise(self.users), self.items


class ProjectedTexts(Factors):
    """Takes text vectors and keeps every promise."""

    needs_text_vectors = True

    def __init__(self, graph: InteractionGraph, settings: Any, text_vectors: Tensor) -> None:
        super().__init__(graph, settings)
        self.project = nn.Linear(text_vectors.shape[1], settings.dimension)
        self.keep(text_vectors)

    def keep(self, text_vectors: Tensor) -> None:
        self.register_buffer("texts", text_vectors, persistent=False)

    def forward(self) -> Any:
        return self.users, self.items + self.project(self.texts)


class SavesTexts(ProjectedTexts):
    def keep(self, text_vectors: Tensor) -> None:
        self.register_buffer("texts", text_vectors)


class ScalesTexts(ProjectedTexts):
    def keep(self, text_vectors: Tensor) -> None:
        self.register_buffer("texts", text_vectors.mul_(2), persistent=False)


class LeavesTextsBehind(ProjectedTexts):
    def keep(self, text_vectors: Tensor) -> None:
        self.texts = text_vectors


class AsksForNoTexts(ProjectedTexts):
    needs_text_vectors = False


MADE = "its target makes a torch.nn.Module"
FORWARD = "forward() returns users [U, d] and items [I, d]"
EXTRA = "extra_loss(users [B], items [B] or [2, B]) is a finite scalar"
ATTACHED = "a loss of what forward() returns trains parameters"
GRADIENT = "every parameter that requires a gradient gets a finite one"
MOVES = "every tensor it holds follows .to(device)"
GRAPH = "it leaves the graph as it is given"
SEED = "the same seed of torch"
RESUMED = "a training that is interrupted and resumed"


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (NotAModule, MADE, "it makes a NotAModule"),
        (NothingToTrain, MADE, "no parameter requires a gradient"),
        (OtherConstructor, MADE, "missing 1 required positional argument: 'layers'"),
        (ItemsFirst, FORWARD, "users have the shape [17, 6], not [13, 6]"),
        (OneMatrix, FORWARD, "it returns a Tensor"),
        (HalfPrecision, FORWARD, "users are torch.bfloat16"),
        (DividesByDegree, FORWARD, "users [5] are not finite"),
        (AlwaysDropsOut, "in eval mode forward() gives the same", "two calls differ by up to"),
        (ExtraOfEach, EXTRA, "its shape is [6] for users [6] and items [6]"),
        (ExtraNumber, EXTRA, "it is a float for users [6] and items [6]"),
        (ExtraOfPairsAlone, EXTRA, "too many values to unpack"),
        (ExtraNeedsDistinctUsers, "extra_loss takes batches in which users and items stand", "it is inf for users [6]"),
        (ExtraSpread, "extra_loss takes a batch of one", "it is nan for users [1] and items [1]"),
        (Detached, ATTACHED, "users need no gradient"),
        (ItemsDetached, ATTACHED, "items need no gradient"),
        (UnusedLayer, GRADIENT, "none: unused.weight, unused.bias"),
        (RootOfZero, GRADIENT, "not finite: shift"),
        (WeightOfEachEdge, "its parameters depend on the numbers of users and items", "weights is ["),
        (KeepsDegrees, "what follows from the edges is not in its state dict", "persistent=False: degrees"),
        (ScaleOutsideTheState, "its state dict, through safetensors", "they differ by up to"),
        (MarksTheGraph, GRAPH, "changed: data['user'].x"),
        (ScalesTheGraph, GRAPH, "changed: weights"),
        (BareTensor, MOVES, "left behind: edges"),
        (TensorsInADict, MOVES, "left behind: views.users.0"),
        (LayersInAList, MOVES, "left behind: layers.0.weight, layers.0.bias"),
        (NumpyStart, SEED, "drawn differently: users"),
        (NumpyNoise, SEED, "losses ["),
        (TrainsFullBatchesAlone, "glta pretrain-graph trains it with the loss softmax", "more than 8 pairs"),
        (DivergesUnderBpr, "glta pretrain-graph trains it with the loss bpr", "the loss is inf at step 0"),
        (RunningMean, RESUMED, "the last epoch is"),
        (SavesTexts, "what follows from the item texts is not in its state dict", "persistent=False: texts"),
        (ScalesTexts, "it leaves the text vectors as they are given", "changed"),
        (LeavesTextsBehind, MOVES, "left behind: texts"),
        (AsksForNoTexts, MADE, "missing 1 required positional argument: 'text_vectors'"),
    ],
)
def test_a_broken_encoder_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    [breach] = breaches(target, FactorSettings())
    assert breach.startswith(promise)
    assert seen in breach


@pytest.mark.parametrize("dimension", [6.0, True, None])
def test_the_dimension_is_an_integer(dimension: Any) -> None:
    class OddSettings(Settings):
        dimension: Any = None

    def target(graph: InteractionGraph, settings: Any) -> Factors:
        return Factors(graph, FactorSettings())

    [breach] = breaches(target, OddSettings(dimension=dimension))
    assert breach.startswith("its settings have an integer `dimension`")
    assert f"it is {dimension!r}" in breach


# -------------------------------------------------------------------------------------------------- what is allowed


class CachesAView(Factors):
    """What forward keeps for extra_loss is made anew at every call, so it need not follow the module."""

    def forward(self) -> Any:
        self.last = self.users * 1
        return self.last, self.items

    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return 1e-3 * self.last[users].square().mean()


class MovesByHand(Factors):
    """A tensor that is no buffer, but moved by the module itself; a registered parameter in a list as well."""

    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.ones = torch.ones(graph.user_count, 1)
        self.tables = [self.users, self.items]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.ones = fn(self.ones)
        return super()._apply(fn, recurse)

    def forward(self) -> Any:
        return self.users * self.ones, self.items


class DropsOutInTraining(Factors):
    """Randomness from torch's own generator resumes; a random buffer belongs to the state."""

    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        torch.randn(len(graph.weights))  # draws as many numbers as there are edges
        self.register_buffer("projection", torch.randn(settings.dimension, settings.dimension))

    def forward(self) -> Any:
        return nn.functional.dropout(self.users, 0.2, self.training) @ self.projection, self.items


@pytest.mark.parametrize("target", [CachesAView, MovesByHand, DropsOutInTraining, ProjectedTexts])
def test_what_works_is_not_told(target: Callable[..., Any]) -> None:
    check(Contract("mine"), target, FactorSettings())


def test_tensors_are_found_in_containers_that_hold_each_other() -> None:
    module = nn.Linear(2, 2)
    module.parts = {"again": module, "more": (torch.ones(1), [torch.zeros(1)])}
    assert sorted(path for path, _ in held_tensors(module)) == ["bias", "parts.more.0", "parts.more.1.0", "weight"]
