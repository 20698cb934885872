"""The aligned model: nodes become tokens, and the language model's states come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.gllm import LinearHead
from glta_cli.language.model import GraphLanguageModel
from glta_cli.language.prompts import node_token
from glta_cli.plugin.registry import installed
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options

USERS, ITEMS, DIMENSION = 6, 9, 5


def language_model(**settings: Any) -> Any:
    recipe = Recipe(backbone=BackboneSettings.model_validate({"name": "tiny", **settings}))
    tiny = installed().find("backbone", "tiny").target()
    return tiny("tiny", recipe.backbone, component_options(recipe, "backbone")).load(torch.device("cpu"))


@pytest.fixture
def model() -> GraphLanguageModel:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    users, items = (generator.normal(2, 3, (count, DIMENSION)).astype(np.float32) for count in (USERS, ITEMS))
    inner = language_model()
    return GraphLanguageModel(inner, Embeddings(users, items), LinearHead(inner.hidden_size, ITEMS))


def rms(tensor: Tensor) -> float:
    return float(tensor.detach().square().mean().sqrt())


def test_projected_tokens_start_at_the_scale_of_the_words(model: GraphLanguageModel) -> None:
    words = rms(model.language_model.embed(torch.arange(len(model.language_model.tokenizer))))
    assert rms(model.user_projector(model.users)) == pytest.approx(words, rel=1e-4)
    assert rms(model.item_projector(model.items)) == pytest.approx(words, rel=1e-4)


def test_special_tokens_without_an_embedding_have_no_part_in_the_scale(model: GraphLanguageModel) -> None:
    inner = language_model()
    inner.tokenizer.add_special_tokens({"additional_special_tokens": ["<one>", "<two>"]})
    # What the backbone makes of such a tokenizer.
    inner = type(inner)(inner.module, inner.tokenizer, BackboneSettings())
    tokens = Embeddings(model.users.numpy(), model.items.numpy())
    found = GraphLanguageModel(inner, tokens, LinearHead(inner.hidden_size, ITEMS))
    assert rms(found.user_projector(found.users)) == pytest.approx(rms(model.user_projector(model.users)), rel=1e-4)


def test_users_and_items_are_projected_each_by_their_own_layer(model: GraphLanguageModel) -> None:
    nodes = torch.tensor([USERS + 3, 0, USERS, 5, USERS + 8])
    vectors = model.node_vectors(nodes)
    torch.testing.assert_close(vectors[[1, 3]], model.user_projector(model.users[[0, 5]]))
    torch.testing.assert_close(vectors[[0, 2, 4]], model.item_projector(model.items[[3, 0, 8]]))


PROMPTS = [
    np.array([40, 41, node_token(2), 50, node_token(USERS + 4), 60]),
    np.array([40, 41, 70]),
    np.array([40, 41, node_token(2), node_token(USERS + 4), node_token(USERS), 9, 8, 7, 6]),
]


def ends(prompts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(prompts)), np.array([len(prompt) - 1 for prompt in prompts])


def by_hand(model: GraphLanguageModel, prompt: np.ndarray) -> Tensor:
    """All states of one prompt, its embeddings put together one by one."""
    tokens = [
        model.node_vectors(torch.tensor([-1 - token]))[0]
        if token < 0
        else model.language_model.embed(torch.tensor(token))
        for token in prompt.tolist()
    ]
    embedded = torch.stack(tokens)[None]
    return model.language_model.hidden(embedded, torch.ones(1, len(prompt), dtype=torch.int64))[0]


def test_each_state_is_that_of_its_prompt_alone(model: GraphLanguageModel) -> None:
    states = model.states_at(PROMPTS, *ends(PROMPTS))
    expected = torch.stack([by_hand(model, prompt)[-1] for prompt in PROMPTS])
    torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)


def test_several_states_of_a_prompt_come_in_the_order_asked_for(model: GraphLanguageModel) -> None:
    rows, columns = np.array([2, 0, 2]), np.array([8, 1, 3])
    states = model.states_at(PROMPTS, rows, columns)
    expected = torch.stack([by_hand(model, PROMPTS[row])[column] for row, column in zip(rows, columns, strict=True)])
    torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)


def test_a_shared_prefix_changes_no_state_and_no_gradient(model: GraphLanguageModel) -> None:
    found = []
    for prefix in ([], [40], [40, 41]):
        model.share_prefix(prefix)
        model.zero_grad()
        states = model.states_at(PROMPTS, *ends(PROMPTS))
        states.sin().sum().backward()
        found.append((states.detach(), model.item_projector.linear.weight.grad.clone()))
    for states, gradient in found[1:]:
        torch.testing.assert_close(states, found[0][0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-4, atol=1e-5)


ADAPTED = [{"lora": {"rank": 2}}, {"lora": {"rank": 2, "layers": 1}}]


@pytest.mark.parametrize("settings", [*ADAPTED, {"lora": {"rank": 2}, "gradient_checkpointing": True}])
@pytest.mark.parametrize("prefix", [[40], [40, 41]])
def test_with_adapters_states_and_gradients_are_those_of_whole_prompts(
    model: GraphLanguageModel, settings: dict[str, Any], prefix: list[int]
) -> None:
    adapted = GraphLanguageModel(
        language_model(**settings), Embeddings(model.users.numpy(), model.items.numpy()), model.head
    ).train()
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # zero at the start, which would hide the gradient of lora_A
            torch.nn.init.constant_(parameter, 0.05)

    def gradients(states: Tensor) -> dict[str, Tensor]:
        adapted.zero_grad()
        states.sin().sum().backward()
        return {name: p.grad.clone() for name, p in adapted.named_parameters() if p.grad is not None}

    adapted.share_prefix(prefix)
    # A second time, since a step changes the adapters and with them the prefix.
    for scale in (1.0, 1.5):
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_" in name:
                    parameter.mul_(scale)
        whole = torch.stack([by_hand(adapted, prompt)[-1] for prompt in PROMPTS])
        states = adapted.states_at(PROMPTS, *ends(PROMPTS))
        torch.testing.assert_close(states, whole, rtol=1e-5, atol=1e-5)
        expected, found = gradients(whole), gradients(states)
        assert any("lora_A" in name for name in expected)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            largest = float(expected[name].abs().max())
            torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-4 * largest)


def test_of_a_prompt_the_last_layer_answers_at_the_places_asked_for_alone(model: GraphLanguageModel) -> None:
    layers = model.language_module.model.layers
    seen: list[list[int]] = [[] for _ in layers]
    for layer, counts in zip(layers, seen, strict=True):
        layer.mlp.register_forward_hook(lambda _, inputs, output, counts=counts: counts.append(output[..., 0].numel()))
    model.share_prefix([40, 41])
    rows, columns = np.array([0, 1, 1]), np.array([5, 3, 4])
    model.states_at([PROMPTS[0], PROMPTS[2]], rows, columns)
    shared, context, asked = 2, 2 * 3, 2 * 2
    assert seen[0] == [shared, context, asked]
    assert seen[-1] == [shared, asked]


def test_gradients_flow_through_no_token_before_the_first_that_is_trained(model: GraphLanguageModel) -> None:
    """As in stage 2, where descriptions stand before the items: their keys and values carry no graph."""
    model.share_prefix([40, 41])
    prompts = [np.array([40, 41, 70, 71, node_token(USERS + 4), node_token(USERS)]), np.array([40, 41, node_token(6)])]
    rows, columns = np.array([0, 0, 1]), np.array([4, 5, 2])
    contexts: list[Any] = []
    extend = model.language_model.extend
    model.language_model.extend = lambda *given: contexts.append(extend(*given)) or contexts[-1]  # type: ignore[method-assign]
    states = model.states_at(prompts, rows, columns)
    assert states.requires_grad
    assert not any(keys.requires_grad or values.requires_grad for keys, values in contexts[0].layers)
    expected = [by_hand(model, prompts[row])[column] for row, column in zip(rows, columns, strict=True)]
    torch.testing.assert_close(states, torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_a_shared_prefix_can_be_used_again_and_again(model: GraphLanguageModel) -> None:
    model.share_prefix([40, 41])
    first = model.states_at(PROMPTS, *ends(PROMPTS))
    model.states_at(PROMPTS[:1], *ends(PROMPTS[:1]))
    torch.testing.assert_close(model.states_at(PROMPTS, *ends(PROMPTS)), first, rtol=0, atol=0)


def test_a_model_that_gives_no_prefix_is_asked_once(model: GraphLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = model.states_at(PROMPTS, *ends(PROMPTS))
    asked: list[Tensor] = []
    monkeypatch.setattr(model.language_model, "prefix", asked.append)
    model.share_prefix([40, 41])
    for _ in range(2):
        torch.testing.assert_close(model.states_at(PROMPTS, *ends(PROMPTS)), expected, rtol=0, atol=0)
    assert len(asked) == 1


def test_gradients_reach_both_projectors_and_no_weight_of_the_language_model(model: GraphLanguageModel) -> None:
    model.states_at(PROMPTS, *ends(PROMPTS)).sin().sum().backward()
    for projector in (model.user_projector, model.item_projector):
        assert projector.linear.weight.grad is not None
        assert (projector.linear.weight.grad != 0).any()
    for name, parameter in model.language_module.named_parameters():
        assert not parameter.requires_grad, name
        assert parameter.grad is None, name


def test_the_graph_embeddings_are_no_parameters(model: GraphLanguageModel) -> None:
    names = {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert names == {"language_module", "user_projector", "item_projector", "head"}
    assert not model.users.requires_grad
    assert not model.items.requires_grad


def test_a_model_in_half_precision_takes_the_nodes_in_its_own(model: GraphLanguageModel) -> None:
    half = language_model(dtype="bfloat16")
    embeddings = Embeddings(model.users.numpy(), model.items.numpy())
    coarse = GraphLanguageModel(half, embeddings, model.head)
    coarse.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith("language_module")}, strict=False
    )
    states = coarse.states_at(PROMPTS, *ends(PROMPTS))
    assert_allclose(states.float().detach(), model.states_at(PROMPTS, *ends(PROMPTS)).detach(), atol=0.15)
