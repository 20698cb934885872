"""How long a first recipe will take on this machine, from the files it was written for, before they are prepared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from glta_cli.core.durations import shown_duration
from glta_cli.core.threads import compute_with_free_processors
from glta_cli.data.codes import categories, codes_in, counts_of, looked_up, pieces
from glta_cli.data.prepared import SplitName
from glta_cli.plugin import DatasetLook, Interactions
from glta_cli.recipe.files import recipe_from
from glta_cli.recipe.fused_terms import linear_names
from glta_cli.stages.estimates import Estimator
from glta_cli.stages.linear_rows import may_read_texts
from glta_cli.stages.schedule import Schedule
from glta_cli.stages.stage_costs import COSTS
from glta_cli.training.devices import pick_device
from glta_cli.workspace.workspace import Workspace

# What the split takes of each user's items: one for validation, one for the test.
HELD_OUT = 2
# Seconds: below the first all is soon over, and a stage below the second is not worth its name.
SOON, WORTH_NAMING = 60.0, 10.0


class LookedAt:
    """The files as they were seen, counted as the prepared dataset will be, but for what preparing drops."""

    def __init__(self, look: DatasetLook) -> None:
        self._look = look

    @cached_property
    def _numbered(self) -> tuple[NDArray[np.uint64], int, int]:
        """Distinct pairs of user and item as numbers from 0, and how many there are of each.

        The user stands before the item's 32 bits; ascending, [n]. Of a log of a hundred million rows that is eight
        bytes each, and no texts.
        """
        log = self._look.raw.interactions
        schema = log.collect_schema()
        texts = [name for name in ("user", "item") if not isinstance(schema[name], pl.Categorical)]
        log = log.with_columns(pl.col(texts).cast(pl.String).cast(categories())) if texts else log
        rows = log.select("user", "item").drop_nulls().collect()
        (users, user_count), (items, item_count) = (_from_0(rows[name]) for name in ("user", "item"))
        pairs = users.astype(np.uint64)
        pairs <<= np.uint64(32)
        pairs |= items
        pairs.sort()
        return pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]], user_count, item_count

    @property
    def user_count(self) -> int:
        return self._numbered[1]

    @property
    def item_count(self) -> int:
        return max(self._numbered[2], len(self.texts))

    @property
    def has_text(self) -> bool:
        return any(self.texts)

    @cached_property
    def texts(self) -> Sequence[str]:
        """Title and description of every item of the file of items; none without one."""
        items = self._look.raw.items
        if items is None:
            return []
        columns = items.collect_schema().names()
        names = [pl.col(name).cast(pl.String) for name in ("title", "description") if name in columns]
        written = pl.concat_str(names, separator=" ", ignore_nulls=True) if names else pl.lit("")
        return items.select(written.alias("text")).collect()["text"].fill_null("").to_list()

    def split(self, name: SplitName) -> Interactions:
        """About as many interactions of each user as the part will have, whichever they are."""
        pairs, user_count, _ = self._numbered
        counts = np.zeros(user_count, dtype=np.int64)
        for piece in pieces(len(pairs)):
            counts += np.bincount((pairs[piece] >> np.uint64(32)).astype(np.int64), minlength=user_count)
        ends = np.cumsum(counts)
        if name == "train":
            chosen = np.ones(len(pairs), dtype=bool)
            for back in range(1, HELD_OUT + 1):
                chosen[np.maximum(ends - back, ends - counts)] = False
            counts = np.maximum(counts - HELD_OUT, 0)
        else:
            chosen = np.zeros(len(pairs), dtype=bool)
            many = counts > HELD_OUT
            for back in range(1, HELD_OUT + 1):
                chosen[ends[many] - back] = True
            counts = np.where(many, HELD_OUT, 0)
        items = (pairs[chosen] & np.uint64((1 << 32) - 1)).astype(np.int64)
        return Interactions(np.append(0, np.cumsum(counts)), items, self.item_count)


def _from_0(ids: pl.Series) -> tuple[NDArray[np.uint32], int]:
    """A number for each of a column of categories, [n], and how many different ones there are."""
    codes = codes_in(ids)
    present = counts_of(codes) > 0
    return looked_up((np.cumsum(present) - 1).astype(np.uint32), codes), int(present.sum())


def time_line(look: DatasetLook, recipe_text: str, workspace: Workspace) -> str:
    """About how long the recipe takes here, stage by stage; `less than a minute` where it is soon over."""
    recipe = recipe_from(yaml.safe_load(recipe_text))
    data = LookedAt(look)
    estimator = Estimator(recipe, data, workspace, pick_device(None))
    left_out = {
        "encode-items": not (data.has_text and (recipe.text.vectors or may_read_texts(recipe))),
        "fit-linear": linear_names(recipe) == (),
        "align": not (data.has_text and recipe.align.enabled),
        "describe-users": not (data.has_text and (recipe.interests.profile or recipe.interests.prediction)),
    }
    stages = [name for name in COSTS if not left_out.get(name, False)]
    compute_with_free_processors()
    schedule = Schedule(stages, stages, estimator)
    if schedule.seconds < SOON:
        return "less than a minute on this machine"
    parts = [
        f"{name} {shown_duration(each.seconds)}" for name, each in schedule.estimates.items() if each.seconds >= 10
    ]
    return f"about {shown_duration(schedule.seconds)} on this machine as it is now: {', '.join(parts)}"
