"""Wraps a system and a user message in the chat template of a backbone's tokenizer."""

from __future__ import annotations

from typing import Any

from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say

LONGEST_REASON = 200
_said: set[str] = set()


def chat_text(tokenizer: Any, system: str, user: str) -> str:
    """The final text of a conversation that waits for the model's answer.

    Holds every special token the template writes, the beginning-of-sequence token among them: encode it
    with `add_special_tokens=False`. A tokenizer without a chat template gets the messages as plain lines.

    A template that refuses or drops a system message gets its words before the user's; one that drops the user's
    words is not used. Both are told on stderr.

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
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    if not isinstance(text, str):
        raise TypeError(f"it writes {type(text).__name__}, no text")
    return text


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
