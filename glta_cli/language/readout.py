"""A user's prompt and what is read from it: one query for each row of the recommendation list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glta_cli.language.batching import length_batches
from glta_cli.language.model import GraphLanguageModel
from glta_cli.language.prompts import PromptTemplate, encode, node_token
from glta_cli.language.shared_batches import computed
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.top_k import mask_seen
from glta_cli.recipe.schema import FinetuneSettings, PromptSettings


class UserPrompts:
    """Writes a user's prompt: task line, user token, item tokens, profile, prediction, placeholders.

    Args:
        user_ids: original ids of the users, [U], for prompts without user tokens.
        profiles, predictions: words about each user, [U]; "" where there are none.
        token_users: whose token stands in each user's prompt, [U]; None for the user's own.
    """

    def __init__(
        self,
        tokenizer: Any,
        user_ids: Sequence[str],
        profiles: Sequence[str],
        predictions: Sequence[str],
        settings: FinetuneSettings,
        prompts: PromptSettings,
        token_users: NDArray[np.int64] | None = None,
    ) -> None:
        self.template = recommendation_template(tokenizer, prompts)
        self.tokenizer = tokenizer
        self.user_ids = user_ids
        self.user_count = len(user_ids)
        self.token_users = np.arange(len(user_ids)) if token_users is None else token_users
        self.words = {
            "profile": _encoded_lines(tokenizer, prompts.profile_line, profiles),
            "prediction": _encoded_lines(tokenizer, prompts.prediction_line, predictions),
        }
        self.settings = settings
        self.placeholder = encode(tokenizer, prompts.placeholder)[:1]

    def write(self, user: int, context: NDArray[np.int64]) -> NDArray[np.int64]:
        """The prompt's ids [L]; of the context, the last `context_items` are shown."""
        shown = context[max(0, len(context) - self.settings.context_items) :]
        values = {name: lines[user] for name, lines in self.words.items()}
        values["user"] = self._user(user)
        values["items"] = [self.item_token(int(item)) for item in shown]
        return self.template.fill(values)

    def _user(self, user: int) -> list[int]:
        if self.settings.user_token:
            return [node_token(int(self.token_users[user]))]
        return encode(self.tokenizer, self.user_ids[user])

    def item_token(self, item: int) -> int:
        """The id of an item's token."""
        return node_token(self.user_count + item)

    def extended(self, prompt: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
        """The prompt followed by `rows` - 1 placeholders, the positions of rows 2 to k."""
        return np.concatenate([prompt, np.repeat(np.asarray(self.placeholder, dtype=np.int64), rows - 1)])


def recommendation_template(tokenizer: Any, prompts: PromptSettings) -> PromptTemplate:
    """The wording of a user's prompt; raises `InputError` where it cannot be used."""
    return PromptTemplate(
        prompts.recommendation,
        prompts.system,
        tokenizer,
        required=("user", "items"),
        optional=("profile", "prediction"),
        location="prompts.recommendation",
    )


def _encoded_lines(tokenizer: Any, template: str, words: Sequence[str]) -> list[list[int]]:
    """Token ids of each user's line; none where there are no words."""
    # Words may hold braces: replaced, not formatted.
    lines = [template.replace("{words}", text) if text else "" for text in words]
    ids: list[list[int]] = tokenizer(lines, add_special_tokens=False)["input_ids"] if any(lines) else [[]] * len(lines)
    return ids


def prompt_queries(
    model: GraphLanguageModel, prompts: UserPrompts, written: Sequence[NDArray[np.int64]], rows: int
) -> Tensor:
    """Queries at the end of each prompt and at the placeholders after it: [B, rows, D]."""
    return model.head.queries(prompt_states(model, prompts, written, rows))


def prompt_states(
    model: GraphLanguageModel, prompts: UserPrompts, written: Sequence[NDArray[np.int64]], rows: int
) -> Tensor:
    """States at the end of each prompt and at the placeholders after it: [B, rows, h]."""
    extended = [prompts.extended(prompt, rows) for prompt in written]
    columns = np.concatenate([len(prompt) - 1 + np.arange(rows) for prompt in written])
    states = model.states_at(extended, np.repeat(np.arange(len(written)), rows), columns)  # [B·rows, h]
    return states.unflatten(0, (len(written), rows))


def encode_users(
    model: GraphLanguageModel,
    prompts: UserPrompts,
    history: Interactions,
    users: NDArray[np.int64],
    *,
    rows: int,
    batch_size: int,
    autoregressive: bool = False,
    advance: Callable[[int], object] = lambda count: None,
) -> NDArray[np.float32]:
    """Queries of users [n], their history as context: [n, rows, D].

    Args:
        autoregressive: rows 2 to k follow the tokens of the items chosen so far, in place of placeholders;
            chosen among the items not in `history`, so a list that masks more may differ from what was chosen.
        batch_size: as in `length_batches`.
        advance: called with the number of users done after each batch.
    """
    model.eval()
    written = [prompts.write(int(user), history.of(int(user))) for user in users]
    # Placeholders, or the items chosen so far, follow the prompt.
    lengths = [len(prompt) + rows - 1 for prompt in written]
    result: NDArray[np.float32] | None = None

    def queries_of(batch: NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = [written[index] for index in batch]
        if autoregressive:
            queries = _autoregressive_queries(model, prompts, chosen, history, users[batch], rows)
        else:
            queries = prompt_queries(model, prompts, chosen, rows)
        found: NDArray[np.float32] = queries.float().cpu().numpy()
        return found

    with torch.inference_mode():
        for batch, found in computed(list(length_batches(lengths, batch_size)), queries_of):
            if result is None:
                result = np.empty((len(users), *found.shape[1:]), dtype=np.float32)
            result[batch] = found
            advance(len(batch))
    assert result is not None, "there is at least one user"
    return result


def _autoregressive_queries(
    model: GraphLanguageModel,
    prompts: UserPrompts,
    written: list[NDArray[np.int64]],
    history: Interactions,
    users: NDArray[np.int64],
    rows: int,
) -> Tensor:
    """Row by row: the best item not yet seen or chosen is appended as a token, and the model runs again."""
    items, bias = model.head.item_matrix(), model.head.bias
    taken: list[list[int]] = [[] for _ in written]
    queries = []
    for _ in range(min(rows, len(items))):
        query = prompt_queries(model, prompts, written, rows=1)[:, 0]  # [B, D]
        queries.append(query)
        scores = (query @ items.T + bias).float().cpu().numpy()
        mask_seen(scores, users, history)
        for row, own in enumerate(taken):
            scores[row, own] = -np.inf
            own.append(int(scores[row].argmax()))
            written[row] = np.append(written[row], prompts.item_token(own[-1]))
    return torch.stack(queries, dim=1)
