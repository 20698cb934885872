"""A catalogue over several processes: the loss and the gradients of one device, whatever the shards."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from glta_cli.training import losses
from glta_cli.training.losses import Positives, catalogue_softmax_loss, streamed_cross_entropy
from glta_cli.training.sharded_losses import shard_bounds, sharded_softmax_loss


@dataclass(frozen=True)
class Case:
    """A loss of float32 inputs; `rows` are the queries of each process, one after another."""

    rows: tuple[int, ...]
    queries: Tensor
    items: Tensor
    bias: Tensor | None
    positives: Positives
    excluded: Positives | None
    among: Tensor | None = None

    def on_one_device(self) -> tuple[Tensor, ...]:
        """The loss, and its gradients towards queries, items and, where there is one, the bias."""
        inputs = [part.clone().requires_grad_() for part in (self.queries, self.items, self.bias) if part is not None]
        bias = inputs[2] if len(inputs) == 3 else None
        loss = catalogue_softmax_loss(*inputs[:2], self.positives, bias=bias, excluded=self.excluded, among=self.among)
        return loss.detach(), *torch.autograd.grad(3 * loss, inputs)  # a factor, as where it is one term of several


def drawn_case(rows: tuple[int, ...], item_count: int, seed: int, *, bias: bool, weights: bool, among: bool) -> Case:
    generator = torch.Generator().manual_seed(seed)
    row_count = sum(rows)
    queries, items = (torch.randn(count, 5, generator=generator) for count in (row_count, item_count))
    kept = torch.rand(item_count, generator=generator) < (0.6 if among else 2)
    kept[0] = True
    kind = torch.randint(6, (row_count, item_count), generator=generator)
    kind[kind[:, 0] == 1, 0] = 5  # no row loses all of its items
    kind[0, 0], kind[-1, 1:] = 0, 5  # one positive at least, and a row that has but one
    found = ((kind == 0) & kept).nonzero()
    found = found[torch.randperm(len(found), generator=generator)]
    weight = [torch.rand(len(found), generator=generator) + 0.5] if weights else []
    excluded = Positives(*(kind == 1).nonzero().T)
    return Case(
        rows,
        queries,
        items,
        torch.randn(item_count, generator=generator) if bias else None,
        Positives(*found.T, *weight),
        excluded if len(excluded.rows) else None,
        kept.nonzero()[:, 0] if among else None,
    )


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Within a millionth of the largest number: what is left of numbers that cancel has no digits of its own."""
    scale = expected.abs().max().clamp(min=1e-30)
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------------------ shards in threads, any number


class ThreadShards:
    """The shards of as many threads: each reduction waits for all."""

    def __init__(self, size: int, widest: int) -> None:
        self.size, self.widest = size, widest
        self.given: dict[int, Tensor] = {}
        self.barrier = threading.Barrier(size, timeout=20)

    def of(self, rank: int) -> ThreadShard:
        return ThreadShard(self, rank)


@dataclass
class ThreadShard:
    everyone: ThreadShards
    rank: int

    @property
    def widest(self) -> int:
        return self.everyone.widest

    def _all(self, values: Tensor) -> Tensor:
        self.everyone.given[self.rank] = values
        self.everyone.barrier.wait()
        stacked = torch.stack([self.everyone.given[rank] for rank in range(self.everyone.size)])
        self.everyone.barrier.wait()
        return stacked

    def maxima(self, values: Tensor) -> Tensor:
        return self._all(values).amax(0)

    def sums(self, values: Tensor) -> Tensor:
        return self._all(values).sum(0)


def in_threads(case: Case, size: int) -> tuple[Tensor, ...]:
    """Loss and gradients of a case whose items are shared among `size` threads, put together again."""
    bounds = [shard_bounds(len(case.items), rank, size) for rank in range(size)]
    shards = ThreadShards(size, max(stop - start for start, stop in bounds))

    def of_one(rank: int) -> tuple[Tensor, ...]:
        start, stop = bounds[rank]
        queries, items = case.queries.clone().requires_grad_(), case.items[start:stop].clone().requires_grad_()
        bias = None if case.bias is None else case.bias[start:stop].clone().requires_grad_()
        places = case.positives.items - start
        places[(places < 0) | (places >= stop - start)] = -1
        gone = case.excluded
        if gone is not None:
            own = (gone.items >= start) & (gone.items < stop)
            gone = Positives(gone.rows[own], gone.items[own] - start)
        positives = Positives(case.positives.rows, places, case.positives.weights)
        loss = streamed_cross_entropy(queries, items, bias, positives, gone, shards.of(rank))
        return loss.detach(), *torch.autograd.grad(3 * loss, [queries, items, *([] if bias is None else [bias])])

    with ThreadPoolExecutor(size) as pool:
        found = list(pool.map(of_one, range(size)))
    assert all(torch.equal(part[0], found[0][0]) for part in found)
    return found[0][0], sum(part[1] for part in found), *map(torch.cat, zip(*(part[2:] for part in found), strict=True))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 9),
    st.integers(2, 30),
    st.integers(1, 6),
    st.integers(0, 10_000),
    st.integers(1, 80),
    st.booleans(),
    st.booleans(),
)
def test_shards_are_one_catalogue(
    rows: int, items: int, size: int, seed: int, budget: int, bias: bool, weights: bool
) -> None:
    """Also with more shards than items, of which some are then empty, and chunks of any size."""
    case = drawn_case((rows,), items, seed, bias=bias, weights=weights, among=False)
    expected = case.on_one_device()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "CHUNK_LOGITS", budget)
        found = in_threads(case, size)
    for part, whole in zip(found, expected, strict=True):
        assert_same(part, whole)


def test_the_logits_in_memory_do_not_grow_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 1000)
    sizes: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            result = function(*arguments, **(named or {}))
            sizes.extend(value.numel() for value in tree_leaves(result) if isinstance(value, Tensor))
            return result

    queries, items = torch.randn(400, 2).requires_grad_(), torch.randn(50, 2).requires_grad_()
    positives = Positives(torch.arange(400), torch.arange(400) % 50)
    with Sizes():
        streamed_cross_entropy(queries, items, None, positives, None, ThreadShards(1, 100).of(0)).backward()
    assert max(sizes) <= 1000


# ---------------------------------------------------------------------------------- shards in processes (gloo)

ROWS = {2: (4, 0), 3: (4, 3, 0)}
CASES = {
    "plain": {"bias": False, "weights": False, "among": False},
    "all": {"bias": True, "weights": True, "among": True},
    "extreme": {"bias": True, "weights": False, "among": False},
}


def process_case(name: str, size: int) -> Case:
    """Queries unevenly dealt, of which the last process has none, and items that cannot be dealt evenly."""
    case = drawn_case(ROWS[size], 23, size, **CASES[name])
    if name == "extreme":
        case.queries.mul_(1e3)
    return case


def of_process(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    losses.CHUNK_LOGITS = 17  # two rows or three at a time
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size)
    group = dist.group.WORLD
    assert group is not None
    for name in CASES:
        case = process_case(name, size)
        start, stop = shard_bounds(len(case.items), rank, size)
        first = sum(case.rows[:rank])
        own_queries = case.queries[first : first + case.rows[rank]].clone().requires_grad_()
        shard = [part[start:stop].clone().requires_grad_() for part in (case.items, case.bias) if part is not None]
        loss = sharded_softmax_loss(
            own_queries,
            shard[0],
            own_pairs(case.positives, first, case.rows[rank]),
            start=start,
            group=group,
            bias=shard[1] if len(shard) == 2 else None,
            excluded=None if case.excluded is None else own_pairs(case.excluded, first, case.rows[rank]),
            among=case.among,
        )
        gradients = torch.autograd.grad(3 * loss, [own_queries, *shard])
        torch.save((loss.detach(), *gradients), folder / f"{name}.{rank}")
    nothing = own_pairs(case.positives, 0, 0)
    with pytest.raises(ValueError, match="mean over positives"):
        sharded_softmax_loss(own_queries, shard[0], nothing, start=start, group=group)
    dist.destroy_process_group()


def own_pairs(pairs: Positives, first: int, count: int) -> Positives:
    own = (pairs.rows >= first) & (pairs.rows < first + count)
    return Positives(pairs.rows[own] - first, pairs.items[own], None if pairs.weights is None else pairs.weights[own])


@pytest.fixture(scope="module", params=[2, 3])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """What as many processes found of every case, in a folder."""
    folder = tmp_path_factory.mktemp("shards")
    mp.spawn(of_process, (request.param, folder), nprocs=request.param)
    return request.param, folder


@pytest.mark.xdist_group("sharded_losses")
@pytest.mark.parametrize("name", CASES)
def test_processes_find_the_loss_and_the_gradients_of_one(results: tuple[int, Path], name: str) -> None:
    size, folder = results
    found = [torch.load(folder / f"{name}.{rank}") for rank in range(size)]
    loss, *gradients = process_case(name, size).on_one_device()
    for part in found:
        assert_same(part[0], loss)
    for place, gradient in enumerate(gradients, 1):
        assert_same(torch.cat([part[place] for part in found]), gradient)
