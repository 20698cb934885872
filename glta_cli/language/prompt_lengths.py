"""How long the prompts of a run get, in tokens of its model: known before any stage runs.

What settings allow is counted first; the data is looked at only where that is more than a model takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.language.chat import chat_text
from glta_cli.language.prompts import PromptTemplate, encode, encode_cut
from glta_cli.language.readout import recommendation_template
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import AlignSettings, InterestSettings, PromptSettings, Recipe

# The longest of many short texts are looked for among those with most characters.
LONGEST_IDS = 100
Texts = Callable[[], Sequence[str]]


def longest_text(tokenizer: Any, texts: Texts, tokens: int, most: int | None) -> int:
    """Tokens of the longest item text, cut to `tokens`."""
    if most is None or tokens <= most:
        return tokens
    return int(_lengths(tokenizer, texts(), tokens).max(initial=0))


def longest_alignment(
    tokenizer: Any, texts: Texts, settings: AlignSettings, prompts: PromptSettings, most: int | None
) -> int:
    """Tokens of stage 2's longest prompt: of so many items, those with the longest descriptions."""
    template = PromptTemplate(
        prompts.alignment,
        prompts.system,
        tokenizer,
        required=("descriptions", "items"),
        location="prompts.alignment",
    )
    fixed = _literal_tokens(template) + settings.most_items * (1 + len(encode(tokenizer, "\n")))
    allowed = fixed + settings.most_items * settings.description_tokens
    if most is None or allowed <= most:
        return allowed
    lengths = np.sort(_lengths(tokenizer, texts(), settings.description_tokens))
    return fixed + int(lengths[-settings.most_items :].sum())


def longest_question(
    tokenizer: Any,
    texts: Texts,
    histories: Callable[[], Interactions],
    settings: InterestSettings,
    prompts: PromptSettings,
    most: int | None,
) -> int:
    """Tokens of the longest question about a user, and of its answer."""
    asked = [
        template.replace("{k}", str(settings.words)).replace("{descriptions}", "")
        for template, on in ((prompts.profile, settings.profile), (prompts.prediction, settings.prediction))
        if on
    ]
    fixed = max(len(encode(tokenizer, chat_text(tokenizer, prompts.system, text))) for text in asked)
    fixed += settings.new_tokens
    line = len(encode(tokenizer, "- ")) + len(encode(tokenizer, "\n"))
    allowed = fixed + settings.items * (line + settings.description_tokens)
    if most is None or allowed <= most:
        return allowed
    lengths = line + _lengths(tokenizer, texts(), settings.description_tokens)
    history = histories()
    per_user = (np.sort(lengths[history.of(user)])[-settings.items :].sum() for user in range(history.user_count))
    return fixed + int(max(per_user, default=0))


def longest_user_prompt(
    tokenizer: Any,
    recipe: Recipe,
    user_ids: Texts,
    histories: Callable[[], Interactions],
    rows: int,
    most: int | None,
) -> int:
    """Tokens of stage 3's longest prompt, of its generated words at their longest, and of `rows` - 1 more items."""
    prompts, settings = recipe.prompts, recipe.finetune
    fixed = _literal_tokens(recommendation_template(tokenizer, prompts)) + rows - 1
    for line, on in (
        (prompts.profile_line, recipe.interests.profile),
        (prompts.prediction_line, recipe.interests.prediction),
    ):
        if on:
            fixed += len(encode(tokenizer, line.replace("{words}", ""))) + recipe.interests.new_tokens
    user = 1
    if not settings.user_token:
        longest = sorted(user_ids(), key=len)[-LONGEST_IDS:]
        user = max((len(encode(tokenizer, each)) for each in longest), default=0)
    if most is None or fixed + user + settings.context_items <= most:
        return fixed + user + settings.context_items
    return fixed + user + min(settings.context_items, int(histories().counts.max(initial=0)))


def _literal_tokens(template: PromptTemplate) -> int:
    return sum(map(len, template.literals))


def _lengths(tokenizer: Any, texts: Sequence[str], tokens: int) -> NDArray[np.int64]:
    """Tokens of each text, cut to `tokens`, [n]."""
    return np.array([len(ids) for ids in encode_cut(tokenizer, texts, tokens)], dtype=np.int64)
