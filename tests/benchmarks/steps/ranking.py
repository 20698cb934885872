"""The ranking of every user and its metrics, on Gowalla."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from step import SHARED_DATA, Step, Work

Pairs = tuple[np.ndarray, np.ndarray]

K = 20
DIMENSIONS = 64
LAYERS = 3
CUTOFFS = (5, 10, 20)
METRICS = ("ndcg", "recall", "precision", "hit", "mrr", "map")
# Two matrix products sum in another order, so scores that agree to this may stand in either order.
TIE = 1e-5
# Users a block at which each peer was fastest of several sizes.
FAISS_BLOCK = 4096
RECBOLE_BLOCK = 64


def pairs_of(split: str) -> Pairs:
    """Users and items of one split of Gowalla."""
    path = Path(os.environ[SHARED_DATA]) / "lightgcn-gowalla" / f"{split}.txt"
    rows = [np.array(line.split(), dtype=np.int64) for line in path.read_text().splitlines() if line.strip()]
    users = np.concatenate([np.full(len(row) - 1, row[0]) for row in rows])
    return users, np.concatenate([row[1:] for row in rows])


class Gowalla:
    """Train, validation and test pairs, and vectors as a graph encoder gives them, the same in every process.

    The vectors are a random embedding propagated as LightGCN does. At size s every user stands there s times.
    """

    def __init__(self, size: int = 1) -> None:
        from scipy.sparse import csr_matrix, diags

        self.train, self.valid, self.test = (
            self._repeated(pairs_of(name), size) for name in ("train", "valid", "test")
        )
        self.user_count = 29_858 * size
        self.item_count = 40_981
        train = pairs_of("train")
        shape = (29_858, self.item_count)
        graph = csr_matrix((np.ones(len(train[0]), dtype=np.float32), train), shape=shape)
        degrees = [np.maximum(np.asarray(graph.sum(axis)).ravel(), 1) for axis in (1, 0)]
        graph = (diags(degrees[0] ** -0.5) @ graph @ diags(degrees[1] ** -0.5)).astype(np.float32).tocsr()
        back = graph.T.tocsr()
        generator = np.random.default_rng(0)
        users, items = (generator.normal(size=(count, DIMENSIONS)).astype(np.float32) for count in shape)
        user_sum, item_sum = users.copy(), items.copy()
        for _ in range(LAYERS):
            users, items = graph @ items, back @ users
            user_sum += users
            item_sum += items
        self.users = np.tile(user_sum / (LAYERS + 1), (size, 1))
        self.items = np.ascontiguousarray(item_sum / (LAYERS + 1))
        self.seen = tuple(np.concatenate(parts) for parts in zip(self.train, self.valid, strict=True))

    @staticmethod
    def _repeated(pairs: Pairs, size: int) -> Pairs:
        users = np.concatenate([pairs[0] + 29_858 * copy for copy in range(size)])
        return users, np.tile(pairs[1], size)

    def seen_matrix(self) -> Any:
        from scipy.sparse import csr_matrix

        values = np.ones(len(self.seen[0]), dtype=np.float32)
        return csr_matrix((values, self.seen), shape=(self.user_count, self.item_count))

    def scores_of(self, ranked: np.ndarray) -> np.ndarray:
        """The scores of ranked items [U, K] in float64, to tell a tie from an error."""
        users, items = self.users.astype(np.float64), self.items.astype(np.float64)
        return np.stack([np.einsum("ud,ud->u", users, items[column]) for column in ranked.T], axis=1)


# ------------------------------------------------------------------------------------------------------ top-k


def our_top_k(size: int) -> Work:
    from glta_cli.plugin.interactions import Interactions
    from glta_cli.plugin.scorer import product_scorer
    from glta_cli.ranking.top_k import rank_users

    data = Gowalla(size)
    shape = {"user_count": data.user_count, "item_count": data.item_count}
    train, valid = (Interactions.from_pairs(*pairs, **shape) for pairs in (data.train, data.valid))
    users = np.arange(data.user_count)

    def work() -> Mapping[str, Any]:
        return {"ranked": rank_users(product_scorer(data.users, data.items), users, K, train, valid)}

    return work


def implicit_top_k(size: int) -> Work:
    """`topk` as `recommend` calls it: seen items filtered, all users in one call, all processors."""
    from implicit.cpu.topk import topk

    data = Gowalla(size)
    seen = data.seen_matrix()
    return lambda: {"ranked": topk(data.items, data.users, K, filter_query_items=seen)[0]}


def faiss_top_k(size: int) -> Work:
    """An exact index knows no mask: as many more neighbours as a history is long, then the first unseen ones.

    Users are searched in order of their histories' length, so that one long history widens the search of its own
    block alone.
    """
    import faiss

    data = Gowalla(size)
    lengths = np.diff(data.seen_matrix().indptr)
    by_length = np.argsort(lengths, kind="stable")
    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(data.items)
    width = data.item_count
    known = np.sort(data.seen[0] * width + data.seen[1])

    def work() -> Mapping[str, Any]:
        ranked = np.empty((data.user_count, K), dtype=np.int64)
        for start in range(0, data.user_count, FAISS_BLOCK):
            rows = by_length[start : start + FAISS_BLOCK]
            found = index.search(data.users[rows], K + int(lengths[rows[-1]]))[1]  # [B, K + longest of the block]
            keys = rows[:, None] * width + found
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            unseen = known[place] != keys
            first = unseen & (unseen.cumsum(axis=1) <= K)
            ranked[rows] = found[first].reshape(-1, K)
        return {"ranked": ranked}

    return work


def recbole_top_k(size: int) -> Work:
    """RecBole's full sort: the scores of a batch of users, history to minus infinity, `torch.topk`."""
    import torch

    data = Gowalla(size)
    seen = data.seen_matrix()
    users, items = torch.from_numpy(data.users), torch.from_numpy(data.items)

    def work() -> Mapping[str, Any]:
        ranked = []
        with torch.no_grad():
            for start in range(0, len(users), RECBOLE_BLOCK):
                scores = users[start : start + RECBOLE_BLOCK] @ items.T
                indptr = seen.indptr[start : start + RECBOLE_BLOCK + 1]
                rows = torch.from_numpy(np.repeat(np.arange(len(scores)), np.diff(indptr)))
                columns = torch.from_numpy(seen.indices[indptr[0] : indptr[-1]].astype(np.int64))
                scores[rows, columns] = -np.inf
                ranked.append(torch.topk(scores, K, dim=-1).indices)
        return {"ranked": torch.cat(ranked).numpy()}

    return work


def check_top_k(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """The same items in the same places, or items whose scores a product cannot tell apart."""
    mine, theirs = ours["ranked"], peer["ranked"].astype(np.int64)
    assert mine.shape == theirs.shape
    different = mine != theirs
    assert different.mean() < 1e-3, f"{different.mean():.2%} of the places differ"
    data = Gowalla()
    np.testing.assert_allclose(data.scores_of(mine), data.scores_of(theirs), rtol=TIE, atol=TIE)


# ---------------------------------------------------------------------------------------------------- metrics


def ranked_lists(data: Gowalla) -> np.ndarray:
    """A list of K items for every user, some of them relevant: what is found matters little for the time."""
    generator = np.random.default_rng(1)
    ranked = generator.integers(0, data.item_count // K, (data.user_count, K)) * K + np.arange(K)  # no item twice
    users, first = np.unique(data.test[0], return_index=True)
    hit = generator.random(len(users)) < 0.3
    items = data.test[1][first[hit]]
    ranked[users[hit], items % K] = items
    return ranked


def our_metrics(size: int) -> Work:
    from glta_cli.plugin.interactions import Interactions
    from glta_cli.ranking.metrics import ranking_metrics

    data = Gowalla(size)
    test = Interactions.from_pairs(*data.test, user_count=data.user_count, item_count=data.item_count)
    users = np.flatnonzero(test.counts)
    ranked = ranked_lists(data)[users]

    def work() -> Mapping[str, Any]:
        values = ranking_metrics(ranked, users, test, CUTOFFS)
        for cutoff in CUTOFFS:
            # ranx divides average precision by |R|, ours by min(K, |R|): brought to its form to be compared.
            values[f"map@{cutoff}"] *= np.minimum(test.counts[users], cutoff) / test.counts[users]
        return {name: value.mean() for name, value in values.items()}

    return work


def ranx_metrics(size: int) -> Work:
    """`evaluate` on a run and judgements that are already ranx's own."""
    from ranx import Qrels, Run, evaluate

    data = Gowalla(size)
    relevant: dict[str, dict[str, int]] = {}
    for user, item in zip(*data.test, strict=True):
        relevant.setdefault(str(user), {})[str(item)] = 1
    ranked = ranked_lists(data)
    lists = {user: {str(item): float(K - place) for place, item in enumerate(ranked[int(user)])} for user in relevant}
    judgements, run = Qrels(relevant), Run(lists)
    names = {
        f"{metric}@{cutoff}": f"{metric}@{cutoff}".replace("hit@", "hit_rate@")
        for metric in METRICS
        for cutoff in CUTOFFS
    }

    def work() -> Mapping[str, Any]:
        values = evaluate(judgements, run, list(names.values()))
        return {ours: values[theirs] for ours, theirs in names.items()}

    return work


def check_metrics(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    assert ours.keys() == peer.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, peer[name], rtol=1e-9, err_msg=name)


TOP_K = "exact top-20 of every user, Gowalla"

STEPS: tuple[Step, ...] = (
    Step(
        name=TOP_K,
        peer_name="implicit.cpu.topk",
        ours=our_top_k,
        peer=implicit_top_k,
        check=check_top_k,
        targets={"wall": 1.7},
        peer_interpreter="peers",
        sizes=(1, 4, 16),
    ),
    Step(
        name=TOP_K,
        peer_name="faiss IndexFlatIP, k + length of history, filtered",
        ours=our_top_k,
        peer=faiss_top_k,
        check=check_top_k,
        targets={"wall": 2.5},
        peer_interpreter="peers",
        note="missed: both do little but multiply, and searched by length of history faiss widens few searches",
    ),
    Step(
        name=TOP_K,
        peer_name="RecBole's full sort (product, mask, torch.topk)",
        ours=our_top_k,
        peer=recbole_top_k,
        check=check_top_k,
        targets={"wall": 2},
        peer_interpreter="peers",
        note=f"RecBole in blocks of {RECBOLE_BLOCK} users, near its best; on one thread 1,024 take a quarter longer",
    ),
    Step(
        name="all metrics at 5, 10 and 20, Gowalla",
        peer_name="ranx.evaluate",
        ours=our_metrics,
        peer=ranx_metrics,
        check=check_metrics,
        targets={"wall": 5},
        sizes=(1, 4, 16),
    ),
)
