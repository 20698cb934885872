"""How long a first recipe will take on this machine, from the files it was written for, before they are prepared."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import polars as pl
import yaml

from glta_cli.core.durations import shown_duration
from glta_cli.core.threads import compute_with_free_processors
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
    def _pairs(self) -> pl.DataFrame:
        """Distinct pairs of user and item, [n], as numbers from 0."""
        columns = pl.col("user", "item").cast(pl.String)
        known = self._look.raw.interactions.select(columns).drop_nulls().unique().collect()
        return known.select((pl.col("user", "item").rank("dense") - 1).cast(pl.Int64))

    @property
    def user_count(self) -> int:
        return int(self._pairs["user"].n_unique())

    @property
    def item_count(self) -> int:
        return max(int(self._pairs["item"].n_unique()), len(self.texts))

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
        pairs = self._pairs.with_columns(place=pl.int_range(pl.len()).over("user"), have=pl.len().over("user"))
        ends = pl.col("place") >= pl.col("have") - HELD_OUT
        chosen = pairs.filter(~ends if name == "train" else ends & (pl.col("have") > HELD_OUT))
        users, items = (chosen[column].to_numpy().astype(np.int64) for column in ("user", "item"))
        return Interactions.from_pairs(users, items, user_count=self.user_count, item_count=self.item_count)


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
