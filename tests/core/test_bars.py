"""One line a bar, whose figures stay whole however narrow the terminal is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glta_cli.core.bars import meter
from glta_cli.core.progress import progress_bar
from glta_cli.core.terminal import cells

NAMES = ["fine-tune", "lightgcn without stage 3's targets", "映画の題名です" * 3]


def test_eighty_columns_hold_a_training() -> None:
    shown = meter("  fine-tune", "3/5 epochs", 0.6, 80, 55, "loss 5.73 ndcg@10 .2034", width=79)
    assert shown == "  fine-tune 3/5 epochs █████████        60% 01:20<00:55 loss 5.73 ndcg@10 .2034"


@given(
    name=st.sampled_from(NAMES),
    epochs=st.integers(1, 5_000),
    share=st.floats(0, 1),
    elapsed=st.floats(0, 500_000),
    left=st.none() | st.floats(0, 500_000),
    width=st.integers(79, 200),
)
def test_nothing_of_a_training_is_cut_off_but_its_name(
    name: str, epochs: int, share: float, elapsed: float, left: float | None, width: int
) -> None:
    notes = "loss 0.00123 ndcg@10 .2034"
    shown = meter(f"  {name}", f"{epochs}/{epochs} epochs", share, elapsed, left, notes, width=width)
    assert cells(shown) <= width
    assert shown.endswith(notes)
    assert f"{epochs}/{epochs}" in shown
    assert "%" in shown


@given(width=st.integers(1, 80), notes=st.sampled_from(["", "2.9 s each", "loss 1.23 ndcg@10 .2034"]))
def test_it_never_takes_more_than_its_line(width: int, notes: str) -> None:
    assert cells(meter("  encode item texts", "3/5 items", 0.5, 3, 3, notes, width=width)) <= width


@pytest.mark.parametrize(("unit", "scaled", "told"), [("users", False, "2/4 users"), ("B", True, "2.00/4.00 B")])
def test_a_count_without_stray_blanks(capsys: pytest.CaptureFixture, unit: str, scaled: bool, told: str) -> None:
    with progress_bar(4, "rank", unit) as bar:
        bar.unit_scale = scaled
        bar.update(2)
    last = capsys.readouterr().err.rpartition("\r")[2]
    assert re.match(rf"  rank {re.escape(told)} \S", last)
    assert "  50% " in last


def test_what_is_over_soon_shows_no_bar_within_another(capsys: pytest.CaptureFixture) -> None:
    with progress_bar(4, "rank", "users", within_another=True) as bar:
        bar.update(4)
    assert capsys.readouterr().err == ""
