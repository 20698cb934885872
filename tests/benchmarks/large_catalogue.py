"""What a catalogue's size costs: a step of stage 1, a step of ELSA and a full ranking, at 10,000 to 1,000,000 items.

    python tests/benchmarks/large_catalogue.py
    python tests/benchmarks/large_catalogue.py --items 10000 100000 --only sampled ranking

Interactions are made up: 20,000 users with 16 items each, some items as popular as Zipf's law has it. Every case runs
in a process of its own, of which three figures are told: the seconds of the work, the memory of the tables that lie
there before it, and the most memory the work took beside them. A step is one of `graph.loss: softmax` with 512 users
and 64 dimensions, with its way back and Adam's step; the ranking is of 1,000 users.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

USERS, ITEMS_A_USER, BATCH, DIMENSION, SAMPLED, RANKED = 20_000, 16, 512, 64, 4096, 1000
FACTORS, USERS_A_STEP = 256, 1024
SIZES = (10_000, 100_000, 1_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=SIZES, help="sizes of the catalogue")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="cases to measure")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(measured(CASES[asked.case], asked.items[0])))
        return
    print(f"{'case':<22} {'items':>9} {'seconds':>8} {'tables MiB':>11} {'beside them MiB':>16}")
    for case in asked.only:
        for items in asked.items:
            command = [sys.executable, __file__, "--case", case, "--items", str(items)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{case:<22} {items:>9,} {'failed':>8}  {done.stderr.strip().splitlines()[-1:]}", flush=True)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            line = (
                f"{case:<22} {items:>9,} {found['seconds']:>8.2f} {found['tables']:>11,.0f} {found['beside']:>16,.0f}"
            )
            print(line, flush=True)


def measured(case: Callable[[int], Callable[[], Any]], items: int) -> dict[str, float]:
    """Seconds of the second time the work is done, and MiB before the first and in the worst moment of both."""
    work = case(items)
    before = resident()
    work()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "tables": before, "beside": peak - before}


def resident() -> float:
    """MiB of this process in memory; what a longer start took and gave back does not count."""
    from glta_cli.core.process_memory import reset_peak_memory, resident_memory

    reset_peak_memory()
    return resident_memory() / (1 << 20)


def interactions(items: int) -> Any:
    from glta_cli.plugin import Interactions

    generator = np.random.default_rng(0)
    # Every item is met about as often as a share of the users' items allows; the first ones far more often.
    popular = np.minimum(generator.zipf(1.3, USERS * ITEMS_A_USER) - 1, items - 1)
    uniform = generator.integers(0, items, USERS * ITEMS_A_USER)
    met = np.where(generator.random(USERS * ITEMS_A_USER) < 0.5, popular, uniform)
    users = np.repeat(np.arange(USERS), ITEMS_A_USER)
    pairs = np.unique(users * items + met)
    return Interactions.from_pairs(pairs // items, pairs % items, user_count=USERS, item_count=items)


def softmax_step(items: int, **settings: Any) -> Callable[[], Any]:
    """A step of a matrix factorisation, whose tables are the embeddings and Adam's moments of them."""
    import torch

    from glta_cli.graph.pretraining import SoftmaxTask
    from glta_cli.plugin import InteractionGraph
    from glta_cli.recipe.schema import GraphSettings

    class Embeddings(torch.nn.Module):
        def __init__(self, graph: InteractionGraph) -> None:
            super().__init__()
            self.users = torch.nn.Parameter(0.1 * torch.randn(graph.user_count, DIMENSION))
            self.items = torch.nn.Parameter(0.1 * torch.randn(graph.item_count, DIMENSION))

        def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
            return self.users, self.items

        def extra_loss(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
            return self.users.new_zeros(())

    torch.set_num_threads(1)
    log = interactions(items)
    module = Embeddings(InteractionGraph(log))
    graph = GraphSettings(training=GraphSettings().training.model_copy(update={"batch_size": BATCH}), **settings)
    task = SoftmaxTask(module, graph, log, log, log, 0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, fused=True)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # the moments are tables too
    batch = task.batches(0)[0]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        task.loss(batch).backward()
        optimizer.step()

    return step


def elsa_step(items: int) -> Callable[[], Any]:
    import torch
    from glta_baselines.elsa import ElsaTask
    from glta_baselines.settings import ElsaSettings

    from glta_cli.plugin import BaselineData

    torch.set_num_threads(1)
    log = interactions(items)
    settings = ElsaSettings(factors=FACTORS, batch_size=USERS_A_STEP)
    task = ElsaTask(BaselineData(log, log, None, 0, torch.device("cpu")), settings)
    optimizer = torch.optim.AdamW(task.module.parameters(), lr=0.01, fused=True)
    for parameter in task.module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    batch = task.batches(0)[0]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        task.loss(batch).backward()
        optimizer.step()

    return step


def elsa_fit(items: int) -> Callable[[], Any]:
    """One epoch of ELSA by the training loop, its state saved in the end."""
    import torch
    from glta_baselines.elsa import Elsa
    from glta_baselines.settings import ElsaSettings

    from glta_cli.plugin import BaselineData
    from glta_cli.stages.baseline_descent import descent

    torch.set_num_threads(1)
    log = interactions(items)
    elsa = Elsa(ElsaSettings(factors=FACTORS, batch_size=USERS_A_STEP, epochs=1))

    def fit() -> None:
        with TemporaryDirectory(prefix="glta-") as states:
            descend = descent("elsa", None, Path(states))
            elsa.fit(BaselineData(log, log, None, 0, torch.device("cpu"), descend=descend))

    return fit


def ranking(items: int) -> Callable[[], Any]:
    from glta_cli.plugin import product_scorer
    from glta_cli.ranking.top_k import rank_users

    generator = np.random.default_rng(0)
    users, vectors = (generator.standard_normal((count, DIMENSION), dtype=np.float32) for count in (USERS, items))
    score, log = product_scorer(users, vectors), interactions(items)
    del vectors
    return lambda: rank_users(score, np.arange(RANKED), 20, log)


def low_rank_ranking(items: int) -> Callable[[], Any]:
    from glta_baselines.elsa import low_rank_scorer, term_of
    from glta_baselines.histories import histories_of

    from glta_cli.ranking.top_k import rank_users

    log = interactions(items)
    factors = np.random.default_rng(0).standard_normal((items, FACTORS), dtype=np.float32)
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    score = low_rank_scorer(term_of(factors, np.ones((2, items), dtype=np.float32)), histories_of(log))
    return lambda: rank_users(score, np.arange(RANKED), 20, log)


CASES: dict[str, Callable[[int], Callable[[], Any]]] = {
    "whole": softmax_step,
    "sampled": lambda items: softmax_step(items, softmax_items=SAMPLED),
    "sampled-popularity": lambda items: softmax_step(items, softmax_items=SAMPLED, softmax_sampling="popularity"),
    "elsa-step": elsa_step,
    "elsa-epoch": elsa_fit,
    "ranking": ranking,
    "elsa-ranking": low_rank_ranking,
}


if __name__ == "__main__":
    main()
