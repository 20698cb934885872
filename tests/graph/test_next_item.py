"""Stage 1 for encoders that read histories: what is learnt, from what, and how it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from glta_encoders.sasrec import SASRec
from glta_encoders.settings import SASRecSettings
from torch import Tensor

from glta_cli.core.errors import GltaError
from glta_cli.graph.next_item import NextItemBprTask, NextItemSoftmaxTask
from glta_cli.graph.pretraining import pretrain
from glta_cli.graph.warm_start import Places, start_encoder
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import GraphSettings, TrainingSettings

ITEMS = 12
# Longer, shorter and as long as what is read at once; one without a predecessor, and one without anything.
HISTORIES = [[3, 1, 4, 0, 5, 9, 2, 6], [5, 8, 7], [7, 10, 11, 3], [1], []]


def interactions_of(histories: list[list[int]], weights: bool = False) -> Interactions:
    users = np.repeat(np.arange(len(histories)), [len(each) for each in histories])
    items = [item for each in histories for item in each]
    given = np.linspace(0.5, 4, len(items), dtype=np.float32) if weights else None
    return Interactions.from_pairs(users, items, user_count=len(histories), item_count=ITEMS, weights=given)


def encoder_on(interactions: Interactions, **options: Any) -> SASRec:
    torch.manual_seed(0)
    settings = SASRecSettings(dimension=8, longest_history=3, dropout=0.0, **options)
    return SASRec(InteractionGraph(interactions), settings).double()


def task_of(kind: type, interactions: Interactions, **settings: Any) -> Any:
    graph = GraphSettings(training=TrainingSettings(batch_size=2), **settings)
    return kind(encoder_on(interactions), graph, interactions, interactions, interactions, 0)


def predictions(task: Any) -> list[tuple[Tensor, int, int]]:
    """One by one: the state, the item that follows, and its place along the interactions."""
    found = []
    interactions, longest = task.interactions, task.module.longest_history()
    for user in range(interactions.user_count):
        history = interactions.of(user)
        for place in range(1, len(history)):
            # Stretches are cut from the newest end, and this one ends before as many whole ones.
            end = len(history) - 1 - (len(history) - 1 - place) // longest * longest
            start = max(0, end - longest)
            states = task.module.encode(torch.from_numpy(history[start:end][None]))[0]
            found.append((states[place - 1 - start], int(history[place]), int(interactions.indptr[user] + place)))
    return found


def epoch_loss(task: Any) -> float:
    return float(sum(task.loss(batch) for batch in task.batches(0)).detach())


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("unit_length", ["both", "users"])
def test_the_softmax_finds_the_next_item_among_the_catalogue_at_every_place(unit_length: str, weights: bool) -> None:
    interactions = interactions_of(HISTORIES, weights)
    task = task_of(NextItemSoftmaxTask, interactions, unit_length=unit_length, temperature=0.3)
    items = F.normalize(task.module.items(), dim=1) if unit_length == "both" else task.module.items()
    found = predictions(task)
    assert len(found) == 7 + 2 + 3
    terms = torch.stack([-(F.normalize(s, dim=0) @ items.T / 0.3).log_softmax(0)[item] for s, item, _ in found])
    if interactions.weights is not None:
        counted = torch.from_numpy(interactions.weights[[place for *_, place in found]].astype(np.float64))
        terms = terms * counted / counted.mean()
    # Every place counts the same, in however small a batch: the batches' losses add up to so many times the mean.
    batches = len(task.batches(0))
    assert epoch_loss(task) == pytest.approx(batches * float(terms.mean().detach()), rel=1e-6)


def test_bpr_sets_the_next_item_against_one_the_user_never_met() -> None:
    interactions = interactions_of(HISTORIES)
    task = task_of(NextItemBprTask, interactions, loss="bpr")
    drawn = task.batches(0)[0][1]
    for user, negative in zip(interactions.users, drawn, strict=True):
        assert negative not in interactions.of(user)
    items = task.module.items()
    terms = [F.softplus(-(state @ (items[item] - items[drawn[place]]))) for state, item, place in predictions(task)]
    assert epoch_loss(task) == pytest.approx(len(task.batches(0)) * float(torch.stack(terms).mean().detach()), rel=1e-6)


def test_without_two_training_items_of_anyone_there_is_nothing_to_learn() -> None:
    interactions = interactions_of([[1], [2], []])
    with pytest.raises(GltaError, match="no user has two training items"):
        task_of(NextItemSoftmaxTask, interactions).batches(0)


def circles(users: int, length: int) -> list[list[int]]:
    """Everyone goes once around a circle of items, each from a start of their own."""
    return [[(user + step) % ITEMS for step in range(length)] for user in range(users)]


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_who_goes_in_a_circle_is_told_the_next_step(loss: Any, tmp_path: Path) -> None:
    users = 24
    train = interactions_of(circles(users, 6))
    after = Interactions.from_pairs(
        np.arange(users), [(user + 6) % ITEMS for user in range(users)], user_count=users, item_count=ITEMS
    )
    training = TrainingSettings(epochs=60, batch_size=8, learning_rate=0.01, validate_every=10)
    found = pretrain(
        lambda graph: SASRec(graph, SASRecSettings(dimension=16, dropout=0.0, longest_history=4)),
        GraphSettings(loss=loss, training=training),
        train,
        train,
        after,
        seed=0,
        device=torch.device("cpu"),
        state_folder=tmp_path,
        description="circle",
    )
    assert found.progress.best_metric > 0.95


@pytest.mark.parametrize("split", ["ratio", "leave-last-out"])
def test_the_stage_trains_one_and_one_without_stage_3_s_targets(run_toy: Callable[..., Any], split: str) -> None:
    pipeline = run_toy("graph.encoder=sasrec", f"dataset.split.strategy={split}", stage="pretrain-graph")
    details = pipeline.ensure("pretrain-graph").details
    assert details["encoder"] == "sasrec"
    assert details["full"]["best_metric"] > 0
    assert details["alignment"]["best_epoch"] > 0


def test_a_later_training_starts_with_every_item_where_it_was() -> None:
    before = encoder_on(interactions_of(HISTORIES)).float()
    torch.manual_seed(1)
    now = SASRec(InteractionGraph(interactions_of(HISTORIES)), before.settings)
    # Two items have changed places, and the number of users is another one.
    places = [1, 0, *range(2, ITEMS)]
    items, users = Places(np.array(places), ITEMS), Places(np.arange(7), 7)
    assert start_encoder(now, before.state_dict(), users, items) == []
    found, expected = now.state_dict(), before.state_dict()
    torch.testing.assert_close(found.pop("item_vectors"), expected["item_vectors"][places])
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], msg=name)


@pytest.mark.parametrize(("times", "encoder", "told"), [(False, "sasrec", 1), (False, "mf", 0), (True, "sasrec", 0)])
def test_without_times_it_is_said_in_which_order_histories_are_read(
    run_toy: Callable[..., Any],
    toy_table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    times,
    encoder,
    told,
) -> None:
    log = tmp_path / "log.csv"
    rows = (toy_table / "interactions.csv").read_text().splitlines()
    log.write_text("\n".join(row if times else row.rpartition(",")[0] for row in rows) + "\n")
    given = (f"graph.encoder={encoder}", f"dataset.source={log}", "graph.training.epochs=1")
    run_toy(*given, stage="pretrain-graph", name="without-times")
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("no times: sasrec reads each user's items in the order of the source") == told
