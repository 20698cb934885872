"""The wording reaches the model whatever its chat template does with it."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest
from glta_backbones.byte_tokenizer import byte_tokenizer

from glta_cli.core.errors import InputError
from glta_cli.language import chat
from glta_cli.language.chat import chat_text
from glta_cli.language.prompts import PromptTemplate

TURNS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | trim }}\n{% endfor %}<model>"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + TURNS
SILENT_SYSTEM = TURNS.replace("%}<{{", "%}{% if m['role'] == 'user' %}<{{").replace(
    "\n{% endfor", "\n{% endif %}{% endfor"
)
SYSTEM, USER = "You recommend items.", "Choose [x].\nUser: {user}\n"


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_said", set())


def tokenizer(template: str | None) -> Any:
    own = byte_tokenizer()
    own.chat_template = template
    return own


def test_a_template_that_takes_both_messages_is_used_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    expected = f"<system>{SYSTEM}\n<user>{USER.strip()}\n<model>"
    assert chat_text(tokenizer(TURNS), SYSTEM, USER) == expected
    assert chat_text(tokenizer(TURNS), "", USER) == f"<user>{USER.strip()}\n<model>"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (NO_SYSTEM, "takes no system message (TemplateError: no system turn)"),
        (SILENT_SYSTEM, "leaves the system message out"),
    ],
)
def test_without_a_system_turn_its_words_stand_before_the_users(
    capsys: pytest.CaptureFixture[str], template: str, said: str
) -> None:
    for _ in range(3):
        assert chat_text(tokenizer(template), SYSTEM, USER) == f"<user>{SYSTEM}\n\n{USER.strip()}\n<model>"
    assert chat_text(tokenizer(template), "", USER) == f"<user>{USER.strip()}\n<model>"
    err = " ".join(capsys.readouterr().err.split())
    assert said in err
    assert err.count("warning") == 1


@pytest.mark.parametrize("template", ["Hello.", "{{ messages[0]['content'][:3] }}", "{{ messages[0]['text'] }}"])
def test_a_template_that_drops_the_users_words_is_not_used(capsys: pytest.CaptureFixture[str], template: str) -> None:
    assert chat_text(tokenizer(template), SYSTEM, USER) == f"{SYSTEM}\n{USER}\n"
    assert "leaves out what the user says" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('never') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% for m in messages %}",
        "{{ nothing.there }}",
        "{% for a in range(10 ** 9) %}{% endfor %}",
        "{{ 1 // 0 }}",
    ],
)
def test_a_template_that_fails_is_the_checkpoints_fault_and_named(template: str) -> None:
    with pytest.raises(InputError, match="its chat template cannot be used") as caught:
        chat_text(tokenizer(template), SYSTEM, USER)
    assert "chat_template.jinja" in str(caught.value.hint)


def test_every_slot_of_a_prompt_survives_a_template_without_a_system_turn() -> None:
    wording = "User: {user}\nLiked: {items}"
    own = tokenizer(NO_SYSTEM)
    template = PromptTemplate(wording, SYSTEM, own, required=("user", "items"), location="prompts.recommendation")
    assert template.slots == ["user", "items"]
    assert SYSTEM in own.decode(template.literals[0])


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("{{ strftime_now('%Y-%m-%d %H:%M:%S') }}", "writes the date: every prompt says it is 26 Jul 2024"),
        ("{{ range(100000) | random }}", "draws at random"),
    ],
)
def test_a_template_says_the_same_on_every_day(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, start: str, said: str
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2031, 2, 3)

    first = chat_text(tokenizer(start + TURNS), SYSTEM, USER)
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Later)
    random.seed(5)
    state = random.getstate()
    assert chat_text(tokenizer(start + TURNS), SYSTEM, USER) == first
    assert random.getstate() == state
    err = " ".join(capsys.readouterr().err.split())
    assert said in err
    assert err.count("warning") == 1
