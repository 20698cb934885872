"""Prompts: slots, their order, and graph nodes as tokens of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from glta_backbones.byte_tokenizer import byte_tokenizer
from numpy.testing import assert_array_equal

from glta_cli.core.errors import InputError
from glta_cli.language.prompts import PromptTemplate, encode, encode_cut, node_of, node_token, pad_right
from glta_cli.language.readout import UserPrompts
from glta_cli.recipe.schema import FinetuneSettings, PromptSettings

USERS = ["anna", "bob {items}"]
PROFILES = ["drama, war", ""]
PREDICTIONS = ["Paris {user}", ""]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer()


def user_prompts(tokenizer: Any, prompts: PromptSettings | None = None, **settings: Any) -> UserPrompts:
    return UserPrompts(
        tokenizer, USERS, PROFILES, PREDICTIONS, FinetuneSettings(**settings), prompts or PromptSettings()
    )


def shown(tokenizer: Any, ids: np.ndarray) -> str:
    """The prompt as text, with nodes as <node>."""
    pieces, text = [], []
    for token in [*ids.tolist(), None]:
        if token is None or token < 0:
            pieces.append(tokenizer.decode(text))
            text = []
            pieces.append("" if token is None else f"<{node_of(np.array([token]))[0]}>")
        else:
            text.append(token)
    return "".join(pieces)


def test_the_prompt_holds_task_user_items_profile_and_prediction_in_this_order(tokenizer: Any) -> None:
    ids = user_prompts(tokenizer).write(0, np.array([5, 0, 3]))
    assert shown(tokenizer, ids) == (
        "You recommend items.\nChoose the items this user will like.\nUser: <0>\nLiked: <7><2><5>\n"
        "Tags: drama, war\nNext interests: Paris {user}\n\n"
    )


def test_without_words_their_lines_are_left_out(tokenizer: Any) -> None:
    text = shown(tokenizer, user_prompts(tokenizer).write(1, np.array([1])))
    assert text.endswith("User: <1>\nLiked: <3>\n\n")


def test_without_a_user_token_the_id_stands_in_words(tokenizer: Any) -> None:
    ids = user_prompts(tokenizer, user_token=False).write(1, np.array([1]))
    # Its braces are the user's own, and no slot.
    assert "User: bob {items}\nLiked: <3>\n" in shown(tokenizer, ids)
    assert_array_equal(node_of(ids[ids < 0]), [3])


def test_of_a_long_history_the_latest_items_are_shown(tokenizer: Any) -> None:
    ids = user_prompts(tokenizer, context_items=2).write(0, np.arange(9))
    assert_array_equal(node_of(ids[ids < 0]), [0, 2 + 7, 2 + 8])
    none = user_prompts(tokenizer, context_items=0).write(0, np.arange(9))
    assert_array_equal(node_of(none[none < 0]), [0])


def test_placeholders_follow_the_prompt(tokenizer: Any) -> None:
    prompts = user_prompts(tokenizer)
    ids = prompts.write(0, np.array([1]))
    extended = prompts.extended(ids, rows=4)
    assert_array_equal(extended[: len(ids)], ids)
    assert_array_equal(extended[len(ids) :], encode(tokenizer, " ?")[:1] * 3)
    assert_array_equal(prompts.extended(ids, rows=1), ids)


@pytest.mark.parametrize("slot", ["user", "items"])
def test_a_missing_slot_is_named_with_its_place(tokenizer: Any, slot: str) -> None:
    text = PromptSettings().recommendation.replace(f"{{{slot}}}", "")
    with pytest.raises(InputError) as caught:
        user_prompts(tokenizer, PromptSettings(recommendation=text))
    assert str(caught.value).startswith(f"prompts.recommendation: the slot {{{slot}}} is missing")


def test_a_slot_of_another_prompt_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(InputError, match=r"prompts\.recommendation: the slot \{descriptions\} has no meaning here"):
        user_prompts(tokenizer, PromptSettings(recommendation="{user} {items} {descriptions}"))


def test_profile_and_prediction_may_be_left_out_of_the_wording(tokenizer: Any) -> None:
    ids = user_prompts(tokenizer, PromptSettings(recommendation="{items}{user}", system="")).write(0, np.array([0]))
    assert shown(tokenizer, ids) == "<2><0>\n"


def test_nodes_and_their_tokens_are_one_to_one() -> None:
    nodes = np.arange(1000)
    tokens = np.array([node_token(int(node)) for node in nodes])
    assert (tokens < 0).all()
    assert_array_equal(node_of(tokens), nodes)


def test_values_are_filled_in_where_the_slots_stand(tokenizer: Any) -> None:
    template = PromptTemplate(
        "a{items}b{descriptions}c{items}", "", tokenizer, required=("items", "descriptions"), location="here"
    )
    filled = template.fill({"items": [-1, -2], "descriptions": [7]})
    assert_array_equal(
        filled, [ord("a") - 33, -1, -2, ord("b") - 33, 7, ord("c") - 33, -1, -2, *encode(tokenizer, "\n")]
    )


def test_texts_are_cut_by_tokens_and_none_is_empty(tokenizer: Any) -> None:
    cut = encode_cut(tokenizer, ["abcdef", "", "xy"], 3)
    assert [tokenizer.decode(ids) for ids in cut] == ["abc", " ", "xy"]


def test_padding_stands_on_the_right_under_a_mask_of_zero() -> None:
    ids, mask = pad_right([np.array([4, -2]), np.array([7, 8, 9, 1])])
    assert_array_equal(ids, [[4, -2, 0, 0], [7, 8, 9, 1]])
    assert_array_equal(mask, [[1, 1, 0, 0], [1, 1, 1, 1]])
