"""Promises: a large table's memory is used again once nobody holds it, and never while somebody does."""

from __future__ import annotations

import gc
import pickle
import threading
from copy import deepcopy
from typing import Any

import numpy as np
import torch

from glta_cli.plugin import adjacency
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.kept_tables import KeptTables


def test_memory_comes_back_when_the_last_view_of_a_table_is_gone() -> None:
    tables = KeptTables()
    table = tables.empty(3, 4)
    where, part = table.data_ptr(), table[1:].split(1)
    del table
    other = tables.empty(3, 4)
    assert other.data_ptr() != where
    del part
    assert tables.empty(3, 4).data_ptr() == where


def test_a_table_of_another_size_has_memory_of_its_own() -> None:
    tables = KeptTables()
    tables.empty(3, 4)
    assert tables.empty(2, 4).shape == (2, 4)
    assert [len(memory) for memory in tables.free] == [48, 32]


def test_copies_share_no_memory() -> None:
    tables = KeptTables()
    tables.empty(3, 4)
    assert not deepcopy(tables).free
    assert not pickle.loads(pickle.dumps(tables)).free


def test_steps_of_a_large_graph_use_the_same_table_until_training_is_over(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(adjacency, "BLOCK_ROWS", 8)
    users = np.arange(20)
    graph = InteractionGraph(Interactions.from_pairs(users, users % 7, user_count=20, item_count=7))
    nodes = torch.randn(27, 4, requires_grad=True)
    places = set()
    for _ in range(3):
        sides = graph.layer_mean_of_sides(nodes, 2)
        places.add(sides[0].data_ptr())
        loss = sides[0][::2].sum() + sides[1][::2].sum()
        del sides
        nodes.grad = None
        loss.backward()
        assert nodes.grad is not None
        places.add(nodes.grad.data_ptr())
    assert len(places) <= 2
    nodes.grad = None
    gc.collect()
    assert graph._tables.free
    graph.eval()
    with torch.no_grad():
        kept = [graph.layer_mean_of_sides(nodes, 2) for _ in range(2)]
    del kept
    assert not graph._tables.free


def test_two_threads_never_take_the_same_memory() -> None:
    tables, others = KeptTables(), []

    class AskedMeanwhile(list[np.ndarray]):
        """Another thread asks for a table between a look at what there is and the taking of it."""

        def pop(self, index: Any = -1) -> np.ndarray:
            if not threads:
                threads.append(threading.Thread(target=lambda: others.append(tables.empty(3, 4))))
                threads[0].start()
                threads[0].join(0.2)
            return super().pop(index)

    threads: list[threading.Thread] = []
    tables.free = AskedMeanwhile([np.empty(48, np.uint8), np.empty(32, np.uint8)])
    own = tables.empty(3, 4)
    threads[0].join()
    assert own.shape == others[0].shape == (3, 4)
    assert own.data_ptr() != others[0].data_ptr()


def test_a_copy_of_what_is_done_with_training_keeps_no_memory() -> None:
    users = np.arange(6)
    graph = InteractionGraph(Interactions.from_pairs(users, users % 3, user_count=6, item_count=3)).eval()
    for copied in (deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        copied._tables.empty(3, 4)
        assert not copied._tables.free
