"""Wraps a system and a user message in the chat template of a backbone's tokenizer."""

from __future__ import annotations

from typing import Any


def chat_text(tokenizer: Any, system: str, user: str) -> str:
    """The final text of a conversation that waits for the model's answer.

    Holds every special token the template writes, the beginning-of-sequence token among them: encode it
    with `add_special_tokens=False`. A tokenizer without a chat template gets the messages as plain lines.

    Args:
        tokenizer: a `transformers` tokenizer.
        system: the system message; empty leaves it out.
        user: the user's message.
    """
    if not tokenizer.chat_template:
        bos = tokenizer.bos_token or ""
        return bos + "".join(f"{part}\n" for part in (system, user) if part)
    messages = [{"role": "user", "content": user}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text
