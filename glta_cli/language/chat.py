"""Wraps a system and a user message in the chat template of a backbone's tokenizer."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from typing import Any, Self

from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say

LONGEST_REASON = 200
# What a template that asks for the date is told, on whatever day: the one Llama's own falls back on.
TODAY = datetime(2024, 7, 26)
_said: set[str] = set()
_turn = threading.Lock()


def chat_text(tokenizer: Any, system: str, user: str) -> str:
    """The final text of a conversation that waits for the model's answer.

    Holds every special token the template writes, the beginning-of-sequence token among them: encode it
    with `add_special_tokens=False`. A tokenizer without a chat template gets the messages as plain lines.

    A template that refuses or drops a system message gets its words before the user's; one that drops the user's
    words is not used. One that writes the date writes always the same, and one that draws draws always the same. All
    of it is told on stderr.

    Args:
        tokenizer: a `transformers` tokenizer.
        system: the system message; empty leaves it out.
        user: the user's message.

    Raises:
        InputError: the template fails with a user's message alone.
    """
    if not tokenizer.chat_template:
        return _plain_lines(tokenizer, system, user)
    text = _with_system(tokenizer, system, user) if system else _written(tokenizer, user)
    if user.strip() in text:
        return text
    _say_once(tokenizer, "its chat template leaves out what the user says: prompts are plain lines, without it")
    return _plain_lines(tokenizer, system, user)


def _with_system(tokenizer: Any, system: str, user: str) -> str:
    try:
        text = _rendered(tokenizer, [{"role": "system", "content": system}, {"role": "user", "content": user}])
    except Exception as error:
        problem = f"takes no system message ({_reason(error)})"
    else:
        if system.strip() in text:
            return text
        problem = "leaves the system message out"
    # A template that fails whatever it is given says so here, before anything is told about system messages.
    text = _written(tokenizer, f"{system}\n\n{user}")
    _say_once(tokenizer, f"its chat template {problem}: prompts.system stands before the user's words")
    return text


def _written(tokenizer: Any, user: str) -> str:
    try:
        return _rendered(tokenizer, [{"role": "user", "content": user}])
    except Exception as error:
        raise InputError(
            f"its chat template cannot be used: {_reason(error)}",
            location=_name(tokenizer),
            hint="repair chat_template.jinja (or chat_template in tokenizer_config.json), or remove it: prompts are "
            "then plain lines",
        ) from error


def _rendered(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    with _same_every_time(tokenizer):
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    if not isinstance(text, str):
        raise TypeError(f"it writes {type(text).__name__}, no text")
    return text


@contextmanager
def _same_every_time(tokenizer: Any) -> Iterator[None]:
    """A date and draws that are the same in every run: one that is repeated reads the prompts it was trained on."""
    from transformers.utils import chat_template_utils

    asked: list[bool] = []

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            asked.append(True)
            return cls(TODAY.year, TODAY.month, TODAY.day, tzinfo=tz)

    with _turn:
        state, clock = random.getstate(), chat_template_utils.datetime
        random.seed(0)
        seeded = random.getstate()
        chat_template_utils.datetime = Clock
        try:
            yield
            drawn = random.getstate() != seeded
        finally:
            random.setstate(state)
            chat_template_utils.datetime = clock
    if asked:
        told = f"{TODAY:%d %b %Y}, so that a run can be repeated"
        _say_once(tokenizer, f"its chat template writes the date: every prompt says it is {told}")
    if drawn:
        _say_once(tokenizer, "its chat template draws at random: every prompt has the same draw")


def _plain_lines(tokenizer: Any, system: str, user: str) -> str:
    bos = tokenizer.bos_token or ""
    return bos + "".join(f"{part}\n" for part in (system, user) if part)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text[:LONGEST_REASON]


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or "backbone")


def _say_once(tokenizer: Any, what: str) -> None:
    """A line on stderr, the first time a process has it to say: every prompt is written this way."""
    message = f"{_name(tokenizer)}: {what}"
    if message not in _said:
        from rich.markup import escape

        _said.add(message)
        say(f"[yellow]warning[/]: {escape(message)}")
