"""Whether a wish helps, on real data: the item somebody went for, told in words that the index has not read.

`make wishes` prints the table of recipes/results/PARTS.md. It trains the recipe amazon-scientific first, a quarter of
an hour, unless GLTA_DATA_DIR names a folder where that was done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.recipe.files import load_recipe
from glta_cli.serving.choice import Choice, best_of
from glta_cli.serving.index import Index
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.wishes import WishReader
from glta_cli.workspace.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.minilm, pytest.mark.smollm2]

WORDS, FEWEST_WORDS = 12, 6
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
CHOOSING, MEASURED = 500, 1000
WORD = re.compile(r"[a-z][a-z-]{2,}")


def words_unread(texts: Sequence[str], tokenizer: Any, tokens: int) -> list[str]:
    """Of each text, words of what stands behind its first `tokens`, none of which stands among those; "" of few."""
    found = []
    for text in texts:
        ends = [
            end for _, end in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        ]
        cut = ends[tokens - 1] if len(ends) > tokens else len(text)
        read = set(WORD.findall(text[:cut].casefold()))
        unread = [word for word in dict.fromkeys(WORD.findall(text[cut:].casefold())) if word not in read]
        found.append(" ".join(unread[:WORDS]) if len(unread) >= FEWEST_WORDS else "")
    return found


def wished(part: Interactions, told: Sequence[str], most: int) -> tuple[NDArray[np.int64], Interactions]:
    """Users drawn from those with an item that can be told, and that item of each, the first."""
    of_user = {user: [item for item in part.of(user) if told[item]] for user in range(part.user_count)}
    able = np.array([user for user, items in of_user.items() if items])
    users = np.sort(np.random.default_rng(0).choice(able, min(most, len(able)), replace=False))
    items = [int(of_user[user][0]) for user in users]
    return users, Interactions.from_pairs(users, items, user_count=part.user_count, item_count=part.item_count)


def figures(
    index: Index, wishes: WishReader, told: Sequence[str], part: Interactions, most: int, *masked: Interactions
) -> tuple[int, dict[float, NDArray[np.float64]], NDArray[np.float64]]:
    """How many users were asked; NDCG@10 of each by weight of the wish; and by the wish alone."""
    users, targets = wished(part, told, most)
    liking = wishes.scores([told[int(targets.of(int(user))[0])] for user in users])
    own = index.scorer(*masked)(users)

    def ndcg(scores: NDArray[np.float32], choice: Choice) -> NDArray[np.float64]:
        lists = best_of(lambda batch: scores.copy(), users, 10, choice, *masked)
        ranked = np.stack([each.items for each in lists])
        return ranking_metrics(ranked, users, targets, [10])["ndcg@10"]

    by_weight = {weight: ndcg(own, Choice(liking=liking, liking_weight=weight)) for weight in WEIGHTS}
    return len(users), by_weight, ndcg(liking, Choice())


def test_a_wish_in_other_words_finds_what_somebody_went_for(shared_data: Path, tmp_path: Path) -> None:
    source = f"dataset.source={shared_data / 'amazon-scientific-2018'}"
    workspace = Workspace(Path(os.environ.get("GLTA_DATA_DIR", tmp_path)))
    pipeline = Pipeline("wishes", load_recipe("amazon-scientific", [source]).recipe, workspace, device="cpu")
    index = Index(pipeline.ensure("index"))
    prepared, context = PreparedDataset(pipeline.ensure("prepare")), pipeline.context()
    wishes = WishReader(context, index.artefact)
    told = words_unread(prepared.texts, wishes.tokenizer, context.recipe.text.tokens)
    train, valid, test = (prepared.split(name) for name in ("train", "valid", "test"))

    asked, chosen_on, alone_then = figures(index, wishes, told, valid, CHOOSING, train)
    best = max(WEIGHTS, key=lambda weight: chosen_on[weight].mean())
    measured, found, alone = figures(index, wishes, told, test, MEASURED, train, valid)
    gain = found[best] - found[0.0]
    draws = np.random.default_rng(0).choice(gain, (1000, len(gain))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    print(f"\n{sum(map(bool, told)):,} of {len(told):,} items can be told, such as the first by:")
    print(f"  {next(filter(None, told))}")
    print(f"{'weight of the wish':20}{f'validation ({asked:,} users)':>26}{f'test ({measured:,} users)':>22}")
    for weight in WEIGHTS:
        print(f"{weight:<20g}{chosen_on[weight].mean():26.4f}{found[weight].mean():22.4f}")
    print(f"{'the wish alone':20}{alone_then.mean():26.4f}{alone.mean():22.4f}")
    print(f"chosen on validation: {best:g}, on the test {gain.mean():.4f} better than none")
    print(f"  (95% interval {low:.4f} to {high:.4f})")
    assert low > 0
    assert found[best].mean() > alone.mean()  # the person still counts
