"""The contract of an encoder, and what is SimGCL's own: how long the noise is, and the contrast."""

import math

import numpy as np
import pytest
import torch
from glta_example.settings import SimGCLSettings
from glta_example.simgcl import SimGCL

from glta_cli.plugin import InteractionGraph, Interactions
from glta_cli.testing import check_encoder


@pytest.fixture
def encoder() -> SimGCL:
    torch.manual_seed(0)
    users, items = np.nonzero(np.random.default_rng(0).random((12, 9)) < 0.4)
    graph = InteractionGraph(Interactions.from_pairs(users, items, user_count=12, item_count=9))
    return SimGCL(graph, SimGCLSettings(dimension=8, layers=1))


def test_it_keeps_the_contract() -> None:
    check_encoder("simgcl")


def test_noise_moves_every_node_by_its_length_and_changes_no_sign(encoder: SimGCL) -> None:
    for clean, noisy in zip(encoder(), encoder.view(noise=0.1), strict=True):
        linked = clean.norm(dim=1) > 0
        distance = (noisy - clean).norm(dim=1)[linked]
        torch.testing.assert_close(distance, torch.full_like(distance, 0.1))
        assert torch.equal(noisy.sign(), clean.sign())


def test_the_contrast_is_the_papers_formula(encoder: SimGCL) -> None:
    first, second = torch.randn(2, 9, 8)
    nodes = [1, 4, 5]

    def similarity(n: int, m: int) -> float:
        return math.exp(torch.cosine_similarity(first[n], second[m], dim=0).item() / encoder.settings.temperature)

    terms = [-math.log(similarity(n, n) / sum(similarity(n, m) for m in nodes)) for n in nodes]
    assert encoder.contrast(first, second, torch.tensor(nodes)).item() == pytest.approx(sum(terms) / 3, rel=1e-5)


@pytest.mark.parametrize("kind", ["users", "items"])
def test_how_often_a_node_stands_in_a_batch_changes_nothing(encoder: SimGCL, kind: str) -> None:
    encoder.settings = SimGCLSettings(dimension=8, layers=1, noise=0, regularization=0)
    once = {"users": torch.tensor([0, 3, 7]), "items": torch.tensor([1, 2, 6])}
    twice = once | {kind: once[kind].repeat(2)}
    torch.testing.assert_close(encoder.extra_loss(**once), encoder.extra_loss(**twice))
