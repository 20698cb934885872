"""A trained encoder on another graph of the same nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from glta_cli.core.errors import GltaError
from glta_cli.stages.context import ALIGNMENT_PARAMETERS, FULL_PARAMETERS, StageContext, read_embeddings, together
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.propagation import embeddings_on
from glta_cli.training.loop import pick_device

ENCODERS = ["lightgcn", "hccf", "alpharec", "rlmrec-gen", "sasrec", "sasrec-text"]


def context_of(pipeline: Pipeline) -> StageContext:
    return StageContext(pipeline.recipe, pipeline.workspace, pick_device(None), dict(pipeline.reached()))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_on_its_own_graph_it_gives_what_was_published(run_toy: Callable[..., Pipeline], encoder: str) -> None:
    context = context_of(run_toy(f"graph.encoder={encoder}", stage="pretrain-graph"))
    again, published = embeddings_on(context, context.train), read_embeddings(context.artefacts["pretrain-graph"])
    np.testing.assert_array_equal(again.users, published.users)
    np.testing.assert_array_equal(again.items, published.items)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_encoder_behind_the_language_model_is_served_on_the_whole_graph(
    run_toy: Callable[..., Pipeline], encoder: str
) -> None:
    context = context_of(run_toy(f"graph.encoder={encoder}", stage="pretrain-graph"))
    again = embeddings_on(context, context.train, parameters=ALIGNMENT_PARAMETERS)
    # rlmrec-gen masks nodes in training, and in training alone.
    np.testing.assert_array_equal(again.users, context.embeddings(serving=True).users)
    np.testing.assert_array_equal(again.items, context.embeddings(serving=True).items)


def test_a_user_with_one_more_edge_moves(
    run_toy: Callable[..., Pipeline],
) -> None:
    context = context_of(run_toy(stage="pretrain-graph"))
    before = embeddings_on(context, context.train)
    user = int(np.flatnonzero(context.validation.counts)[0])
    one = context.validation.where(context.validation.users == user)
    after = embeddings_on(context, together(context.train, one))
    assert not np.allclose(before.users[user], after.users[user])


def test_without_propagation_users_stay_as_they_were_trained(run_toy: Callable[..., Pipeline]) -> None:
    context = context_of(run_toy("graph.encoder=mf", stage="pretrain-graph"))
    before = embeddings_on(context, context.train)
    after = embeddings_on(context, together(context.train, context.validation))
    np.testing.assert_array_equal(before.users, after.users)


def test_what_kept_no_parameters_says_so(run_toy: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(run_toy(stage="pretrain-graph"))
    monkeypatch.delitem(context.artefacts["pretrain-graph"].manifest["outputs"], FULL_PARAMETERS)
    with pytest.raises(GltaError, match="without the encoder's parameters"):
        embeddings_on(context, context.train)
