"""A log of events, from its first row to an answer: what was only viewed can be recommended, what was bought cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from glta_cli.serving.index import SEEN_TENSORS, VECTORS, Index, mapped_tensors
from glta_cli.serving.recommender import recommend
from glta_cli.stages.context import together
from glta_cli.stages.pipeline import Pipeline


@pytest.fixture(scope="module")
def run_shop(run_toy: Callable[..., Pipeline], shop_folder: Path) -> Callable[..., Pipeline]:
    """Train on the shop's log with options of its loader."""

    def run(name: str, *options: str, stage: str = "index") -> Pipeline:
        source = [f"dataset.source={shop_folder / 'log.csv'}", "dataset.options.items=products.csv"]
        return run_toy(*source, *(f"dataset.options.{option}" for option in options), name=name, stage=stage)

    return run


def items_of(shop_folder: Path, customer: str, *events: str) -> set[str]:
    rows = [line.split(",") for line in (shop_folder / "log.csv").read_text().splitlines()]
    return {row[1] for row in rows if row[0] == customer and row[2] in events}


def answered(pipeline: Pipeline, customer: str) -> set[str]:
    return {entry["item"] for entry in recommend(pipeline.ensure("index"), customer, 100)["recommendations"]}


@pytest.mark.parametrize("customer", ["C-00", "C-17"])
def test_what_was_only_viewed_is_recommended_where_purchases_count_as_seen(run_shop, shop_folder, customer):
    met = items_of(shop_folder, customer, "view", "cart", "purchase")
    bought = items_of(shop_folder, customer, "purchase")
    pipeline = run_shop("bought", "events={purchase: 3, cart: 2, view: 1}", "seen=[purchase]")
    catalogue = set(pipeline.prepared().item_ids)
    assert answered(pipeline, customer) == catalogue - bought
    assert {entry["item"] for entry in recommend(pipeline.ensure("index"), customer, 1)["history"]} == met

    everything = run_shop("all", "events={purchase: 3, cart: 2, view: 1}")
    assert answered(everything, customer) == catalogue - met


def test_an_index_of_which_everything_is_seen_is_written_as_before(run_shop):
    tensors = {
        name: mapped_tensors(run_shop(name, *options).ensure("index").file(VECTORS))
        for name, options in (
            ("bought", ("events={purchase: 3, cart: 2, view: 1}", "seen=[purchase]")),
            ("all", ("events={purchase: 3, cart: 2, view: 1}",)),
        )
    }
    assert tensors["bought"].keys() - tensors["all"].keys() == SEEN_TENSORS
    index = Index(run_shop("all", "events={purchase: 3, cart: 2, view: 1}").ensure("index"))
    assert index.seen is index.history


def test_an_evaluation_masks_what_was_trained_on_seen_or_not(run_shop):
    prepared = run_shop("bought", "events={purchase: 3, cart: 2, view: 1}", "seen=[purchase]").prepared()
    parts = [prepared.split(name) for name in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(prepared.history()) > len(prepared.seen())


def test_together_keeps_the_weights_of_both(run_shop):
    prepared = run_shop("all", "events={purchase: 3, cart: 2, view: 1}", stage="prepare").prepared()
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
