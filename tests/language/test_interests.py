"""Profile and prediction words: asked once, kept, resumed; and their cleaning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from glta_cli.core.errors import BusyError
from glta_cli.language.interests import (
    LONGEST_WORD,
    WORDS_PER_TAG,
    clean_words,
    cut_texts,
    generate_interests,
)
from glta_cli.plugin import LanguageModel
from glta_cli.plugin.registry import installed
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.schema import InterestSettings, PromptSettings, Recipe
from glta_cli.recipe.selection import component_options

PROMPTS = PromptSettings()
USERS = [["Heat, a crime film", "Fargo"], ["Toy Story"], [], ["Alien", "Aliens", "Alien 3"], ["Big"]]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    recipe = Recipe(backbone=BackboneSettings(name="tiny"))
    tiny = installed().find("backbone", "tiny").target()
    return tiny("tiny", recipe.backbone, component_options(recipe, "backbone")).load(torch.device("cpu")).tokenizer


class Killed(BaseException):
    """Stands for the signal that ends a process between two batches."""


class Recorder:
    """A language model that answers with the words of its prompt's length and remembers every prompt."""

    hidden_size = 1
    module = torch.nn.Identity()

    def __init__(self, tokenizer: Any, batches: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.prompts: list[str] = []
        self.loads = 0
        self.batches = batches

    def load(self) -> LanguageModel:
        self.loads += 1
        return self

    def embed(self, token_ids: torch.Tensor) -> torch.Tensor:
        raise AssertionError("generation needs no embeddings")

    def hidden(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        raise AssertionError("generation needs no states")

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        if self.batches == 0:
            raise Killed
        if self.batches is not None:
            self.batches -= 1
        self.prompts += prompts
        return [f"word{sum(prompt.encode()) % 997}, same" for prompt in prompts]


def generate(
    model: Recorder, cache: Path, users: Sequence[Sequence[str]] = USERS, identity: str = "m", **settings: Any
) -> tuple[list[str], list[str]]:
    chosen = InterestSettings.model_validate({"batch_size": 2, **settings})
    return generate_interests(model.load, identity, users, PROMPTS, chosen, cache)


def test_every_user_gets_a_profile_and_a_prediction_from_prompts_of_their_own(tokenizer: Any, tmp_path: Path) -> None:
    model = Recorder(tokenizer)
    profiles, predictions = generate(model, tmp_path)
    assert len(profiles) == len(predictions) == len(USERS)
    assert (profiles[2], predictions[2]) == ("", "")
    assert len(set(profiles) | set(predictions)) == 9  # eight answers, and the empty one
    assert len(model.prompts) == 8
    assert sum("Sum up" in prompt for prompt in model.prompts) == 4
    assert all(("Alien 3" in prompt) == ("Aliens" in prompt) for prompt in model.prompts)


def test_both_questions_about_a_user_are_asked_together(tokenizer: Any, tmp_path: Path) -> None:
    """So that their common start, all but the question, can be run once."""
    users = [
        [f"film {number} {'of many words ' * (number % 3)}" for number in range(user, user + 4)] for user in range(9)
    ]
    model = Recorder(tokenizer)
    generate(model, tmp_path, users)
    for first, second in zip(model.prompts[0::2], model.prompts[1::2], strict=True):
        assert first != second
        assert first.rpartition("- film")[0] == second.rpartition("- film")[0]
    lengths = [max(map(len, model.prompts[row : row + 2])) for row in range(0, len(model.prompts), 2)]
    assert lengths == sorted(lengths, reverse=True)


def test_a_second_run_and_another_order_of_users_load_no_model(tokenizer: Any, tmp_path: Path) -> None:
    first = generate(Recorder(tokenizer), tmp_path)
    model = Recorder(tokenizer)
    assert generate(model, tmp_path) == first
    reverse = generate(model, tmp_path, USERS[::-1])
    assert reverse == (first[0][::-1], first[1][::-1])
    assert model.loads == 0


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_killed_run_goes_on_where_it_stopped(tokenizer: Any, tmp_path: Path, batches: int) -> None:
    uninterrupted = generate(Recorder(tokenizer), tmp_path / "whole")
    killed = Recorder(tokenizer, batches)
    with pytest.raises(Killed):
        generate(killed, tmp_path)
    assert len(killed.prompts) == 2 * batches
    resumed = Recorder(tokenizer)
    assert generate(resumed, tmp_path) == uninterrupted
    assert len(resumed.prompts) == 8 - 2 * batches
    assert not set(resumed.prompts) & set(killed.prompts)


def test_a_torn_last_line_is_generated_again_and_repaired(tokenizer: Any, tmp_path: Path) -> None:
    whole = generate(Recorder(tokenizer), tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    content = file.read_bytes()
    for lost in (1, 2, 30):
        file.write_bytes(content[:-lost])
        model = Recorder(tokenizer)
        assert generate(model, tmp_path) == whole
        assert len(model.prompts) == 1
        assert file.read_bytes() == content


@pytest.mark.parametrize("line", [b'{"key": 5', b"", b"null", b"[]", b"5", b'{"key": "a", "text": "b", "more": 1}'])
def test_a_damaged_line_elsewhere_is_said_and_generated_again(
    tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture, line: bytes
) -> None:
    whole = generate(Recorder(tokenizer), tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[3:]]))
    capsys.readouterr()
    model = Recorder(tokenizer)
    assert generate(model, tmp_path) == whole
    assert len(model.prompts) == 1
    assert sorted(file.read_bytes().splitlines(keepends=True)) == sorted(lines)
    assert f"{file}: damaged in line 3, set aside as {file.name}.damaged" in capsys.readouterr().err


def test_no_edited_answer_is_taken_for_one_that_was_generated(tokenizer: Any, tmp_path: Path) -> None:
    whole = generate(Recorder(tokenizer), tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    content = file.read_bytes()
    for bit in range(0, 8 * len(content), 11):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        assert generate(Recorder(tokenizer), tmp_path) == whole


def test_answers_without_a_checksum_are_used_as_they_are(tokenizer: Any, tmp_path: Path) -> None:
    whole = generate(Recorder(tokenizer), tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({"key": row["key"], "text": row["text"]}) + "\n" for row in rows))
    model = Recorder(tokenizer)
    assert generate(model, tmp_path) == whole
    assert model.loads == 0


@pytest.mark.parametrize("off", ["profile", "prediction"])
def test_each_can_be_switched_off_alone(tokenizer: Any, tmp_path: Path, off: str) -> None:
    whole = dict(zip(("profile", "prediction"), generate(Recorder(tokenizer), tmp_path / "whole"), strict=True))
    model = Recorder(tokenizer)
    part = dict(zip(("profile", "prediction"), generate(model, tmp_path, **{off: False}), strict=True))
    assert len(model.prompts) == 4
    assert part == {**whole, off: [""] * len(USERS)}


@pytest.mark.parametrize("changed", [{"new_tokens": 7}, {"description_tokens": 5}, {"words": 2}, {"items": 1}])
def test_what_changes_the_prompt_or_the_answer_asks_again(
    tokenizer: Any, tmp_path: Path, changed: dict[str, int]
) -> None:
    generate(Recorder(tokenizer), tmp_path)
    model = Recorder(tokenizer)
    generate(model, tmp_path, **changed)
    assert model.prompts
    other = Recorder(tokenizer)
    generate(other, tmp_path, identity="another model")
    assert len(other.prompts) == 8


def test_another_process_that_generates_is_not_disturbed(tokenizer: Any, tmp_path: Path) -> None:
    generate(Recorder(tokenizer), tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    with FileLock(file.with_suffix(".lock")):
        with pytest.raises(BusyError):
            generate(Recorder(tokenizer), tmp_path, [["a film nobody was asked about"]])
        generate(Recorder(tokenizer), tmp_path)  # all stored: nothing to wait for


def test_descriptions_are_cut_by_tokens_and_cannot_end_the_message(tokenizer: Any, tmp_path: Path) -> None:
    assert cut_texts(tokenizer, ["abcdefgh", "one\ntwo", "<eos>xy", "ééé"], 5) == [
        "abcde",
        "one t",
        "xy",
        "éé",
    ]
    model = Recorder(tokenizer)
    generate(model, tmp_path, [["abcdefgh {k} <eos>{descriptions}"]], description_tokens=8)
    assert all("- abcdefgh\n" in prompt for prompt in model.prompts)


def test_the_answers_are_kept_as_they_came(tokenizer: Any, tmp_path: Path) -> None:
    generate(Recorder(tokenizer), tmp_path)
    (file,) = tmp_path.glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({row["key"] for row in rows}) == 8
    assert all(row["text"].endswith(", same") for row in rows)


# ------------------------------------------------------------------------------------------------- cleaning


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("drama, war, Paris", ["drama", "war", "Paris"]),
        ("Tags: drama, war", ["drama", "war"]),
        ("1. Drama: films that move\n2. War\n3) 'Paris'", ["Drama", "War", "Paris"]),
        ("Here are five tags:\n- drama\n- war", ["drama", "war"]),
        ("Drama, drama; DRAMA\nwar.", ["Drama", "war"]),
        ("a user who likes long sentences about films", ["a user who likes"]),
        ("1984, 12 Angry Men", ["1984", "12 Angry Men"]),
        ("\n\n--- \n", []),
    ],
)
def test_lists_of_all_kinds_become_words(answer: str, words: list[str]) -> None:
    assert clean_words(answer, 5) == words


@given(st.text(), st.integers(1, 8))
def test_cleaned_words_are_few_short_distinct_and_on_one_line(answer: str, k: int) -> None:
    words = clean_words(answer, k)
    assert len(words) <= k
    assert len({word.casefold() for word in words}) == len(words)
    for word in words:
        assert 0 < len(word) <= LONGEST_WORD
        assert len(word.split()) <= WORDS_PER_TAG
        assert not set(word) & set(",;\n\r\t|")
        assert any(character.isalnum() for character in word)
    assert words == clean_words(answer, k + 1)[:k]


@given(st.lists(st.from_regex(r"[a-z]{1,12}( [a-z]{1,9})?", fullmatch=True), unique=True, max_size=6))
def test_a_clean_list_stays_as_it_is(words: list[str]) -> None:
    assert clean_words(", ".join(words), 6) == words
