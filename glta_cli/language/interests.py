"""Profile and prediction: words the language model generates about each user before stage 3.

Source: Yang et al., WWW 2025 Companion, section 3.2. The model is asked twice about the descriptions of a
user's training items: for tags that sum them up, and for words that foretell what the user would like next.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glta_cli.core.files import fingerprint
from glta_cli.core.progress import progress_bar
from glta_cli.core.world import team, working_alone
from glta_cli.language.answers import alone, append_answers, read_answers, repaired_answers
from glta_cli.language.chat import chat_text
from glta_cli.language.prompts import TEXTS_AT_ONCE
from glta_cli.language.shared_batches import answered
from glta_cli.recipe.schema import InterestSettings, PromptSettings

if TYPE_CHECKING:
    from glta_cli.plugin import LanguageModel

# To be raised when questions are put to the model in another form: older answers are then left alone.
QUESTION_FORM = 1
LONGEST_WORD = 40
WORDS_PER_TAG = 4


# ---------------------------------------------------------------------------------------------- generation


def generate_interests(
    load_model: Callable[[], LanguageModel],
    identity: str,
    descriptions: Sequence[Sequence[str]],
    prompts: PromptSettings,
    settings: InterestSettings,
    cache: Path,
    *,
    tell_found: Callable[[int], object] = lambda count: None,
) -> tuple[list[str], list[str]]:
    """Profile and prediction words of every user, generated where the cache does not hold them yet.

    Args:
        load_model: the whole model, without early exit; called only when an answer is missing.
        identity: of the model's weights, dtype and tokenizer; answers of another model are never used.
        descriptions: of each user's training items, whole texts; beyond the first `settings.items` ignored.
        cache: folder of the generated answers, shared by all runs of a workspace.
        tell_found: called with the number of answers the cache holds already.

    Returns:
        Profiles and predictions, one text per user: words joined by ", "; "" where the setting is off, the
        user has no described item, or the answer holds no word.

    Raises:
        BusyError: another process is generating with the same model.
        GltaError: the folder of answers is read-only, or its disk is full.
    """
    shown = [[text for text in texts[: settings.items] if text.strip()] for texts in descriptions]
    asked = {"profile": prompts.profile, "prediction": prompts.prediction}
    switched_on = {"profile": settings.profile, "prediction": settings.prediction}

    questions: dict[str, tuple[str, Sequence[str]]] = {}
    keys: dict[str, list[str | None]] = {}
    for name, template in asked.items():
        keys[name] = []
        for texts in shown:
            key = _key(identity, prompts.system, template, texts, settings) if switched_on[name] and texts else None
            keys[name].append(key)
            if key is not None:
                questions[key] = (template, texts)

    answers = _answers(load_model, identity, questions, prompts.system, settings, cache, tell_found)
    profiles, predictions = (
        [", ".join(clean_words(answers[key], settings.words)) if key else "" for key in keys[name]] for name in asked
    )
    return profiles, predictions


def _key(identity: str, system: str, template: str, texts: Sequence[str], settings: InterestSettings) -> str:
    """SHA-256 of everything the prompt text and its greedy answer follow from.

    The prompt itself would take the tokenizer, so the model's files, even when every answer is there already.
    """
    decisive = [
        QUESTION_FORM,
        identity,
        system,
        template,
        settings.words,
        settings.description_tokens,
        settings.new_tokens,
        *texts,
    ]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _answers(
    load_model: Callable[[], LanguageModel],
    identity: str,
    questions: Mapping[str, tuple[str, Sequence[str]]],
    system: str,
    settings: InterestSettings,
    cache: Path,
    tell_found: Callable[[int], object],
) -> Mapping[str, str]:
    """The raw answer to each question, by key; what is missing is generated and stored batch by batch."""
    path = cache / f"{fingerprint(identity)}.jsonl"
    with ExitStack() as held:
        stored, missing = _looked_up(path, questions, tell_found, held)
        if not missing:
            return stored
        model = load_model()
        texts = _prompt_texts(model.tokenizer, [questions[key] for key in missing], system, settings)
        order = _by_descriptions(texts, [questions[key][1] for key in missing])
        with progress_bar(
            len(missing),
            "profile and prediction words",
            "prompts",
            step="this batch of prompts",
            kept="the words so far are kept",
        ) as bar:
            us = team()
            if getattr(model, "sharded", False):
                # Answers end after as many words as they like: who shares the weights of each pass answers all.
                held.enter_context(working_alone())
            starts = range(0, len(order), settings.batch_size)
            batches = [np.array(order[start : start + settings.batch_size]) for start in starts]
            for rows, generated in answered(
                batches, lambda rows: model.generate([texts[row] for row in rows], settings.new_tokens)
            ):
                new = {missing[row]: text for row, text in zip(rows, generated, strict=True)}
                if us.first:
                    append_answers(path, new)
                stored |= new
                bar.update(len(rows))
    return stored


def _looked_up(
    path: Path, questions: Mapping[str, Any], tell_found: Callable[[int], object], held: ExitStack
) -> tuple[dict[str, str], list[str]]:
    """The answers there are, and the questions that have none; where there are such, nobody else adds to the file now.

    Of processes that work together the first one looks, and adds; the others read what it found.
    """
    us = team()
    missing: list[str] = []
    stored: dict[str, str] = {}
    if us.first:
        stored = read_answers(path).answers
        tell_found(len(questions.keys() & stored.keys()))
        if not questions.keys() <= stored.keys():
            held.enter_context(alone(path))
            stored = repaired_answers(path)
            missing = [key for key in questions if key not in stored]
    missing = us.broadcast(missing)
    if not us.first:
        stored = read_answers(path).answers
    us.wait_for_all()
    return stored, missing


def _by_descriptions(prompts: Sequence[str], descriptions: Sequence[Sequence[str]]) -> list[int]:
    """Rows of prompts, longest first, with the questions about one user's descriptions side by side.

    So rows of a batch are alike in length, what they share is run once, and what does not fit into memory fails
    at once.
    """
    longest: dict[Sequence[str], int] = {}
    for text, own in zip(prompts, map(tuple, descriptions), strict=True):
        longest[own] = max(longest.get(own, 0), len(text))
    keys = [(-longest[own], own) for own in map(tuple, descriptions)]
    return sorted(range(len(prompts)), key=keys.__getitem__)


def _prompt_texts(
    tokenizer: Any, questions: Sequence[tuple[str, Sequence[str]]], system: str, settings: InterestSettings
) -> list[str]:
    """The chat text of each question, its descriptions cut to `settings.description_tokens` tokens."""
    distinct = list(dict.fromkeys(text for _, texts in questions for text in texts))
    short = dict(zip(distinct, cut_texts(tokenizer, distinct, settings.description_tokens), strict=True))
    prompts = []
    for template, texts in questions:
        listed = "\n".join(f"- {short[text]}" for text in texts)
        # Replaced, not formatted: a template may hold other braces. The descriptions go in last, as they are.
        user = template.replace("{k}", str(settings.words)).replace("{descriptions}", listed)
        prompts.append(chat_text(tokenizer, system, user))
    return prompts


def cut_texts(tokenizer: Any, texts: Sequence[str], tokens: int) -> list[str]:
    """Each text on one line, cut to its first `tokens` tokens, without special tokens written out in it."""
    cut: list[str] = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        lines = [" ".join(text.split()) for text in texts[start : start + TEXTS_AT_ONCE]]
        encoded = tokenizer(lines, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        # Left in, a title that contains <|im_end|> would end the user's message.
        cut += tokenizer.batch_decode([ids[:tokens] for ids in encoded], skip_special_tokens=True)
    return [text.replace("\ufffd", "").strip() for text in cut]


# ------------------------------------------------------------------------------------------- cleaning answers

_SEPARATORS = re.compile(r"[,;\n\r\t|•·]+")
_NUMBER = re.compile(r"^\s*[(\[#*-]*\s*\d{1,2}\s*[.):\]]+\s+")
_EDGES = " \t'\"`\u00b4*_#()[]{}<>.:!?-\u2013\u2014"


def clean_words(answer: str, k: int) -> list[str]:
    """At most `k` distinct words or short tags of an answer, in its order.

    Understands comma-separated, bulleted and numbered lists. "1. Drama: films that ..." gives "Drama",
    "Tags: drama, war" gives "drama" and "war", and a heading such as "Here are five tags:" gives nothing.
    A tag keeps its first `WORDS_PER_TAG` words and `LONGEST_WORD` characters.
    """
    words: dict[str, str] = {}
    for piece in _SEPARATORS.split(answer):
        word = _clean_word(piece)
        if word:
            words.setdefault(word.casefold(), word)
    return list(words.values())[:k]


def _clean_word(piece: str) -> str:
    numbered = _NUMBER.match(piece)
    rest = piece[numbered.end() :] if numbered else piece
    parts = rest.split(":")
    chosen = parts[0] if numbered else parts[-1]
    word = " ".join(chosen.split()[:WORDS_PER_TAG])[:LONGEST_WORD].strip(_EDGES)
    return word if any(character.isalnum() for character in word) else ""
