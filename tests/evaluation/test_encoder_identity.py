"""What a row of an encoder is known by: settings that came later change it only where they are chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from glta_cli.evaluation.rows import EncoderRow
from glta_cli.stages.pipeline import Pipeline


def test_a_search_is_found_that_was_published_before_a_setting_came(run_toy: Callable[..., Pipeline]) -> None:
    pipeline = run_toy(stage="prepare")

    def identity(**changes: object) -> Any:
        row = EncoderRow("sampled", {"encoder": "lightgcn", "softmax_items": 10, **changes})
        return row.identity(pipeline)

    assert not {"neighbours", "softmax_sampling", "edges"} & set(identity()[1])
    assert identity(softmax_sampling="uniform") == identity()
    assert identity(softmax_sampling="popularity") != identity()
