"""A log of events, from its first row to an answer: what was only viewed can be recommended, what was bought cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glta_cli.evaluation import evaluate
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.index import VECTORS, Index, mapped_tensors
from glta_cli.serving.recommender import recommend
from glta_cli.stages.context import together
from glta_cli.stages.pipeline import Pipeline

ALIKE = "events={purchase: 3, cart: 2, view: 1}"
BOUGHT = (ALIKE, "seen=[purchase]")


@pytest.fixture(scope="module")
def run_shop(run_toy: Callable[..., Pipeline], shop_folder: Path) -> Callable[..., Pipeline]:
    """Train on the shop's log with options of its loader."""

    def run(name: str, *options: str, stage: str = "serving-index") -> Pipeline:
        source = [f"dataset.source={shop_folder / 'log.csv'}", "dataset.options.items=products.csv"]
        return run_toy(*source, *(f"dataset.options.{option}" for option in options), name=name, stage=stage)

    return run


def items_of(shop_folder: Path, customer: str, *events: str) -> set[str]:
    rows = [line.split(",") for line in (shop_folder / "log.csv").read_text().splitlines()]
    return {row[1] for row in rows if row[0] == customer and row[2] in events}


def answered(pipeline: Pipeline, customer: str) -> set[str]:
    return {entry["item"] for entry in recommend(pipeline.ensure("serving-index"), customer, 100)["recommendations"]}


@pytest.mark.parametrize("customer", ["C-00", "C-17"])
def test_what_was_only_viewed_is_recommended_where_purchases_count_as_seen(run_shop, shop_folder, customer):
    met = items_of(shop_folder, customer, "view", "cart", "purchase")
    bought = items_of(shop_folder, customer, "purchase")
    pipeline = run_shop("bought", *BOUGHT)
    catalogue = set(pipeline.prepared().item_ids)
    assert answered(pipeline, customer) == catalogue - bought
    assert {entry["item"] for entry in recommend(pipeline.ensure("serving-index"), customer, 1)["history"]} == met

    everything = run_shop("all", ALIKE)
    assert answered(everything, customer) == catalogue - met


def test_an_index_of_which_everything_is_seen_is_written_as_before(run_shop):
    for stage in ("index", "serving-index"):
        bought, alike = (run_shop(*run, stage=stage).ensure(stage) for run in (("bought", *BOUGHT), ("all", ALIKE)))
        names = [mapped_tensors(artefact.file(VECTORS)).keys() for artefact in (bought, alike)]
        assert names[0] - names[1] == {"seen_indptr", "seen_items"}
        index = Index(alike)
        assert index.seen is index.history


def test_an_evaluation_masks_what_was_trained_on_seen_or_not(run_shop, monkeypatch):
    pipeline = run_shop("bought", *BOUGHT)
    masked: list[Interactions] = []

    def recorded(score, users, k, *seen, **more):
        masked.extend(seen)
        return rank_users(score, users, k, *seen, **more)

    monkeypatch.setattr(evaluate, "rank_users", recorded)
    evaluate.evaluate_run(pipeline, rows=[])
    prepared = pipeline.prepared()
    known = prepared.split("train", "valid")
    pairs = {pair for each in masked for pair in zip(each.users.tolist(), each.items.tolist(), strict=True)}
    assert pairs == set(zip(known.users.tolist(), known.items.tolist(), strict=True))
    assert len(prepared.seen()) < len(prepared.history())


def test_together_keeps_the_weights_of_both(run_shop):
    prepared = run_shop("all", ALIKE, stage="prepare").prepared()
    train, valid = prepared.split("train"), prepared.split("valid")
    both = together(train, valid)
    assert both.weights is not None
    for user in range(both.user_count):
        own = slice(both.indptr[user], both.indptr[user + 1])
        parts = [part.weights[part.indptr[user] : part.indptr[user + 1]] for part in (train, valid)]
        np.testing.assert_array_equal(both.weights[own], np.concatenate(parts))


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_weights_reach_the_encoder(run_shop, loss):
    vectors = [
        run_shop(f"{loss}-{number}", f"events={events}", stage="pretrain-graph")
        for number, events in enumerate(["{purchase: 3, cart: 2, view: 1}", "{purchase: 30, cart: 2, view: 1}"])
    ]
    first, second = (pipeline.ensure("pretrain-graph") for pipeline in vectors)
    assert first.path.joinpath("full.safetensors").read_bytes() != second.path.joinpath("full.safetensors").read_bytes()
